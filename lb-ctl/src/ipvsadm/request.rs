//! What a command line asks for. Options are taken in the order in which they were typed, since what
//! one means may depend on those before it.

use super::{
    arguments::Name,
    command::Command,
    endpoint::Endpoint,
    exclusions::{self, Given, Part},
    failure::Failure,
    number::number,
    server::Server,
    service::Service,
};
use crate::{
    report::View,
    spec::{self, Protocol, ServiceName},
    store::Timeouts,
};
use lb_common::{address::Address, backend::method, tunnel};
use std::{net::IpAddr, num::NonZeroU32};

/// The longest timeout: 31 days in seconds.
const LONGEST: i64 = 31 * 86_400;
/// The persistence timeout of `-p` without a number, in seconds (the man page says 300).
const PERSISTENCE: u32 = 360;

/// A command line that goes together.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// The parts that were typed.
    pub given: Given,
    /// With which service.
    pub service: Service,
    /// With which server.
    pub server: Server,
    /// `--set`.
    pub timeouts: Timeouts,
}

impl Request {
    /// A command without its options.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            given: Given::default(),
            service: Service::default(),
            server: Server::default(),
            timeouts: Timeouts { tcp: 0, tcpfin: 0, udp: 0 },
        }
    }

    /// Takes an option that follows the command.
    pub fn take(&mut self, name: Name, argument: Option<&str>, word: &str) -> Result<(), Failure> {
        let Self { given, service, server, .. } = self;
        let text = argument.unwrap_or_default();
        let within =
            |least, most, wrong: &str| number(text, least, most).ok_or_else(|| Failure::usage(wrong));
        match name {
            Name::TcpService => service.select(given, Protocol::Tcp, text)?,
            Name::UdpService => service.select(given, Protocol::Udp, text)?,
            Name::SctpService => service.select(given, Protocol::Sctp, text)?,
            Name::FwmarkService => {
                given.note(Part::Service)?;
                let mark = number(text, 1, u32::MAX.into()).and_then(|mark| NonZeroU32::new(mark as u32));
                let wrong = || Failure::usage(format!("invalid fwmark value `{text}' specified"));
                service.name = Some(ServiceName::Mark { mark: mark.ok_or_else(wrong)?, ipv6: false });
            }
            Name::Ipv6 => match &mut service.name {
                Some(ServiceName::Mark { ipv6, .. }) => {
                    *ipv6 = true;
                    service.mask = Address::ALL;
                }
                _ => return Err(Failure::usage("-6 used before -f\n")),
            },
            Name::Scheduler => {
                given.note(Part::Scheduler)?;
                service.scheduler = text.to_owned();
            }
            Name::Persistent => {
                given.note(Part::Persistent)?;
                service.persistence = argument.map_or(Ok(PERSISTENCE), |text| timeout(text, 1))?;
            }
            Name::Netmask => {
                given.note(Part::Netmask)?;
                service.mask = service.parse_mask(text)?;
            }
            Name::Ops => {
                given.note(Part::Ops)?;
                service.one_packet = true;
            }
            Name::Pe => {
                given.note(Part::Pe)?;
                service.engine = text.to_owned();
            }
            Name::RealServer => {
                given.note(Part::Server)?;
                let protocol = service.name.and_then(ServiceName::protocol).unwrap_or(Protocol::Tcp);
                let wrong = || Failure::usage("illegal real server address[:port] specified");
                let Endpoint { address, port } = Endpoint::parse(text, protocol).ok_or_else(wrong)?;
                server.address = address;
                server.port = port.unwrap_or(service.name.map_or(0, ServiceName::port));
            }
            Name::Masquerading => server.forward(given, method::NAT)?,
            Name::Ipip => server.forward(given, method::TUNNEL)?,
            Name::Gatewaying => server.forward(given, method::ROUTE)?,
            Name::Weight => {
                given.note(Part::Weight)?;
                server.weight = within(0, i32::MAX.into(), "illegal weight specified")? as u32;
            }
            Name::UThreshold => {
                given.note(Part::UThreshold)?;
                server.upper = within(0, i32::MAX.into(), "illegal u_threshold specified")? as u32;
            }
            Name::LThreshold => {
                given.note(Part::LThreshold)?;
                server.lower = within(0, i32::MAX.into(), "illegal l_threshold specified")? as u32;
            }
            Name::TunType => {
                given.note(Part::TunType)?;
                let wrong = |_| Failure::usage("illegal tunnel type specified");
                server.tunnel.kind = spec::parse_tunnel(text).map_err(wrong)?;
            }
            Name::TunPort => {
                given.note(Part::TunPort)?;
                let port = within(1, u16::MAX.into(), "illegal tunnel port specified")?;
                server.tunnel.port = (port as u16).to_be();
            }
            Name::TunNocsum => given.note(Part::TunNocsum)?,
            Name::TunCsum => {
                given.note(Part::TunCsum)?;
                server.tunnel.flags |= tunnel::flags::CSUM;
            }
            Name::TunRemcsum => {
                given.note(Part::TunRemcsum)?;
                server.tunnel.flags |= tunnel::flags::REMCSUM;
            }
            Name::Numeric => given.note(Part::Numeric)?,
            Name::Connection => given.note(Part::Connection)?,
            Name::Timeout => given.note(Part::Timeout)?,
            Name::Daemon => given.note(Part::Daemon)?,
            Name::Stats => given.note(Part::Stats)?,
            Name::Rate => given.note(Part::Rate)?,
            Name::Thresholds => given.note(Part::Thresholds)?,
            Name::PersistentConn => given.note(Part::PersistentConn)?,
            Name::TunInfo => given.note(Part::TunInfo)?,
            Name::Exact => given.note(Part::Exact)?,
            Name::Nosort => given.note(Part::Nosort)?,
            Name::Sort => {}
            // Of the daemon that there is not, only what cannot be meant is said.
            Name::McastInterface => given.note(Part::Mcast)?,
            Name::Syncid => {
                given.note(Part::Syncid)?;
                within(0, 255, "illegal syncid specified")?;
            }
            Name::McastGroup => {
                given.note(Part::McastGroup)?;
                let family = if text.contains(':') { "IPv6" } else { "IPv4" };
                if !text.parse::<IpAddr>().is_ok_and(|group| group.is_multicast()) {
                    return Err(Failure::usage(format!("invalid {family} mcast-group `{text}'")));
                }
            }
            Name::McastPort => {
                given.note(Part::McastPort)?;
                within(1, u16::MAX.into(), "illegal mcast-port specified")?;
            }
            Name::McastTtl => {
                given.note(Part::McastTtl)?;
                within(1, 255, "illegal mcast-ttl specified")?;
            }
            Name::SyncMaxlen => {
                given.note(Part::SyncMaxlen)?;
                // What a UDP datagram over IPv4 can carry.
                within(1, 65_535 - 20 - 8, "illegal sync-maxlen specified")?;
            }
            _ => return Err(Failure::usage(format!("invalid option `{word}'"))),
        }
        Ok(())
    }

    /// Refuses what each part allows by itself and all together do not.
    pub fn check(&mut self) -> Result<(), Failure> {
        let Self { command, given, service, server, .. } = self;
        let Some(name) = service.name else { return Ok(()) };
        let is_mark = matches!(name, ServiceName::Mark { .. });
        if matches!(command, Command::AddService | Command::EditService) {
            if !is_mark && name.port() == 0 && service.persistence == 0 {
                return Err(Failure::usage("Zero port specified for non-persistent service"));
            }
            if service.one_packet && !matches!(name.protocol(), None | Some(Protocol::Udp)) {
                return Err(Failure::usage("One-Packet Scheduling is only for UDP virtual services"));
            }
        }
        if matches!(command, Command::AddServer | Command::EditServer) {
            if !is_mark && server.method != method::NAT {
                server.port = name.port();
            }
            if server.method != method::TUNNEL {
                if server.address.is_ipv6() != name.is_ipv6() {
                    let text = "Different address family is allowed only for tunneling servers";
                    return Err(Failure::usage(text));
                }
                use Part::{TunCsum, TunNocsum, TunPort, TunRemcsum, TunType};
                if given.any(&[TunType, TunPort, TunNocsum, TunCsum, TunRemcsum]) {
                    return Err(Failure::usage("Tunnel options conflict with forward method"));
                }
            }
            exclusions::check_tunnel(server.tunnel.kind, *given)?;
        }
        Ok(())
    }

    /// Which columns a listing has. Of several that are asked for, the first here counts.
    pub fn view(&self) -> View {
        let views = [
            (Part::Stats, View::Stats),
            (Part::Rate, View::Rate),
            (Part::Thresholds, View::Thresholds),
            (Part::PersistentConn, View::Persistent),
            (Part::TunInfo, View::Tunnels),
        ];
        views.iter().find(|(part, _)| self.given.has(*part)).map_or(View::Table, |(_, view)| *view)
    }
}

/// Reads a timeout in seconds.
pub fn timeout(text: &str, least: i64) -> Result<u32, Failure> {
    match number(text, least, LONGEST) {
        Some(seconds) => Ok(seconds as u32),
        None => Err(Failure::usage(format!("invalid timeout value `{text}' specified"))),
    }
}
