//! tc before Linux 6.6, which has no links for it: a filter in the `clsact` queueing discipline of an
//! interface.
//!
//! A filter outlives the process that adds it, and so does the discipline. A pin with the interface's number
//! in its name, made beforehand, tells whoever cleans up: of both, or, without `-own`, of the filter alone.

use super::{
    interface::Interface,
    netlink::{acknowledged, attribute, attributes, bytes, dump, text},
};
use anyhow::{Context as _, Result};
use aya::{
    maps::MapData,
    programs::{
        Link as _, SchedClassifier, TcAttachType,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    },
};
use netlink_sys::protocols::NETLINK_ROUTE;
use std::{io, mem, path::Path};

/// Where the filter stands among others, and its number there: the letters "lb".
const PRIORITY: u16 = 0x6c62;
const HANDLE: TcHandle = TcHandle::new(0, 0x6c62);

/// `TC_H_CLSACT`, with `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS` (`linux/pkt_sched.h`).
const CLSACT: u32 = 0xffff_fff1;
const SIDES: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
/// What a `clsact` discipline is called by.
const CLSACT_HANDLE: u32 = 0xffff_0000;

/// A filter's pin: the interface's number, and whether the discipline came with the filter.
pub fn from_name(name: &str) -> Option<(u32, bool)> {
    let number = name.strip_prefix("clsact-")?;
    let (number, own) = number.strip_suffix("-own").map_or((number, false), |number| (number, true));
    Some((number.parse().ok()?, own))
}

/// Adds the filter, and the discipline if it is not there.
pub fn attach(program: &mut SchedClassifier, pins: &Path, interface: &Interface) -> Result<()> {
    let own = !has_discipline(interface.index)?;
    let suffix = if own { "-own" } else { "" };
    let record = pins.join(format!("clsact-{}{suffix}", interface.index));
    // Any map of the load does.
    MapData::from_pin(pins.join("SETTINGS"))?
        .pin(&record)
        .with_context(|| format!("cannot pin {}", record.display()))?;
    if own {
        tc::qdisc_add_clsact(&interface.name)
            .with_context(|| format!("cannot add the clsact qdisc to {}", interface.name))?;
    }
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let id = program.attach_with_options(
        &interface.name,
        TcAttachType::Ingress,
        TcAttachOptions::Netlink(options),
    )?;
    // When it is dropped it is detached.
    mem::forget(program.take_link(id)?);
    Ok(())
}

/// Puts another program into the filter.
pub fn replace(program: &mut SchedClassifier, interface: &Interface) -> Result<()> {
    let id = program.attach_to_link(filter(interface)?)?;
    mem::forget(program.take_link(id)?);
    Ok(())
}

/// Removes the filter, and the discipline where it is our own and nobody else uses it.
pub fn detach(interface: &Interface, own: bool) -> Result<()> {
    if program(interface.index)?.is_some() {
        filter(interface)?
            .detach()
            .with_context(|| format!("cannot remove the filter of {}", interface.name))?;
    }
    if own && has_discipline(interface.index)? && filters(interface.index)?.is_empty() {
        let mut body = message(interface.index, CLSACT_HANDLE, CLSACT);
        body.extend(attribute(libc::TCA_KIND, b"clsact\0"));
        acknowledged(NETLINK_ROUTE, libc::RTM_DELQDISC, body)
            .with_context(|| format!("cannot remove the clsact qdisc of {}", interface.name))?;
    }
    Ok(())
}

fn filter(interface: &Interface) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(&interface.name, TcAttachType::Ingress, PRIORITY, HANDLE, None)
}

/// The id of the program in our filter of an interface.
pub fn program(interface: u32) -> Result<Option<u32>> {
    const TCA_BPF_ID: u16 = 11;

    for answer in filters(interface)? {
        let Some((header, rest)) = answer.split_first_chunk::<20>() else { continue };
        let number =
            |at: usize| u32::from_ne_bytes(header[at..at + 4].first_chunk().copied().unwrap_or_default());
        if number(8) != u32::from(HANDLE) || number(16) >> 16 != u32::from(PRIORITY) {
            continue;
        }
        let all = attributes(rest);
        let options = all.get(&libc::TCA_OPTIONS).map(|options| attributes(options)).unwrap_or_default();
        if let Some(id) = options.get(&TCA_BPF_ID).and_then(|id| bytes(id)) {
            return Ok(Some(u32::from_ne_bytes(id)));
        }
    }
    Ok(None)
}

/// Every filter of an interface, in both directions.
fn filters(interface: u32) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for side in SIDES {
        let answers = dump(NETLINK_ROUTE, libc::RTM_GETTFILTER, message(interface, 0, side))
            .context("cannot list the tc filters")?;
        // A priority by itself is told too, without a handle.
        all.extend(
            answers.into_iter().filter(|answer| answer.get(8..12).is_some_and(|handle| handle != [0; 4])),
        );
    }
    Ok(all)
}

/// Whether filters for what comes in can be added: `clsact`, or the older `ingress`.
fn has_discipline(interface: u32) -> Result<bool> {
    let answers = dump(NETLINK_ROUTE, libc::RTM_GETQDISC, message(interface, 0, 0))
        .context("cannot list the queueing disciplines")?;
    Ok(answers.iter().any(|answer| {
        let Some((header, rest)) = answer.split_first_chunk::<20>() else { return false };
        header[4..8] == interface.to_ne_bytes()
            && attributes(rest)
                .get(&libc::TCA_KIND)
                .is_some_and(|kind| matches!(text(kind).as_str(), "clsact" | "ingress"))
    }))
}

/// A `tcmsg` (`linux/rtnetlink.h`).
fn message(interface: u32, handle: u32, parent: u32) -> Vec<u8> {
    [0, interface, handle, parent, 0].into_iter().flat_map(u32::to_ne_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_tells_whose_the_discipline_is() {
        assert_eq!(from_name("clsact-7-own"), Some((7, true)));
        assert_eq!(from_name("clsact-7"), Some((7, false)));
        assert_eq!(from_name("link-7"), None);
    }
}
