//! The lab: a client, the balancer, a switch and two web servers, each in a network namespace.
//!
//! ```text
//! client 192.168.2.10 ── outside 192.168.2.200 balancer 192.168.33.100 inside ── switch ─┬─ web1 .111
//!        fd00:2::10              fd00:2::200            fd00:33::100                      └─ web2 .112
//! ```
//!
//! The web servers' default gateway is the balancer, and so is the client's. Every device is a plain
//! veth with the kernel's defaults: the balancer has to work without `ethtool`.

mod conversation;
mod datagrams;
mod echo;
mod ftp;
mod listing;
mod namespace;
mod nginx;
mod process;
mod protected;
mod site;

use std::{env, fs, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};

pub use conversation::Conversation;
pub use datagrams::{UdpEcho, udp};
pub use echo::Echo;
pub use ftp::Ftp;
pub use listing::{Backend, Connection};
pub use namespace::Namespace;
pub use nginx::Nginx;
pub use process::Process;
pub use protected::protected;
pub use site::{Site, end_all};

/// The address that clients speak to.
pub const VIP: &str = "192.168.2.200";
/// The same in IPv6.
pub const VIP6: &str = "fd00:2::200";

/// The classic lab, up and running. Dropping it removes every trace.
pub struct Lab {
    /// `eth0` 192.168.2.10, fd00:2::10.
    pub client: Namespace,
    /// `outside` 192.168.2.200, fd00:2::200; `inside` 192.168.33.100, fd00:33::100. Forwards.
    pub balancer: Namespace,
    /// The bridge `br0`, with the ports `balancer`, `web1` and `web2`.
    pub switch: Namespace,
    /// `eth0` 192.168.33.111, fd00:33::111.
    pub web1: Namespace,
    /// `eth0` 192.168.33.112, fd00:33::112.
    pub web2: Namespace,
    /// nginx in `web1` and in `web2`; nothing in a lab that is only a network.
    pub servers: Vec<Nginx>,
    /// The ground it stands on: more namespaces can be raised beside these.
    pub site: Arc<Site>,
}

impl Lab {
    /// The lab with the `lb-ctl` that `cargo xtask test` built. No program is loaded yet.
    pub fn classic() -> Result<Self> {
        let lb_ctl = env::var_os("LB_CTL").context("LB_CTL is not set; run: cargo xtask test")?;
        Self::raise(lb_ctl.into())
    }

    /// The lab with this `lb-ctl`.
    pub fn raise(lb_ctl: PathBuf) -> Result<Self> {
        Self::network(lb_ctl)?.with_servers()
    }

    /// The lab without nginx, for tests that bring servers of their own.
    pub fn network(lb_ctl: PathBuf) -> Result<Self> {
        Self::over(lb_ctl, |client, balancer, switch| {
            client.connect("eth0", balancer, "outside")?;
            balancer.connect("inside", switch, "balancer")
        })
    }

    /// nginx in both servers.
    pub fn with_servers(mut self) -> Result<Self> {
        self.servers =
            vec![Nginx::start(&self.web1, "Web1 called.")?, Nginx::start(&self.web2, "Web2 called.")?];
        Ok(self)
    }

    /// The network over other devices than veth: `lay` makes `eth0` of the client, `outside` and `inside` of the
    /// balancer and `balancer` of the switch, all up, of the namespaces in this order.
    pub fn over(
        lb_ctl: PathBuf,
        lay: impl FnOnce(&Namespace, &Namespace, &Namespace) -> Result<()>,
    ) -> Result<Self> {
        let site = Site::new(lb_ctl)?;
        let client = site.namespace("client")?;
        let balancer = site.namespace("lb")?;
        let switch = site.namespace("switch")?;
        let web1 = site.namespace("web1")?;
        let web2 = site.namespace("web2")?;

        lay(&client, &balancer, &switch)?;
        web1.connect("eth0", &switch, "web1")?;
        web2.connect("eth0", &switch, "web2")?;
        switch.bridge("br0", &["balancer", "web1", "web2"])?;

        client.addresses("eth0", &["192.168.2.10/24", "fd00:2::10/64"])?;
        balancer.addresses("outside", &["192.168.2.200/24", "fd00:2::200/64"])?;
        balancer.addresses("inside", &["192.168.33.100/24", "fd00:33::100/64"])?;
        web1.addresses("eth0", &["192.168.33.111/24", "fd00:33::111/64"])?;
        web2.addresses("eth0", &["192.168.33.112/24", "fd00:33::112/64"])?;

        client.gateways(&[VIP, VIP6])?;
        web1.gateways(&["192.168.33.100", "fd00:33::100"])?;
        web2.gateways(&["192.168.33.100", "fd00:33::100"])?;
        balancer.forward()?;

        Ok(Self { client, balancer, switch, web1, web2, servers: Vec::new(), site })
    }

    /// Leaves everything running when this process ends; `cargo xtask run --end` ends it then.
    pub fn keep(self) -> Result<()> {
        self.site.keep()?;
        std::mem::forget(self);
        Ok(())
    }
}

/// What packets that XDP sends towards a veth with GRO at its far end are counted as: before Linux 6.3 the kernel
/// does not tell of the GRO, and so forwards them.
pub fn sent_to_veth() -> Result<&'static str> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next(), numbers.next());
    Ok(if version < (Some(6), Some(3)) { "KernelDevice" } else { "Redirected" })
}
