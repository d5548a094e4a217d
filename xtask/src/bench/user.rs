//! Part three: as a user sees it. wrk and iperf3 through client, balancer and server, with whole connections, large
//! frames and real checksums. Measured is the processor time of all who take part; rates would say how
//! busy the machine is.

mod balancer;

use std::path::Path;

use anyhow::{Context, Result};

use super::{Part, cpu, packet::Packet, row::Row};
use crate::{
    lab::{Lab, Process},
    progress::Steps,
};
use balancer::Balancer;

const ROUNDS: usize = 5;
const SECONDS: &str = "2";
const GIGABYTES: f64 = 0.5;
const CASES: [(&str, &str); 3] =
    [("a request, kept alive", "µs"), ("a new connection", "µs"), ("a gigabyte", "ms")];

/// A lab with one of the balancers in it.
struct Bench {
    balancer: Balancer,
    lab: Lab,
    processes: Vec<Process>,
}

/// Measures everybody.
pub fn run(packet: &Packet, lb_ctl: &Path) -> Result<Vec<Row>> {
    let mut benches = Vec::new();
    for balancer in Balancer::ALL {
        benches.push(Bench::new(balancer, packet, lb_ctl).with_context(|| balancer.name())?);
    }
    let steps = Steps::new("as a user", ROUNDS * CASES.len() * benches.len());
    let mut rows = Vec::new();
    for (number, (case, unit)) in CASES.into_iter().enumerate() {
        let mut of_case: Vec<_> = benches
            .iter()
            .map(|bench| Row {
                delivered: Some(1.0),
                ..Row::new(Part::User, case, bench.balancer.name(), unit, Vec::new())
            })
            .collect();
        for _ in 0..ROUNDS {
            for (bench, row) in benches.iter().zip(&mut of_case) {
                steps.next(&format!("{case}: {}", bench.balancer.name()));
                let (seconds, answered) = match number {
                    0 => bench.requests(&[])?,
                    1 => bench.requests(&["-H", "Connection: close"])?,
                    _ => (bench.gigabyte()?, 1.0),
                };
                row.samples.push(seconds * if unit == "ms" { 1e3 } else { 1e6 });
                row.delivered = row.delivered.map(|least| least.min(answered));
            }
        }
        rows.extend(of_case);
    }
    Ok(rows)
}

impl Bench {
    fn new(balancer: Balancer, packet: &Packet, lb_ctl: &Path) -> Result<Self> {
        let lab = Lab::raise(lb_ctl.into())?;
        let mut processes = vec![lab.web1.spawn(["iperf3", "-s"])?];
        processes.extend(balancer.set_up(&lab, packet)?);
        Ok(Self { balancer, lab, processes })
    }

    /// Seconds of processor time for each of many requests, and the share of them that were answered.
    fn requests(&self, options: &[&str]) -> Result<(f64, f64)> {
        let url = format!("http://{}/", self.balancer.address());
        let wrk = ["wrk", "-t1", "-c16", "-d", SECONDS, &url];
        let before = self.cpu()?;
        let printed = self.lab.client.run(wrk.iter().chain(options))?;
        let spent = self.cpu()? - before;
        let all = requests(&printed).with_context(|| format!("wrk printed\n{printed}"))?;
        Ok((spent / all, (all - errors(&printed)) / all))
    }

    /// Seconds of processor time for a gigabyte to the server.
    fn gigabyte(&self) -> Result<f64> {
        let bytes = format!("{:.0}", GIGABYTES * 1e9);
        let before = self.cpu()?;
        self.lab.client.run(["iperf3", "-c", self.balancer.address(), "-n", &bytes, "-J"])?;
        Ok((self.cpu()? - before) / GIGABYTES)
    }

    fn cpu(&self) -> Result<f64> {
        cpu::seconds(self.processes.iter().chain([&*self.lab.servers[0]]))
    }
}

/// The requests that wrk says it has made.
fn requests(printed: &str) -> Option<f64> {
    let line = printed.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Those that it says were not answered as they should be.
fn errors(printed: &str) -> f64 {
    let lines = printed.lines().filter(|line| line.contains("Socket errors: ") || line.contains("Non-2xx"));
    let numbers = lines.flat_map(|line| line.split([' ', ',']).filter_map(|word| word.parse::<f64>().ok()));
    numbers.sum()
}

#[cfg(test)]
mod tests {
    use super::{errors, requests};

    #[test]
    fn what_wrk_counts_is_read() {
        let printed = "  20036 requests in 2.00s, 2.98MB read\n  Socket errors: connect 0, read 1, write 0, timeout 2\n  \
                       Non-2xx or 3xx responses: 4\nRequests/sec:  10012.40\n";
        assert_eq!((requests(printed), errors(printed)), (Some(20036.0), 7.0));
        assert_eq!(errors("  20036 requests in 2.00s, 2.98MB read\n"), 0.0);
    }
}
