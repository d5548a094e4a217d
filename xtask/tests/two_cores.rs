//! Counters that two CPUs change at the same time.

mod through;

use std::{net::Ipv4Addr, thread};

use anyhow::{Result, ensure};
use through::{PATIENCE, Path, ctl, loaded};
use xtask::lab::{Conversation, Lab, VIP};

/// How many clients there are at the same time, on any CPU.
const CLIENTS: u16 = 16;
/// How many connections each makes, one after the other.
const EACH: u16 = 100;
/// All of them.
const ALL: usize = CLIENTS as usize * EACH as usize;

#[test]
fn counters_equal_the_connections_after_many_at_once() -> Result<()> {
    for (path, option) in [(Path::Redirect, ""), (Path::Kernel, ""), (Path::Redirect, "--fullnat")] {
        let lab = loaded(path, 1500)?;
        ctl(&lab.balancer, "snat-pool add 192.168.33.100")?;
        ctl(&lab.balancer, &format!("service add -t {VIP}:80 -s wlc {option}"))?;
        for server in ["192.168.33.111", "192.168.33.112"] {
            ctl(&lab.balancer, &format!("backend add -t {VIP}:80 -r {server}:80 -m"))?;
        }
        let lab = &lab;
        thread::scope(|scope| {
            let start = |client| scope.spawn(move || requests(lab, client));
            let clients: Vec<_> = (0..CLIENTS).map(start).collect();
            clients.into_iter().try_for_each(|client| client.join().expect("no client panics"))
        })?;

        let connections = ctl(&lab.balancer, "list -n --connections")?.lines().count() - 2;
        let mut counted = 0;
        for line in ctl(&lab.balancer, "list -n")?.lines().filter(|line| line.contains("Masq")) {
            let numbers: Vec<usize> =
                line.split_whitespace().rev().take(2).map(|word| word.parse()).collect::<Result<_, _>>()?;
            counted += numbers.iter().sum::<usize>();
        }
        ensure!(connections == ALL, "{path:?}: {connections} connections");
        ensure!(counted == connections, "{path:?}: {counted} counted, {connections} listed");
        let pool = ctl(&lab.balancer, "snat-pool list")?;
        let ports = pool.lines().last().and_then(|line| line.split_whitespace().nth(1));
        let expected = if option.is_empty() { 0 } else { ALL }.to_string();
        ensure!(ports == Some(&expected), "{path:?} {option}: {pool}");
    }
    Ok(())
}

/// What one client asks for, each time from a port that nobody else uses: the kernel would choose some ports again once
/// the server has closed their connections.
fn requests(lab: &Lab, client: u16) -> Result<()> {
    for number in 0..EACH {
        let port = 10_000 + client * EACH + number;
        let (source, vip) = ((Ipv4Addr::UNSPECIFIED, port), (VIP.parse::<Ipv4Addr>()?, 80));
        let mut conversation = Conversation::open(&lab.client, source, vip, PATIENCE)??;
        let answer = conversation.say("GET / HTTP/1.0\r\n\r\n")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "from port {port}: {answer}");
        // The server closes first.
        while !conversation.receive()?.is_empty() {}
    }
    Ok(())
}
