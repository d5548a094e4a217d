//! `lb-ctl sysctl`: IPVS's sysctls.

use crate::report::say;
use crate::{
    spec::{parse_number, parse_sysctl},
    store::Store,
    transaction,
};
use anyhow::Result;
use lb_common::sysctl::{Sysctl, WITHOUT_EFFECT};

/// Show or change what IPVS has as sysctls below net.ipv4.vs, by the same names.
///
/// Without a name all are shown, those of IPVS that change nothing here with the reason. A change is in
/// force with the next packet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl sysctl
  lb-ctl sysctl expire_nodest_conn=1 conn_reuse_mode=0
  lb-ctl sysctl sloppy_tcp")]
pub struct Args {
    /// Which one to show, or to change
    #[arg(value_name = "NAME[=VALUE]")]
    names: Vec<String>,
}

/// What is asked for.
enum Asked {
    /// The value, or none where it changes nothing.
    Show(Result<Sysctl, &'static str>),
    Change(Sysctl, u32),
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let asked = self.names.iter().map(|text| Asked::parse(text)).collect::<Result<Vec<_>>>()?;
        if asked.is_empty() {
            return show_all(&Store::open()?);
        }
        // A value that cannot be meant has been refused by now: all of them change, or none.
        let changes: Vec<_> = asked.iter().filter_map(Asked::change).collect();
        if !changes.is_empty() {
            transaction::make(|change| {
                changes.iter().for_each(|(sysctl, value)| change.set_sysctl(*sysctl, *value));
                Ok(())
            })?;
        }
        let values = Store::open()?.sysctls();
        for asked in asked {
            match asked {
                Asked::Show(Ok(sysctl)) => say!("{} = {}", sysctl.name(), values[&sysctl]),
                Asked::Show(Err(why)) => say!("# without effect: {why}"),
                Asked::Change(..) => {}
            }
        }
        Ok(())
    }
}

impl Asked {
    /// Reads `NAME` or `NAME=VALUE`; what IPVS calls `net.ipv4.vs.NAME` is NAME too.
    fn parse(text: &str) -> Result<Self> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (text.trim(), None),
        };
        let name = name.strip_prefix("net.ipv4.vs.").unwrap_or(name);
        let inert = WITHOUT_EFFECT.iter().find(|(inert, _)| *inert == name);
        match (inert, value) {
            (Some((_, why)), None) => Ok(Self::Show(Err(why))),
            (_, None) => Ok(Self::Show(Ok(parse_sysctl(name)?))),
            (_, Some(value)) => {
                let sysctl = parse_sysctl(name)?;
                Ok(Self::Change(sysctl, parse_number(name, value, sysctl.most())?))
            }
        }
    }

    fn change(&self) -> Option<(Sysctl, u32)> {
        match self {
            Self::Change(sysctl, value) => Some((*sysctl, *value)),
            Self::Show(_) => None,
        }
    }
}

fn show_all(store: &Store) -> Result<()> {
    for (sysctl, value) in store.sysctls() {
        say!("{} = {value}", sysctl.name());
    }
    for (name, why) in WITHOUT_EFFECT {
        say!("# {name}: {why}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_meant() {
        let change = |text: &str| Asked::parse(text).unwrap().change();
        assert_eq!(change("drop_entry=3"), Some((Sysctl::DropEntry, 3)));
        assert_eq!(change("net.ipv4.vs.sloppy_tcp = 1"), Some((Sysctl::SloppyTcp, 1)));
        assert!(matches!(Asked::parse("am_droprate").unwrap(), Asked::Show(Ok(Sysctl::AmDroprate))));
        assert!(matches!(Asked::parse("conntrack").unwrap(), Asked::Show(Err(_))));
        for (text, part) in [("drop_entry=4", "3"), ("conntrack=1", "netfilter"), ("dropentry", "dropentry")]
        {
            let message = Asked::parse(text).err().unwrap().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
