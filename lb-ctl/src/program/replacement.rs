//! Another program on the same maps and interfaces: connections go on, and no packet is lost.

use super::{
    Mode, attachment, device,
    interface::{self, Interface},
    object::{self, Filter, Instance, Variant, pin_name},
};
use crate::store::grace;
use anyhow::{Result, bail};
use std::{collections::BTreeMap, fs, path::Path};

/// Loads this `lb-ctl`'s program for every mode in use and puts it into the links.
///
/// Interrupted between two links, both programs work on the same maps; the next time ends it.
pub fn replace(pins: &Path, connections: u32, trace: Option<Filter>) -> Result<Vec<Instance>> {
    let interfaces = interface::all()?;
    let attachments = attachment::all(pins, &interfaces)?;
    let modes = attachment::modes(&attachments);
    if modes.is_empty() {
        bail!(
            "no interface is left that the balancer was attached to: lb-ctl unload, then lb-ctl load IFACE…"
        );
    }
    let attached = interfaces.iter().filter(|interface| modes.contains_key(&interface.index));
    let partial = attached.clone().any(Interface::partial_checksums);

    let bare = attached.clone().any(|interface| interface.bare);

    let mut instances = Vec::new();
    for mode in Mode::ALL.into_iter().filter(|mode| modes.values().any(|used| used == mode)) {
        instances.push(Instance::load(pins, Variant { mode, partial, bare, connections, trace })?);
    }
    if trace.is_none() {
        instances[0].arm(pins)?;
    }
    for instance in &mut instances {
        let mode = instance.variant.mode;
        instance.pin(pins, &pin_name(mode, trace.is_some()))?;
        attachment::replace(&attachments, mode, instance.program("balance")?)?;
    }
    device::describe(pins, &interfaces, &modes, &BTreeMap::new())?;
    forget_stages(pins)?;
    Ok(instances)
}

/// Removes what led to the second half of programs that are in no link any more.
fn forget_stages(pins: &Path) -> Result<()> {
    let attachments = attachment::all(pins, &interface::all()?)?;
    let mut used: Vec<u32> = attachments.iter().map(|attachment| attachment.program).collect();
    used.extend(object::pinned(pins)?.iter().map(|(_, info)| info.id()));
    used.extend(object::traced(pins)?);
    // A packet may be between the two halves.
    grace::wait();
    object::forget_stages(pins, &used)
}

/// Removes what a trace has pinned, once no link holds it any more.
pub fn forget_trace(pins: &Path) -> Result<()> {
    for mode in Mode::ALL {
        match fs::remove_file(pins.join(pin_name(mode, true))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    forget_stages(pins)
}
