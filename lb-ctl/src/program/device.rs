//! What the packet path is told about each interface: whether XDP can send through it.

use super::{
    Mode, driver,
    interface::{self, Interface, features},
};
use anyhow::{Context as _, Result};
use aya::maps::{DevMap, HashMap, Map, MapData};
use lb_common::{
    address::Address,
    device::{Device, choice, flags},
    limits::DEVICES,
};
use std::{collections::BTreeMap, path::Path};

/// The longest packet that surely fits in one buffer, with head room and tail room, on 4 KiB pages.
const ONE_BUFFER: u32 = 3_400;

/// What XDP can do with an interface, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// For the map.
    pub device: Device,
    /// For the reader of `status`.
    pub reason: &'static str,
}

/// Judges an interface; `attached` says how the balancer itself is attached there.
///
/// Where in doubt the answer is no: the kernel then forwards the packets, and none is lost.
pub fn judge(interface: &Interface, attached: Option<Mode>) -> Capability {
    let native = attached == Some(Mode::Native);
    let veth = interface.kind.as_deref() == Some("veth");
    // A bond's program is in the drivers of its ports.
    let is_of_devices = interface.bus.is_some() || interface.kind.as_deref() == Some("bond");
    let (redirect, reason) = match interface.features {
        _ if interface.bare => (false, "its packets have no Ethernet headers"),
        Some(bits) if bits & features::XMIT == 0 && veth => {
            (false, "the far end of this veth has neither GRO nor an XDP program")
        }
        Some(bits) if bits & features::XMIT == 0 => (false, "its driver does not send redirected packets"),
        // Drivers report what they can do in principle, and then refuse without queues for XDP.
        Some(_) if is_of_devices && !native => {
            (false, "devices send redirected packets only while a program is attached natively")
        }
        Some(bits) if bits & features::XMIT_FRAGMENTS == 0 && interface.mtu > ONE_BUFFER => {
            (false, "its driver does not send redirected packets of more than one buffer")
        }
        Some(_) => (true, "its driver sends redirected packets"),
        None if veth => (false, "this kernel does not tell what the far end of a veth does"),
        None if is_of_devices && !native => {
            (false, "devices send redirected packets only while a program is attached natively")
        }
        None if interface.mtu > ONE_BUFFER => {
            (false, "this kernel does not tell whether its driver sends packets of more than one buffer")
        }
        None if driver::sends_redirected(&interface.name) => {
            (true, "its driver is known to send redirected packets")
        }
        None => (false, "its driver is not known to send redirected packets"),
    };
    let set = |flag, on| if on { flag } else { 0 };
    let flags = set(flags::REDIRECT, redirect)
        // What a veth transmits arrives only where its far end runs a program too.
        | set(flags::TRANSMIT, native && !veth)
        | set(flags::ATTACHED, attached.is_some())
        | set(flags::BARE, interface.bare);
    Capability { device: Device { flags, ..Device::default() }, reason }
}

/// Tells the packet path about all interfaces, and gives native XDP those that it can send through; forgets those that
/// are gone. `chosen` is why the attached
/// ones are attached as they are ([`lb_common::device::choice`]), as far as that is new.
pub fn describe(
    pins: &Path,
    interfaces: &[Interface],
    attached: &BTreeMap<u32, Mode>,
    chosen: &BTreeMap<u32, u32>,
) -> Result<()> {
    let mut devices: HashMap<_, u32, Device> = HashMap::try_from(Map::HashMap(open(pins, "DEVICES")?))?;
    let mut exits = DevMap::try_from(Map::DevMap(open(pins, "EXITS")?))?;
    let old: Vec<u32> = devices.keys().collect::<Result<_, _>>()?;
    for interface in interfaces {
        let mut device = judge(interface, attached.get(&interface.index).copied()).device;
        if carries_vlans(interface, interfaces) {
            device.flags |= flags::VLANS;
        }
        device.addresses = sources(interface, interfaces);
        device.choice = match chosen.get(&interface.index) {
            Some(&choice) => choice,
            None => devices.get(&interface.index, 0).map_or(choice::NONE, |before| before.choice),
        };
        devices.insert(interface.index, device, 0)?;
        if device.flags & flags::REDIRECT != 0 && interface.index < DEVICES {
            // One that has just vanished cannot be set, and needs not.
            let _ = exits.set(interface.index, interface.index, None, 0);
        }
    }
    for index in old.iter().filter(|&&index| interfaces.iter().all(|interface| interface.index != index)) {
        devices.remove(index)?;
    }
    Ok(())
}

fn open(pins: &Path, name: &str) -> Result<MapData> {
    let path = pins.join(name);
    MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))
}

