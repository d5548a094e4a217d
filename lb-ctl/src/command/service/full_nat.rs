//! The options of a service by full NAT.

use crate::store::Schedule;

/// Full NAT, and what backends are told.
#[derive(Debug, Default, clap::Args)]
#[group(id = "full_nat")]
pub struct Options {
    /// Full NAT: backends see an address of the pool (lb-ctl snat-pool) as the client, and need no way back to it
    #[arg(long, conflicts_with = "no_fullnat")]
    fullnat: bool,
    /// Backends see the client's address
    #[arg(long)]
    no_fullnat: bool,
    /// With --fullnat: backends are told the client's address and port by TCP option 254
    #[arg(long, conflicts_with = "no_toa")]
    toa: bool,
    /// Without that option
    #[arg(long)]
    no_toa: bool,
}

impl Options {
    /// What is asked for, added to the rest.
    pub fn add_to(&self, schedule: Schedule) -> Schedule {
        let asked = |yes: bool, no: bool| (yes || no).then_some(yes);
        Schedule {
            full_nat: asked(self.fullnat, self.no_fullnat),
            toa: asked(self.toa, self.no_toa),
            ..schedule
        }
    }
}
