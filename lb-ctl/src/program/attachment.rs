//! The links that hold the program on its interfaces.

use super::{
    Mode,
    interface::Interface,
    link,
    object::{self, Instance},
};
use anyhow::{Context as _, Result, bail};
use aya::programs::{
    ProgramError, Xdp,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};
use aya_obj::programs::XdpAttachType;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Attaches an instance to an interface until the link is dropped; it is not pinned yet. `None`
/// where the driver does not take programs in this mode.
pub fn attach(instance: &mut Instance, interface: &Interface) -> Result<Option<FdLink>> {
    let mode = instance.variant.mode;
    let program = instance.program("balance")?;
    match program.attach_to_if_index(interface.index, mode.into()) {
        Ok(id) => Ok(Some(program.take_link(id)?.try_into()?)),
        Err(error) if mode == Mode::Native && is_refusal(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot attach to {} ({mode})", interface.name)),
    }
}

/// Whether a driver says that it cannot run programs, or not with its present settings (`ERANGE`
/// for an MTU, `EINVAL` for large receive offload, `ENOMEM` or `ENOSPC` for queues).
fn is_refusal(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(error) = error else {
        // After EINVAL, aya has tried another way, which failed too.
        return matches!(error, ProgramError::XdpError(_));
    };
    let codes = [libc::EOPNOTSUPP, libc::ERANGE, libc::EINVAL, libc::ENOMEM, libc::ENOSPC, libc::E2BIG];
    error.io_error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Pins a link: from now on it holds without this process.
pub fn pin(link: FdLink, pins: &Path, interface: &Interface) -> Result<()> {
    let path = pins.join(link_name(interface.index));
    link.pin(&path).with_context(|| format!("cannot pin {}", path.display()))?;
    Ok(())
}

/// A pinned link, and the interface that it was made for.
#[derive(Debug)]
pub struct Attachment {
    /// Number of the interface.
    pub index: u32,
    /// The interface, unless it is gone.
    pub interface: Option<Interface>,
    /// How it is attached; `None` where it is not, because the interface is gone.
    pub mode: Option<Mode>,
    /// Id of the program in the link.
    pub program: u32,
    path: PathBuf,
}

/// Every pinned link of a directory, by number of the interface.
pub fn all(pins: &Path, interfaces: &[Interface]) -> Result<Vec<Attachment>> {
    let mut attachments = Vec::new();
    for entry in fs::read_dir(pins).with_context(|| format!("cannot read {}", pins.display()))? {
        let path = entry?.path();
        let Some(index) = path.file_name().and_then(|name| index_of(name.to_str()?)) else { continue };
        let program = FdLink::from(PinnedLink::from_pin(&path)?).info()?.program_id();
        let interface = interfaces.iter().find(|interface| interface.index == index).cloned();
        // A link outlives its interface, whose number may be given out again.
        let mode = interface
            .as_ref()
            .and_then(|interface| interface.program)
            .and_then(|(mode, attached)| (attached == program).then_some(mode));
        attachments.push(Attachment { index, interface, mode, program, path });
    }
    attachments.sort_by_key(|attachment| attachment.index);
    Ok(attachments)
}

/// The modes in use, by number of the interface.
pub fn modes(attachments: &[Attachment]) -> BTreeMap<u32, Mode> {
    attachments.iter().filter_map(|attachment| Some((attachment.index, attachment.mode?))).collect()
}

/// Puts another program into the links of its mode. A packet sees the old one or the new one.
pub fn replace(attachments: &[Attachment], mode: Mode, program: &mut Xdp) -> Result<()> {
    for attachment in attachments.iter().filter(|attachment| attachment.mode == Some(mode)) {
        let link: XdpLink = FdLink::from(PinnedLink::from_pin(&attachment.path)?).try_into()?;
        program
            .attach_to_link(link)
            .with_context(|| format!("cannot replace the program on interface {}", attachment.index))?;
    }
    Ok(())
}

/// Puts the pinned program of each mode back into the links.
pub fn restore(pins: &Path, attachments: &[Attachment]) -> Result<()> {
    for mode in Mode::ALL {
        if attachments.iter().any(|attachment| attachment.mode == Some(mode)) {
            let path = pins.join(object::pin_name(mode, false));
            let mut program = Xdp::from_pin(&path, XdpAttachType::Interface)
                .with_context(|| format!("cannot open {}", path.display()))?;
            replace(attachments, mode, &mut program)?;
        }
    }
    Ok(())
}

/// Whether every interface that a directory's links were made for is gone, in whatever namespace.
pub fn all_gone(pins: &Path) -> Result<bool> {
    let mut links = 0;
    for entry in fs::read_dir(pins).with_context(|| format!("cannot read {}", pins.display()))? {
        let path = entry?.path();
        if path.file_name().and_then(|name| index_of(name.to_str()?)).is_none() {
            continue;
        }
        links += 1;
        if interface_of(&PinnedLink::from_pin(&path)?.into())? != Some(0) {
            return Ok(false);
        }
    }
    Ok(links > 0)
}

/// The interface of an open link, in whatever namespace; 0 when it is gone.
///
/// Only the kernel's notes about an open file tell, and aya keeps the number of the file to itself.
fn interface_of(link: &FdLink) -> Result<Option<u32>> {
    let id = link.info()?.id();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        // The directory's own file is closed by the time it is read.
        let Ok(about) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| -> Option<u32> {
            about.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        if field("link_id:") == Some(id) {
            return Ok(field("ifindex:"));
        }
    }
    Ok(None)
}

/// Detaches and removes every link of a directory.
pub fn detach(pins: &Path) -> Result<()> {
    for entry in fs::read_dir(pins).with_context(|| format!("cannot read {}", pins.display()))? {
        let path = entry?.path();
        if path.file_name().and_then(|name| index_of(name.to_str()?)).is_some() {
            link::detach(&path).with_context(|| format!("cannot detach {}", path.display()))?;
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Interfaces by name, each once.
pub fn named(interfaces: &[Interface], names: &[String]) -> Result<Vec<Interface>> {
    let mut found: Vec<Interface> = Vec::new();
    for name in names {
        let Some(interface) = interfaces.iter().find(|interface| interface.name == *name) else {
            let known: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
            bail!("no interface {name} in this network namespace: it has {}", known.join(", "));
        };
        if let Some((mode, id)) = interface.program {
            let kind = if mode == Mode::Generic { "xdpgeneric" } else { "xdp" };
            bail!("{name} already carries another XDP program (id {id}): ip link set dev {name} {kind} off");
        }
        if !found.contains(interface) {
            found.push(interface.clone());
        }
    }
    Ok(found)
}

fn link_name(index: u32) -> String {
    format!("link-{index}")
}

fn index_of(name: &str) -> Option<u32> {
    name.strip_prefix("link-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_named_after_its_interface() {
        assert_eq!(index_of(&link_name(7)), Some(7));
        assert_eq!(index_of("balance-native"), None);
    }

    #[test]
    fn an_unknown_interface_is_named_with_those_that_exist() {
        let interfaces = [Interface { name: "eth0".into(), ..Interface::default() }];
        let error = named(&interfaces, &["eth1".into()]).unwrap_err().to_string();
        assert_eq!(error, "no interface eth1 in this network namespace: it has eth0");
        assert_eq!(named(&interfaces, &["eth0".into(), "eth0".into()]).unwrap().len(), 1);
    }
}
