//! What the kernel says about network interfaces.

use super::{
    Mode,
    netlink::{attribute, attributes, bytes, dump, generic_dump, generic_family, get, text},
};
use anyhow::{Context as _, Result};
use netlink_sys::protocols::NETLINK_ROUTE;
use std::{collections::HashMap, net::IpAddr};

/// An interface of this network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// For a virtual interface its kind: `veth`, `bridge`, …
    pub kind: Option<String>,
    /// For a device the bus that it sits on: `pci`, `virtio`, …
    pub bus: Option<String>,
    /// The interface that takes its packets over: the bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// For a VLAN the number of the interface that carries it.
    pub carrier: Option<u32>,
    /// Whether its packets have no Ethernet header, as those of a tunnel.
    pub bare: bool,
    /// The longest IP packet, in bytes.
    pub mtu: u32,
    /// Its addresses of global scope that the kernel would choose from, in its order.
    pub addresses: Vec<IpAddr>,
    /// All its addresses.
    pub held: Vec<IpAddr>,
    /// The id of the XDP program attached to it, and how.
    pub program: Option<(Mode, u32)>,
    /// Its XDP features ([`features`]); `None` where the kernel (before 6.3) does not tell.
    pub features: Option<u64>,
}

/// `NETDEV_XDP_ACT_*` (`linux/netdev.h`).
pub mod features {
    /// `NETDEV_XDP_ACT_NDO_XMIT`: redirected packets can be sent.
    pub const XMIT: u64 = 1 << 2;
    /// `NETDEV_XDP_ACT_NDO_XMIT_SG`: so can those that span several buffers.
    pub const XMIT_FRAGMENTS: u64 = 1 << 6;
}

impl Interface {
    /// Whether packets with a partial checksum may come in here: those of a local stack, of this
    /// machine or of the one that hosts it.
    pub fn partial_checksums(&self) -> bool {
        match self.bus.as_deref() {
            None => true,
            Some(bus) => matches!(bus, "virtio" | "xen" | "vmbus"),
        }
    }
}

/// The interfaces by which the kernel sees packets that come in through these: they themselves, the
/// bridges that they are ports of, and the VLANs on them and on those.
pub fn receivers(through: &[Interface], all: &[Interface]) -> Vec<Interface> {
    let mut found = through.to_vec();
    let mut next = 0;
    while let Some(lower) = found.get(next).cloned() {
        next += 1;
        let receives =
            |upper: &&Interface| lower.master == Some(upper.index) || upper.carrier == Some(lower.index);
        for upper in all.iter().filter(receives) {
            if found.iter().all(|known| known.index != upper.index) {
                found.push(upper.clone());
            }
        }
    }
    found
}

/// Every interface of this network namespace.
pub fn all() -> Result<Vec<Interface>> {
    // An `ifinfomsg` (`linux/rtnetlink.h`): all zero asks for every interface.
    let answers =
        dump(NETLINK_ROUTE, libc::RTM_GETLINK, vec![0; 16]).context("cannot list the interfaces")?;
    let features = xdp_features();
    let mut interfaces: Vec<_> = answers.iter().filter_map(|answer| parse(answer)).collect();
    let addresses = addresses()?;
    for interface in &mut interfaces {
        let own = addresses.iter().filter(|(index, ..)| *index == interface.index);
        interface.held = own.clone().map(|(_, address, _)| *address).collect();
        interface.addresses = own.filter(|(.., chosen)| *chosen).map(|(_, address, _)| *address).collect();
        interface.features = features.as_ref().and_then(|features| features.get(&interface.index).copied());
    }
    Ok(interfaces)
}

fn parse(answer: &[u8]) -> Option<Interface> {
    const IFLA_XDP_ATTACHED: u16 = 2;
    const IFLA_XDP_PROG_ID: u16 = 4;
    const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;

    let header = answer.first_chunk::<16>()?;
    let index = u32::from_ne_bytes(*header[4..].first_chunk()?);
    let hardware = u16::from_ne_bytes(*header[2..].first_chunk()?);
    let link = attributes(&answer[16..]);
    let info = link.get(&libc::IFLA_LINKINFO).map(|info| attributes(info)).unwrap_or_default();
    let xdp = link.get(&libc::IFLA_XDP).map(|xdp| attributes(xdp)).unwrap_or_default();
    let program = || {
        let mode = match xdp.get(&IFLA_XDP_ATTACHED)?.first()? {
            2 => Mode::Generic,
            _ => Mode::Native,
        };
        Some((mode, u32::from_ne_bytes(bytes(xdp.get(&IFLA_XDP_PROG_ID)?)?)))
    };
    let number = |kind: u16| link.get(&kind).and_then(|number| bytes(number)).map(u32::from_ne_bytes);
    let kind = info.get(&libc::IFLA_INFO_KIND).map(|kind| text(kind));
    Some(Interface {
        index,
        name: text(link.get(&libc::IFLA_IFNAME)?),
        master: number(libc::IFLA_MASTER),
        // The peer of a veth is told in the same way, and may even be in another namespace.
        carrier: if kind.as_deref() == Some("vlan") { number(libc::IFLA_LINK) } else { None },
        kind,
        bus: link.get(&IFLA_PARENT_DEV_BUS_NAME).map(|bus| text(bus)),
        bare: !matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK),
        mtu: number(libc::IFLA_MTU)?,
        addresses: vec![],
        held: vec![],
        program: program(),
        features: None,
    })
}

