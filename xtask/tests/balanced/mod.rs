//! The classic lab with echo servers on port 8080 and the program loaded: what IPVS was recorded with.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fmt::Debug,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use xtask::lab::{Backend, Connection, Conversation, Echo, Lab, Namespace};

/// Where clients connect to.
pub const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 2, 200), 8080);
/// The same, for `lb-ctl`.
pub const VIP_PORT: &str = "192.168.2.200:8080";
/// The client's own address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 10);
/// How long an answer may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Dropping it removes every trace.
pub struct Balanced {
    /// In `web1`, `web2` and, where there is one, `web3`.
    pub servers: Vec<Echo>,
    /// 192.168.33.113, where asked for.
    pub web3: Option<Namespace>,
    pub lab: Lab,
}

impl Balanced {
    /// Two servers, a table of 4,096 connections.
    pub fn new() -> Result<Self> {
        Self::with_table(4096)
    }

    /// Two servers, a table of that many connections.
    pub fn with_table(connections: u32) -> Result<Self> {
        let lab = Lab::classic()?;
        // Whoever closes first may use the port again at once.
        lab.client.sysctl("net/ipv4/tcp_max_tw_buckets", "0")?;
        let servers = vec![Echo::start(&lab.web1, "web1", 8080)?, Echo::start(&lab.web2, "web2", 8080)?];
        let balanced = Self { servers, web3: None, lab };
        balanced.ctl(&format!("load outside inside --max-connections {connections}"))?;
        Ok(balanced)
    }

    /// A third server beside the two.
    pub fn add_web3(&mut self) -> Result<()> {
        let web3 = self.lab.site.namespace("web3")?;
        web3.connect("eth0", &self.lab.switch, "web3")?;
        self.lab.switch.ip("link set web3 master br0")?;
        web3.addresses("eth0", &["192.168.33.113/24"])?;
        web3.gateways(&["192.168.33.100"])?;
        self.servers.push(Echo::start(&web3, "web3", 8080)?);
        self.web3 = Some(web3);
        Ok(())
    }

    /// Runs `lb-ctl`; the words are separated by blanks.
    pub fn ctl(&self, words: &str) -> Result<String> {
        self.lab.balancer.lb_ctl(words.split_whitespace())
    }

    /// Adds the TCP service with these weights, `web1` first.
    pub fn service(&self, scheduler: &str, weights: &[u32]) -> Result<()> {
        self.ctl(&format!("service add -t {VIP_PORT} -s {scheduler}"))?;
        for (server, weight) in (111..).zip(weights) {
            self.backend("add", server, &format!("-m -w {weight}"))?;
        }
        Ok(())
    }

    /// `lb-ctl backend ACTION` for the server whose address ends in this number.
    pub fn backend(&self, action: &str, server: u32, options: &str) -> Result<String> {
        self.ctl(&format!("backend {action} -t {VIP_PORT} -r 192.168.33.{server}:8080 {options}"))
    }

    /// Connects from any port.
    pub fn try_connect(&self, patience: Duration) -> Result<io::Result<Conversation>> {
        Conversation::open(&self.lab.client, SocketAddrV4::new(CLIENT, 0), SERVICE, patience)
    }

    /// Connects from a port, 0 for any; which server it is, and the connection.
    pub fn connect_from(&self, port: u16) -> Result<(String, Conversation)> {
        let source = SocketAddrV4::new(CLIENT, port);
        let mut conversation = Conversation::open(&self.lab.client, source, SERVICE, PATIENCE)??;
        Ok((conversation.receive()?, conversation))
    }

    /// Connects from any port; which server it is, and the connection.
    pub fn connect(&self) -> Result<(String, Conversation)> {
        self.connect_from(0)
    }

    /// The connection table.
    pub fn connections(&self) -> Result<Vec<Connection>> {
        self.lab.balancer.connections()
    }

    /// The lines of the backends.
    pub fn backends(&self) -> Result<Vec<Backend>> {
        self.lab.balancer.backends()
    }

    /// ActiveConn and InActConn of each backend.
    pub fn counts(&self) -> Result<Vec<(u64, u64)>> {
        Ok(self.backends()?.iter().map(|backend| (backend.active, backend.inactive)).collect())
    }

    /// Waits until the connections are in these states, which they are listed by in any order.
    pub fn wait_for_states(&self, expected: &[&str]) -> Result<()> {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        wait_for(PATIENCE, expected, || {
            let mut states: Vec<_> = self.connections()?.into_iter().map(|row| row.state).collect();
            states.sort_unstable();
            Ok(states)
        })
    }
}

/// Waits until something is what it should be: a packet may be on its way still.
pub fn wait_for<T, E>(within: Duration, expected: E, mut look: impl FnMut() -> Result<T>) -> Result<()>
where
    T: Debug + PartialEq<E>,
    E: Debug,
{
    let limit = Instant::now() + within;
    loop {
        let now = look()?;
        if now == expected {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "after {within:?} it is {now:?} and not {expected:?}");
        sleep(Duration::from_millis(20));
    }
}
