//! What holds the program on its interfaces: links, and filters where the kernel has no links for tc.

use super::{
    Mode, clsact,
    hook::Hooked,
    interface::{self, Interface},
    link,
    object::{self, Instance},
};
use anyhow::{Context as _, Result, bail};
use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::{FdLink, LinkType, PinnedLink},
    tc::{SchedClassifierLink, TcAttachOptions},
    xdp::XdpLink,
};
use aya_obj::programs::XdpAttachType;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// How an instance was attached to an interface.
#[derive(Debug)]
pub enum Held {
    /// Until the link is dropped; it is not pinned yet.
    Link(FdLink),
    /// By a filter, for which there is a pin already.
    Filter,
}

/// Attaches an instance to an interface, `by_filter` rather than by a link if it is for tc. `None` where the
/// driver does not take programs in this mode.
pub fn attach(
    instance: &mut Instance,
    pins: &Path,
    interface: &Interface,
    by_filter: bool,
) -> Result<Option<Held>> {
    let mode = instance.variant.mode;
    let explain = || format!("cannot attach to {} ({mode})", interface.name);
    match instance.program("balance")? {
        Hooked::Xdp(program) => {
            let xdp = if mode == Mode::Generic { XdpMode::Skb } else { XdpMode::Driver };
            match program.attach_to_if_index(interface.index, xdp) {
                Ok(id) => Ok(Some(Held::Link(program.take_link(id)?.try_into()?))),
                Err(error) if mode == Mode::Native && is_refusal(&error) => Ok(None),
                Err(error) => Err(error).with_context(explain),
            }
        }
        Hooked::Tc(program) if !by_filter => {
            let order = TcAttachOptions::TcxOrder(LinkOrder::default());
            let id = program
                .attach_with_options(&interface.name, TcAttachType::Ingress, order)
                .with_context(explain)?;
            Ok(Some(Held::Link(program.take_link(id)?.try_into()?)))
        }
        Hooked::Tc(program) => {
            clsact::attach(program, pins, interface).with_context(explain)?;
            Ok(Some(Held::Filter))
        }
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

/// Pins a link, if it is one: from now on it holds without this process.
pub fn pin(held: Held, pins: &Path, interface: &Interface) -> Result<()> {
    let Held::Link(link) = held else { return Ok(()) };
    let path = pins.join(link_name(interface.index));
    link.pin(&path).with_context(|| format!("cannot pin {}", path.display()))?;
    Ok(())
}

/// A pinned link or a filter, and the interface that it was made for.
#[derive(Debug)]
pub struct Attachment {
    /// Number of the interface.
    pub index: u32,
    /// The interface, unless it is gone.
    pub interface: Option<Interface>,
    /// How it is attached; `None` where it is not, because the interface is gone.
    pub mode: Option<Mode>,
    /// Id of the program in it; 0 where a filter is gone.
    pub program: u32,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Link(PathBuf),
    Filter,
}

/// Every pinned link and every filter of a directory, by number of the interface.
pub fn all(pins: &Path, interfaces: &[Interface]) -> Result<Vec<Attachment>> {
    let mut attachments = Vec::new();
    for entry in fs::read_dir(pins).with_context(|| format!("cannot read {}", pins.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((index, _)) = clsact::from_name(name) {
            let interface = interfaces.iter().find(|interface| interface.index == index).cloned();
            let program = clsact::program(index)?;
            let mode = program.map(|_| Mode::Tc);
            let (program, place) = (program.unwrap_or_default(), Place::Filter);
            attachments.push(Attachment { index, interface, mode, program, place });
            continue;
        }
        let Some(index) = index_of(name) else { continue };
        let link = FdLink::from(PinnedLink::from_pin(&path)?);
        let program = link.info()?.program_id();
        let interface = interfaces.iter().find(|interface| interface.index == index).cloned();
        // A link outlives its interface, whose number may be given out again.
        let mode = match (&interface, is_tc(&link)?) {
            (None, _) => None,
            (Some(_), true) => (interface_of(&link)? == Some(index)).then_some(Mode::Tc),
            (Some(interface), false) => {
                interface.program.and_then(|(mode, attached)| (attached == program).then_some(mode))
            }
        };
        attachments.push(Attachment { index, interface, mode, program, place: Place::Link(path) });
    }
    attachments.sort_by_key(|attachment| attachment.index);
    Ok(attachments)
}

/// The modes in use, by number of the interface.
pub fn modes(attachments: &[Attachment]) -> BTreeMap<u32, Mode> {
    attachments.iter().filter_map(|attachment| Some((attachment.index, attachment.mode?))).collect()
}

fn is_tc(link: &FdLink) -> Result<bool> {
    Ok(link.info()?.link_type()? == LinkType::Tcx)
}

/// Puts another program into the links and filters of its mode. A packet sees the old one or the new one.
pub fn replace(attachments: &[Attachment], mode: Mode, mut program: Hooked<'_>) -> Result<()> {
    for attachment in attachments.iter().filter(|attachment| attachment.mode == Some(mode)) {
        attachment
            .replace(&mut program)
            .with_context(|| format!("cannot replace the program on interface {}", attachment.index))?;
    }
    Ok(())
}

impl Attachment {
    fn replace(&self, program: &mut Hooked<'_>) -> Result<()> {
        match (&self.place, program, &self.interface) {
            (Place::Link(path), Hooked::Xdp(program), _) => {
                let link: XdpLink = FdLink::from(PinnedLink::from_pin(path)?).try_into()?;
                program.attach_to_link(link)?;
            }
            (Place::Link(path), Hooked::Tc(program), _) => {
                let link: SchedClassifierLink = FdLink::from(PinnedLink::from_pin(path)?).try_into()?;
                program.attach_to_link(link)?;
            }
            (Place::Filter, Hooked::Tc(program), Some(interface)) => clsact::replace(program, interface)?,
            // Nothing is left there to replace.
            (Place::Filter, ..) => {}
        }
        Ok(())
    }
}

/// Puts the pinned program of each mode back into the links.
pub fn restore(pins: &Path, attachments: &[Attachment]) -> Result<()> {
    for mode in Mode::ALL {
        if attachments.iter().any(|attachment| attachment.mode == Some(mode)) {
            let path = pins.join(object::pin_name(mode, false));
            let explain = || format!("cannot open {}", path.display());
            if mode == Mode::Tc {
                let mut program = SchedClassifier::from_pin(&path).with_context(explain)?;
                replace(attachments, mode, Hooked::Tc(&mut program))?;
            } else {
                let mut program = Xdp::from_pin(&path, XdpAttachType::Interface).with_context(explain)?;
                replace(attachments, mode, Hooked::Xdp(&mut program))?;
            }
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

/// Detaches and removes every link and every filter of a directory.
pub fn detach(pins: &Path) -> Result<()> {
    let interfaces = interface::all()?;
    for entry in fs::read_dir(pins).with_context(|| format!("cannot read {}", pins.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let filter = clsact::from_name(name);
        if let Some((index, own)) = filter
            && let Some(interface) = interfaces.iter().find(|interface| interface.index == index)
        {
            clsact::detach(interface, own)?;
        }
        let is_link = index_of(name).is_some();
        if is_link {
            link::detach(&path).with_context(|| format!("cannot detach {}", path.display()))?;
        }
        if is_link || filter.is_some() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Interfaces by name, each once.
///
/// With `xdp`, none of them may carry an XDP program: an interface has room for one.
pub fn named(interfaces: &[Interface], names: &[String], xdp: bool) -> Result<Vec<Interface>> {
    let mut found: Vec<Interface> = Vec::new();
    for name in names {
        let Some(interface) = interfaces.iter().find(|interface| interface.name == *name) else {
            let known: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
            bail!("no interface {name} in this network namespace: it has {}", known.join(", "));
        };
        if xdp && let Some((mode, id)) = interface.program {
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
        assert_eq!(index_of("clsact-7"), None);
    }

    #[test]
    fn an_unknown_interface_is_named_with_those_that_exist() {
        let interfaces = [Interface { name: "eth0".into(), ..Interface::default() }];
        let error = named(&interfaces, &["eth1".into()], true).unwrap_err().to_string();
        assert_eq!(error, "no interface eth1 in this network namespace: it has eth0");
        assert_eq!(named(&interfaces, &["eth0".into(), "eth0".into()], true).unwrap().len(), 1);
    }
}
