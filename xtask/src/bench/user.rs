//! Part three: as a user sees it. wrk and iperf3 through client, balancer and server, with whole connections, large
//! frames and real checksums. Measured is the processor time of all who take part; rates would say how
//! busy the machine is.

mod balancer;

use std::path::Path;

use anyhow::{Context, Result, ensure};

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
            .map(|bench| Row::new(Part::User, case, bench.balancer.name(), unit, Vec::new()))
            .collect();
        for _ in 0..ROUNDS {
            for (bench, row) in benches.iter().zip(&mut of_case) {
                steps.next(&format!("{case}: {}", bench.balancer.name()));
                let value = match number {
                    0 => bench.requests(&[])? * 1e6,
                    1 => bench.requests(&["-H", "Connection: close"])? * 1e6,
                    _ => bench.gigabyte()? * 1e3,
                };
                row.samples.push(value);
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

    /// Seconds of processor time for each of many requests.
    fn requests(&self, options: &[&str]) -> Result<f64> {
        let url = format!("http://{}/", self.balancer.address());
        let wrk = ["wrk", "-t1", "-c16", "-d", SECONDS, &url];
        let before = self.cpu()?;
        let printed = self.lab.client.run(wrk.iter().chain(options))?;
        let spent = self.cpu()? - before;
        ensure!(!printed.contains("Socket errors") && !printed.contains("Non-2xx"), "wrk:\n{printed}");
        let line =
            printed.lines().find(|line| line.contains(" requests in ")).context("wrk counted nothing")?;
        let requests: f64 = line.split_whitespace().next().context("no number")?.parse()?;
        Ok(spent / requests)
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
