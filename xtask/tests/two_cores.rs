//! Counters that two CPUs change at the same time.

mod through;

use anyhow::{Result, ensure};
use through::{Path, ctl, loaded};
use xtask::lab::VIP;

#[test]
fn counters_equal_the_connections_after_many_at_once() -> Result<()> {
    for (path, option) in [(Path::Redirect, ""), (Path::Kernel, ""), (Path::Redirect, "--fullnat")] {
        let lab = loaded(path, 1500)?;
        // Of the usual half the kernel may come round, and take a port again whose connection the server has closed.
        lab.client.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
        ctl(&lab.balancer, "snat-pool add 192.168.33.100")?;
        ctl(&lab.balancer, &format!("service add -t {VIP}:80 -s wlc {option}"))?;
        for server in ["192.168.33.111", "192.168.33.112"] {
            ctl(&lab.balancer, &format!("backend add -t {VIP}:80 -r {server}:80 -m"))?;
        }
        // Four clients on any CPU, each with many connections at the same time.
        let url = format!("http://{VIP}/?[1-400]");
        let command = format!(
            "for client in 1 2 3 4; do \
               curl -sS --fail --max-time 30 --parallel --parallel-max 50 -H 'Connection: close' \
                 -o /dev/null '{url}' & clients=\"$clients $!\"; \
             done; for client in $clients; do wait $client || exit 1; done"
        );
        lab.client.run(["sh", "-c", &command])?;

        let connections = ctl(&lab.balancer, "list -n --connections")?.lines().count() - 2;
        let mut counted = 0;
        for line in ctl(&lab.balancer, "list -n")?.lines().filter(|line| line.contains("Masq")) {
            let numbers: Vec<usize> =
                line.split_whitespace().rev().take(2).map(|word| word.parse()).collect::<Result<_, _>>()?;
            counted += numbers.iter().sum::<usize>();
        }
        ensure!(connections == 1600, "{path:?}: {connections} connections");
        ensure!(counted == connections, "{path:?}: {counted} counted, {connections} listed");
        let pool = ctl(&lab.balancer, "snat-pool list")?;
        let ports = pool.lines().last().and_then(|line| line.split_whitespace().nth(1));
        let expected = if option.is_empty() { "0" } else { "1600" };
        ensure!(ports == Some(expected), "{path:?} {option}: {pool}");
    }
    Ok(())
}