/// The number of the interface by which the kernel would send to an address; `None` if it is this host's own, or if there is
/// no route.
pub fn towards(address: IpAddr) -> Option<u32> {
    const TYPE: usize = 7;
    const HEADER: usize = 12;
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    // An `rtmsg` (`linux/rtnetlink.h`).
    let mut question = vec![family as u8, octets.len() as u8 * 8];
    question.resize(HEADER, 0);
    question.extend(attribute(libc::RTA_DST, &octets));
    // An error is the answer that there is none.
    let answers = get(NETLINK_ROUTE, libc::RTM_GETROUTE, question).unwrap_or_default();
    let answer = answers.first()?;
    let is_sent = *answer.get(TYPE)? == libc::RTN_UNICAST;
    let interface = *attributes(answer.get(HEADER..)?).get(&libc::RTA_OIF)?;
    bytes(interface).filter(|_| is_sent).map(u32::from_ne_bytes)
}

/// An interface's index, an address of it, and whether the kernel would choose it as the source of a packet.
type Held = (u32, IpAddr, bool);

fn addresses() -> Result<Vec<Held>> {
    // An `ifaddrmsg` (`linux/if_addr.h`): all zero asks for every address.
    let answers = dump(NETLINK_ROUTE, libc::RTM_GETADDR, vec![0; 8]).context("cannot list the addresses")?;
    Ok(answers.iter().filter_map(|answer| parse_address(answer)).collect())
}

fn parse_address(answer: &[u8]) -> Option<Held> {
    const UNUSABLE: u8 =
        (libc::IFA_F_SECONDARY | libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED | libc::IFA_F_DEPRECATED)
            as u8;

    let header = answer.first_chunk::<8>()?;
    let [_family, _prefix, flags, scope, ..] = *header;
    let is_chosen = scope == libc::RT_SCOPE_UNIVERSE && flags & UNUSABLE == 0;
    let address = attributes(&answer[8..]);
    // On a point-to-point interface the other attribute, IFA_ADDRESS, is the far end's.
    let bytes = address.get(&libc::IFA_LOCAL).or(address.get(&libc::IFA_ADDRESS))?;
    let address = match bytes.len() {
        4 => IpAddr::from(*bytes.first_chunk::<4>()?),
        16 => IpAddr::from(*bytes.first_chunk::<16>()?),
        _ => return None,
    };
    Some((u32::from_ne_bytes(*header[4..].first_chunk()?), address, is_chosen))
}

/// XDP features by interface index, from the `netdev` family (`Documentation/netlink/specs/netdev.yaml`).
fn xdp_features() -> Option<HashMap<u32, u64>> {
    const NETDEV_CMD_DEV_GET: u8 = 1;
    const NETDEV_A_DEV_IFINDEX: u16 = 1;
    const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

    let devices = generic_dump(generic_family("netdev")?, NETDEV_CMD_DEV_GET, vec![]).ok()?;
    let of_device = |answer: &Vec<u8>| {
        let device = attributes(answer);
        let index = u32::from_ne_bytes(bytes(device.get(&NETDEV_A_DEV_IFINDEX)?)?);
        Some((index, u64::from_ne_bytes(bytes(device.get(&NETDEV_A_DEV_XDP_FEATURES)?)?)))
    };
    Some(devices.iter().filter_map(of_device).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, master: Option<u32>, carrier: Option<u32>) -> Interface {
        Interface { index, master, carrier, ..Interface::default() }
    }

    #[test]
    fn the_kernel_sees_packets_on_bridges_and_vlans_above() {
        let port = interface(1, Some(2), None);
        let all = [
            port.clone(),
            interface(2, None, None),
            interface(3, None, Some(2)),
            interface(4, None, Some(3)),
            interface(5, None, None),
        ];
        let found: Vec<_> = receivers(&[port], &all).iter().map(|interface| interface.index).collect();
        assert_eq!(found, [1, 2, 3, 4]);
    }
}
