//! Who carries packets from the generator to the sink.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Send, Wire};
use crate::bench::packet::Packet;

/// Where clients send to.
pub const VIP: &str = "10.9.0.1:80";
const BACKEND: &str = "10.9.1.11:80";
/// Flows that the limit for forwarders that remember has memory for.
const REMEMBERED: u32 = 1 << 16;

/// One of those compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// An XDP program that redirects and does nothing else: the limit for a forwarder.
    Redirect,
    /// The same, once it has read as much memory as a connection takes: the limit for one that knows its connections.
    Remembering,
    Ours,
    /// The kernel's DNAT with connection tracking.
    Nftables,
    /// The kernel forwards, and balances nothing.
    Routing,
    Ipvs,
}

impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Self::Redirect => "bare redirect",
            Self::Remembering => "redirect, remembering",
            Self::Ours => "ours",
            Self::Nftables => "nftables",
            Self::Routing => "plain routing",
            Self::Ipvs => "IPVS",
        }
    }

    /// A wire of its own, and it in the middle.
    pub fn set_up(self, packet: &Packet, lb_ctl: &Path) -> Result<Wire> {
        let mut wire = Wire::new(packet, lb_ctl)?;
        let (balancer, sink) = (wire.balancer.clone(), wire.sink.clone());
        if matches!(self, Self::Redirect | Self::Remembering | Self::Ours) {
            wire.attach(&sink, "sink0", "sink", &[])?;
        } else {
            // The kernel takes what was redirected into a veth only so.
            balancer.run(["ethtool", "-K", "lan0", "gro", "on"])?;
        }
        match self {
            Self::Redirect | Self::Remembering => {
                let link = balancer.ip("-o link show lan1")?;
                let index = link.split(':').next().context("no index of lan1")?.trim();
                let program = if self == Self::Redirect { "redirect" } else { "remembering_redirect" };
                let flows = REMEMBERED.to_string();
                wire.attach(&balancer, "lan0", program, &["--egress", index, "--flows", &flows])?;
            }
            Self::Ours => {
                balancer.lb_ctl(["load", "lan0", "lan1", "--mode", "native"])?;
                balancer.lb_ctl(["service", "add", "-t", VIP, "-s", "wlc"])?;
                balancer.lb_ctl(["backend", "add", "-t", VIP, "-r", BACKEND, "-m"])?;
            }
            Self::Nftables => {
                let rules = format!(
                    "table ip lb {{ chain in {{ type nat hook prerouting priority dstnat; \
                     ip daddr 10.9.0.1 tcp dport 80 dnat to {BACKEND}; }}; }}"
                );
                balancer.run(["nft", &rules])?;
                // Only one side's packets come by here.
                balancer.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", "1")?;
            }
            Self::Ipvs => {
                balancer.run(["ipvsadm", "-A", "-t", VIP, "-s", "wlc"])?;
                balancer.run(["ipvsadm", "-a", "-t", VIP, "-r", BACKEND, "-m"])?;
            }
            Self::Routing => {}
        }
        Ok(wire)
    }

    /// Whether it can be sent so many.
    pub fn takes(self, flows: u32) -> bool {
        self != Self::Remembering || flows <= REMEMBERED
    }

    /// What it is sent, but for flows and numbers.
    pub fn send(self) -> Send {
        let to = if self == Self::Routing { BACKEND } else { VIP };
        Send { to, flags: "ack", flows: 0, first: 0, count: 0 }
    }

    /// The packets of a client that make a connection stand.
    pub fn opening(self) -> Vec<&'static str> {
        match self {
            Self::Redirect | Self::Remembering | Self::Routing => vec![],
            // Connection tracking wants a server's answer after a SYN, but picks up what it sees in the middle.
            Self::Nftables => vec!["ack"],
            Self::Ours | Self::Ipvs => vec!["syn", "ack"],
        }
    }

    /// How many connections it holds, if it holds any.
    pub fn connections(self, wire: &Wire) -> Result<Option<u64>> {
        let listed = match self {
            Self::Redirect | Self::Remembering | Self::Routing => return Ok(None),
            Self::Nftables => {
                return Ok(Some(
                    wire.balancer
                        .run(["cat", "/proc/sys/net/netfilter/nf_conntrack_count"])?
                        .trim()
                        .parse()?,
                ));
            }
            Self::Ours => wire.balancer.lb_ctl(["list", "-n"])?,
            Self::Ipvs => wire.balancer.run(["ipvsadm", "-Ln"])?,
        };
        // Active and inactive are the last two columns.
        let line = listed.lines().find(|line| line.contains(BACKEND)).context("the backend is not listed")?;
        line.split_whitespace()
            .rev()
            .take(2)
            .map(|word| Ok(word.parse::<u64>()?))
            .sum::<Result<u64>>()
            .map(Some)
    }
}
