//! `-S`: services and servers as the commands that make them.

use super::failure::Failure;
use crate::{
    report::{Names, order::Key, shown},
    snapshot::{Backend, Service, Snapshot},
    spec::{Protocol, ServiceName, engine_name, mask_text, shown_flags, tunnel_name},
    store::Store,
};
use lb_common::{
    backend::method,
    tunnel::{flags, kind},
};
use std::io::{self, Write};

/// Writes everything that ipvsadm writes: neither thresholds nor timeouts.
pub fn write(out: &mut impl Write, store: &Store, numeric: bool) -> Result<(), Failure> {
    let mut snapshot = Snapshot::read(store, None).map_err(Failure::unlisted)?;
    Key::Address.sort(&mut snapshot);
    Ok(write_services(out, &snapshot, &mut Names::new(numeric))?)
}

fn write_services(out: &mut impl Write, snapshot: &Snapshot, names: &mut Names) -> io::Result<()> {
    for service in &snapshot.services {
        let selector = selector(service.name, names);
        writeln!(out, "-A {selector} {}", schedule(service))?;
        for backend in &service.backends {
            let mut server = String::new();
            names.push(&mut server, backend.endpoint, service.name.protocol().map_or(0, Protocol::number));
            writeln!(out, "-a {selector} -r {server} {}", forwarding(backend))?;
        }
    }
    Ok(())
}

fn selector(name: ServiceName, names: &mut Names) -> String {
    match name {
        ServiceName::Address { protocol, endpoint } => {
            let mut text = format!("{} ", protocol.option());
            names.push(&mut text, endpoint, protocol.number());
            text
        }
        ServiceName::Mark { mark, ipv6 } => format!("-f {}{}", shown(mark), if ipv6 { " -6" } else { "" }),
    }
}

fn schedule(service: &Service) -> String {
    let mut text = format!("-s {}", service.scheduler.name());
    if service.persistence != 0 {
        text += &format!(" -p {}", service.persistence);
        if let Some(mask) = mask_text(service.mask, service.name.is_ipv6()) {
            text += &format!(" -M {mask}");
        }
    }
    if let Some(engine) = engine_name(service.engine) {
        text += &format!(" --pe {engine}");
    }
    if service.one_packet {
        text += " -o";
    }
    if service.scheduler_flags != 0 {
        text += &format!(" -b {}", shown_flags(service.scheduler, service.scheduler_flags));
    }
    text
}

fn forwarding(backend: &Backend) -> String {
    let (weight, tunnel) = (backend.weight, backend.tunnel);
    let checksum = match tunnel.flags {
        flags::REMCSUM => "--tun-remcsum",
        flags::CSUM => "--tun-csum",
        _ => "--tun-nocsum",
    };
    let name = tunnel_name(tunnel.kind);
    match (backend.method, tunnel.kind) {
        (method::TUNNEL, kind::GUE) => {
            let port = u16::from_be(tunnel.port);
            format!("-i -w {weight} --tun-type {name} --tun-port {port} {checksum}")
        }
        (method::TUNNEL, kind::GRE) => format!("-i -w {weight} --tun-type {name} {checksum}"),
        (method::TUNNEL, _) => format!("-i -w {weight} --tun-type {name}"),
        (method::NAT, _) => format!("-m -w {weight}"),
        _ => format!("-g -w {weight}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::example::{service, written},
        spec::ipv4_mask,
    };
    use lb_common::{
        scheduler::{self, Scheduler},
        service::engine,
        tunnel::Tunnel,
    };

    fn saved(service: Service) -> String {
        let snapshot = Snapshot { services: vec![service] };
        written(|out| write_services(out, &snapshot, &mut Names::new(true)))
    }

    #[test]
    fn options_come_in_ipvsadm_s_order() {
        let mut all = service("udp 192.168.2.200:5060", Scheduler::Mh, &[]);
        (all.persistence, all.mask, all.engine) = (60, ipv4_mask([255, 255, 255, 0].into()), engine::SIP);
        (all.one_packet, all.scheduler_flags) = (true, scheduler::flags::PORT | scheduler::flags::FALLBACK);
        assert_eq!(
            saved(all),
            "-A -u 192.168.2.200:5060 -s mh -p 60 -M 255.255.255.0 --pe sip -o -b mh-fallback,mh-port\n"
        );
        let mut masked = service("mark 7 IPv6", Scheduler::Wrr, &["[fd00::1]:0"]);
        masked.mask = ipv4_mask([255, 0, 0, 0].into());
        assert_eq!(saved(masked), "-A -f 7 -6 -s wrr\n-a -f 7 -6 -r [fd00::1]:0 -m -w 1\n", "not persistent");
    }

    #[test]
    fn methods() {
        let rows = |method, tunnel| {
            let mut one = service("sctp 10.0.0.1:80", Scheduler::Rr, &["10.0.0.2:80"]);
            (one.backends[0].method, one.backends[0].tunnel) = (method, tunnel);
            let text = saved(one);
            text.lines().last().unwrap().split_once("10.0.0.2:80 ").unwrap().1.to_owned()
        };
        let gue = Tunnel { kind: kind::GUE, flags: flags::CSUM, port: 6080u16.to_be() };
        let gre = Tunnel { kind: kind::GRE, ..Tunnel::default() };
        assert_eq!(rows(method::LOCAL, Tunnel::default()), "-g -w 1");
        assert_eq!(rows(method::TUNNEL, Tunnel::default()), "-i -w 1 --tun-type ipip");
        assert_eq!(rows(method::TUNNEL, gue), "-i -w 1 --tun-type gue --tun-port 6080 --tun-csum");
        assert_eq!(rows(method::TUNNEL, gre), "-i -w 1 --tun-type gre --tun-nocsum");
    }
}
