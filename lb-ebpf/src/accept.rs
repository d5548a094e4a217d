//! The short way of a plain SYN of TCP over IPv4, which opens most connections. It does what [`crate::open`] and
//! [`crate::send`] do for such a packet, in half the instructions: the compiler knows what it is, and that its service
//! asks for nothing special. Where more has to be done, they do it.

use crate::{
    Frame, Next, Outcome, Reason, Steps, arrival,
    connection::{self, Tracked},
    forward::plain,
    nexthop::heard,
    open::{Choice, FTP_DATA},
    packet::Packet,
    schedule,
    wire::tcp::flags::SYN,
};
use lb_common::{
    address::Address,
    backend::method::NAT,
    bucket::Direction,
    connection::exit,
    service::Service,
    settings::{Settings, defense},
    stage::Stage,
};

/// Whether a plain SYN for the port of a service may go this way.
#[inline(always)]
pub fn takes(settings: &Settings, service: &Service, packet: &Packet) -> bool {
    packet.is_ipv4()
        && packet.flow.source_port != FTP_DATA
        && schedule::is_plain(service)
        && settings.defense & defense::DROP_PACKET == 0
}

/// Opens the connection of such a packet, and sends it.
#[inline(always)]
pub fn accept<F: Frame, T: Steps>(frame: &mut F, tables: &T, packet: &mut Packet) -> Next {
    try_accept(frame, tables, packet).unwrap_or(Next::Stage(Stage::Open))
}

/// `None` before anything has changed, when it is for the long way to say what becomes of the packet.
#[inline(always)]
fn try_accept<F: Frame, T: Steps>(frame: &mut F, tables: &T, packet: &mut Packet) -> Option<Next> {
    let now = tables.now();
    if !arrival::is_known(frame, tables, now) {
        return None;
    }
    let service = tables.record(packet.service)?;
    let member = tables.choose(service, &packet.flow)?;
    let slot = match tables.create_plain(packet, member) {
        Ok(slot) => slot,
        Err(Reason::Raced) => return Some(Next::Stage(Stage::Find)),
        Err(reason) => return Some(Next::End(Outcome::of(reason))),
    };
    let connection = tables.connection(slot)?;
    let tracked = Tracked { slot, direction: Direction::Forward };
    if connection.method() == NAT
        && let (any, backend) = (Address::UNSPECIFIED, connection.backend)
        && let Some(hop) = heard::recent(tables, any, backend, frame.interface(), now)
    {
        heard::copy(hop, &mut connection.to_backend);
        if hop.exit != exit::KERNEL
            && let Some(outcome) = plain::forward(frame, tables, packet, connection, Direction::Forward)
        {
            return Some(Next::End(outcome));
        }
    }
    packet.tracked = tracked.code();
    Some(Next::Stage(Stage::Send))
}

/// Makes the connection of such a packet with a member, as [`connection::create`] does. Its slot.
#[inline(always)]
pub fn create<T: Steps>(tables: &T, packet: &Packet, member: u32) -> Result<u32, Reason> {
    // Whatever other flags it has, SYN comes before them, and it has no RST.
    let packet = Packet { tcp_flags: SYN, ..plain::known(packet) };
    connection::create(tables, &packet, Choice { member, ..Choice::default() })
}
