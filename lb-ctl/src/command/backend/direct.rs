//! What direct routing needs besides a server: an interface that XDP can send by.

use crate::program::{Mode, attachment, device, interface, pins::Pins};
use anyhow::Result;
use lb_common::device::flags;
use std::net::IpAddr;

/// Says where packets for a backend would be dropped. Whether clients come in by another interface, or tc takes the place of
/// XDP, is not known here: so it is no error.
pub fn warn(backend: IpAddr) -> Result<()> {
    let interfaces = interface::all()?;
    let modes = attachment::modes(&attachment::all(&Pins::here()?.loaded()?, &interfaces)?);
    let towards = interface::towards(backend);
    let found = interfaces.iter().find(|interface| Some(interface.index) == towards);
    let (Some(interface), true) = (found, modes.values().any(|mode| *mode != Mode::Tc)) else {
        return Ok(());
    };
    let capability = device::judge(interface, modes.get(&interface.index).copied());
    if capability.device.flags & (flags::REDIRECT | flags::TRANSMIT) == 0 {
        eprintln!(
            "lb-ctl: warning: XDP drops what direct routing sends to {backend} by {}, because {}; tc does not: lb-ctl \
             unload, then load --hook tc",
            interface.name, capability.reason
        );
    }
    Ok(())
}
