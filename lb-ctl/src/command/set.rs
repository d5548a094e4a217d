//! `lb-ctl set`: timeouts.

use crate::report::say;
use crate::{
    spec::{parse_number, usage},
    store::{Store, Timeouts},
    transaction,
};
use anyhow::Result;

/// 31 days, the most that ipvsadm takes for any timeout.
const MOST: u32 = 31 * 86_400;

/// Show or change the timeouts of connections.
///
/// A connection takes the new value with its next packet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example (UDP flows end after 60 s; 0 keeps the others):
  lb-ctl set 0 0 60")]
pub struct Args {
    /// Seconds for an established TCP connection, for TCP in FIN_WAIT, and for UDP; without them they are shown
    #[arg(value_names = ["TCP", "TCPFIN", "UDP"], allow_hyphen_values = true)]
    seconds: Vec<String>,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        match self.seconds.as_slice() {
            [] => {
                let Timeouts { tcp, tcpfin, udp } = Store::open()?.timeouts();
                say!("Timeout (tcp tcpfin udp): {tcp} {tcpfin} {udp}");
                Ok(())
            }
            [tcp, tcpfin, udp] => {
                let timeouts = Timeouts {
                    tcp: parse_number("TCP", tcp, MOST)?,
                    tcpfin: parse_number("TCPFIN", tcpfin, MOST)?,
                    udp: parse_number("UDP", udp, MOST)?,
                };
                transaction::make(|change| {
                    change.set_timeouts(timeouts);
                    Ok(())
                })
            }
            some => usage!("set takes three timeouts, not {}; write lb-ctl set 900 120 300", some.len()),
        }
    }
}