/// Why an interface is attached as it is, in words.
pub fn choice(pins: &Path, interface: u32) -> Result<&'static str> {
    let devices: HashMap<_, u32, Device> = HashMap::try_from(Map::HashMap(open(pins, "DEVICES")?))?;
    Ok(match devices.get(&interface, 0).map_or(choice::NONE, |device| device.choice) {
        choice::NAMED => "as was asked for",
        choice::DRIVER => "its driver takes XDP programs",
        choice::REFUSED => "its driver takes no XDP program",
        choice::BARE => "XDP needs Ethernet headers",
        _ => "",
    })
}

/// The source addresses of this host's packets by an interface: its own, else another's
/// (`inet_select_addr`).
fn sources(interface: &Interface, all: &[Interface]) -> [Address; 2] {
    let candidates = interface.addresses.iter().chain(all.iter().flat_map(|other| &other.addresses));
    let first = |is_ipv4| {
        let found = candidates.clone().find(|address| address.is_ipv4() == is_ipv4);
        found.map_or(Address::UNSPECIFIED, |address| (*address).into())
    };
    [first(true), first(false)]
}

/// Whether the kernel sees some of an interface's packets on a VLAN above it.
fn carries_vlans(interface: &Interface, all: &[Interface]) -> bool {
    let mut receivers = interface::receivers(std::slice::from_ref(interface), all).into_iter();
    receivers.any(|receiver| receiver.index != interface.index && receiver.carrier.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn an_interface_below_a_vlan_carries_vlans() {
        let lower = Interface { index: 1, ..Interface::default() };
        let vlan = Interface { index: 2, carrier: Some(1), ..Interface::default() };
        let all = [lower, vlan];
        assert!(carries_vlans(&all[0], &all));
        assert!(!carries_vlans(&all[1], &all));
    }

    #[test]
    fn an_interface_without_an_address_uses_another_s() {
        let own = Interface { addresses: vec!["10.0.0.1".parse().unwrap()], ..Interface::default() };
        let other = Interface {
            addresses: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            ..Interface::default()
        };
        let all = [other, own];
        let expected: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::2".parse().unwrap()];
        assert_eq!(sources(&all[1], &all).map(IpAddr::from), expected);
        assert_eq!(sources(&all[1], &[]), [expected[0].into(), Address::UNSPECIFIED]);
    }

    fn flags_of(kind: Option<&str>, bus: Option<&str>, bits: Option<u64>, attached: Option<Mode>) -> u32 {
        let interface = Interface {
            name: "none".into(),
            kind: kind.map(Into::into),
            bus: bus.map(Into::into),
            mtu: 1_500,
            features: bits,
            ..Interface::default()
        };
        judge(&interface, attached).device.flags
    }

    #[test]
    fn a_veth_is_redirected_to_only_where_the_kernel_vouches_for_its_far_end() {
        let veth = Some("veth");
        assert_eq!(flags_of(veth, None, None, Some(Mode::Native)), flags::ATTACHED);
        assert_eq!(flags_of(veth, None, Some(0), Some(Mode::Native)), flags::ATTACHED);
        assert_eq!(flags_of(veth, None, Some(features::XMIT), None), flags::REDIRECT);
    }

    #[test]
    fn a_device_needs_a_native_program_to_send() {
        let bits = Some(features::XMIT);
        let all = flags::REDIRECT | flags::TRANSMIT | flags::ATTACHED;
        assert_eq!(flags_of(None, Some("pci"), bits, Some(Mode::Native)), all);
        assert_eq!(flags_of(None, Some("pci"), bits, Some(Mode::Generic)), flags::ATTACHED);
        assert_eq!(flags_of(None, Some("pci"), bits, None), 0);
        assert_eq!(flags_of(Some("bond"), None, bits, Some(Mode::Native)), all);
        assert_eq!(flags_of(Some("bond"), None, bits, None), 0);
    }

    #[test]
    fn a_tunnel_is_left_to_the_kernel() {
        let tunnel = Interface { bare: true, features: Some(features::XMIT), ..Interface::default() };
        assert_eq!(judge(&tunnel, Some(Mode::Tc)).device.flags, flags::ATTACHED | flags::BARE);
    }

    #[test]
    fn long_packets_need_a_driver_that_sends_several_buffers() {
        let mut interface = Interface { mtu: 9_000, features: Some(features::XMIT), ..Interface::default() };
        assert_eq!(judge(&interface, None).device.flags, 0);
        interface.features = Some(features::XMIT | features::XMIT_FRAGMENTS);
        assert_eq!(judge(&interface, None).device.flags, flags::REDIRECT);
    }
}
