//! Who stands between client and server.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    bench::packet::Packet,
    lab::{Lab, Namespace, Process, VIP},
};

const SERVER: &str = "192.168.33.111";
const PORTS: [u16; 2] = [80, 5201];

/// One of those compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Balancer {
    /// The kernel forwards, and balances nothing.
    Routing,
    /// XDP programs that redirect and do nothing else: the limit for one in XDP.
    Redirect,
    Ours,
    /// The same by tc, which does not cut large segments up.
    OursByTc,
    Nftables,
    Haproxy,
    NginxStream,
}

impl Balancer {
    pub const ALL: [Self; 7] = [
        Self::Routing,
        Self::Redirect,
        Self::Ours,
        Self::OursByTc,
        Self::Nftables,
        Self::Haproxy,
        Self::NginxStream,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Routing => "plain routing",
            Self::Redirect => "bare redirect",
            Self::Ours => "ours",
            Self::OursByTc => "ours by tc",
            Self::Nftables => "nftables",
            Self::Haproxy => "HAProxy",
            Self::NginxStream => "nginx stream",
        }
    }

    /// Where clients send to.
    pub fn address(self) -> &'static str {
        if matches!(self, Self::Routing | Self::Redirect) { SERVER } else { VIP }
    }

    /// Puts it into a lab; the processes that belong to it.
    pub fn set_up(self, lab: &Lab, packet: &Packet) -> Result<Vec<Process>> {
        let directory = lab.site.directory();
        if matches!(self, Self::Redirect | Self::Ours | Self::OursByTc) {
            // What takes redirected packets, as a network card would.
            lab.client.run(["ethtool", "-K", "eth0", "gro", "on"])?;
            lab.switch.run(["ethtool", "-K", "balancer", "gro", "on"])?;
        }
        // As whoever runs a proxy or a load generator does: else most of their time goes into the search for a free port.
        // Behind a proxy it is often the client that closes first, whose port rests then.
        for end in [&lab.client, &lab.balancer] {
            end.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
            end.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
        }
        match self {
            Self::Routing => Ok(vec![]),
            Self::Redirect => {
                // Nobody puts other addresses into the frames, so the ends use each other's.
                let [client, server] = [&lab.client, &lab.web1].map(|end| mac(end, "eth0"));
                lab.client.ip(&format!("neighbour replace {VIP} lladdr {} dev eth0", server?))?;
                lab.web1.ip(&format!("neighbour replace 192.168.33.100 lladdr {} dev eth0", client?))?;
                // Nor fills in the checksums that veth leaves open.
                for end in [&lab.client, &lab.web1] {
                    end.run(["ethtool", "-K", "eth0", "tx", "off"])?;
                }
                let ways = [("outside", "inside"), ("inside", "outside")];
                let attach = |(from, to)| {
                    let index = link(&lab.balancer, to)?;
                    let egress = ["--egress", index.split(':').next().context("no index")?];
                    packet.attach(&lab.balancer, from, "redirect", &egress)
                };
                ways.into_iter().map(attach).collect()
            }
            Self::Ours | Self::OursByTc => {
                let hook = if self == Self::Ours { ["--mode", "native"] } else { ["--hook", "tc"] };
                lab.balancer.lb_ctl(["load", "outside", "inside"].iter().chain(&hook))?;
                for port in PORTS {
                    let (service, backend) = (format!("{VIP}:{port}"), format!("{SERVER}:{port}"));
                    lab.balancer.lb_ctl(["service", "add", "-t", &service, "-s", "wlc"])?;
                    lab.balancer.lb_ctl(["backend", "add", "-t", &service, "-r", &backend, "-m"])?;
                }
                Ok(vec![])
            }
            Self::Nftables => {
                let rules = format!(
                    "table ip lb {{ chain in {{ type nat hook prerouting priority dstnat; \
                     ip daddr {VIP} tcp dport {{ 80, 5201 }} dnat to {SERVER}; }}; }}"
                );
                lab.balancer.run(["nft", &rules])?;
                Ok(vec![])
            }
            Self::Haproxy => {
                let file = directory.join("haproxy.cfg");
                let listen = |port| format!("listen p{port}\n  bind :{port}\n  server s {SERVER}:{port}\n");
                let [web, iperf] = PORTS.map(listen);
                let defaults = "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n";
                fs::write(&file, format!("global\n  nbthread 1\n  maxconn 1000\n{defaults}{web}{iperf}"))?;
                let path = file.to_string_lossy();
                listening(lab, lab.balancer.spawn(["haproxy", "-db", "-f", &path])?)
            }
            Self::NginxStream => {
                let file = directory.join("stream.conf");
                let server = |port| format!("server {{ listen {port}; proxy_pass {SERVER}:{port}; }}");
                let [web, iperf] = PORTS.map(server);
                let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
                ensure!(fs::exists(module)?, "{module} is missing; run: apt-get install libnginx-mod-stream");
                let head = format!(
                    "load_module {module};\ndaemon off;\nuser root;\nworker_processes 1;\npid stream.pid;\n"
                );
                fs::write(&file, format!("{head}events {{ }}\nstream {{ {web} {iperf} }}\n"))?;
                let (prefix, path) = (directory.to_string_lossy(), file.to_string_lossy());
                let command = ["nginx", "-p", &prefix, "-c", &path, "-e", "stderr"];
                listening(lab, lab.balancer.spawn(command)?)
            }
        }
    }
}

/// What `ip` says of an interface.
fn link(namespace: &Namespace, device: &str) -> Result<String> {
    namespace.ip(&format!("-o link show {device}"))
}

fn mac(namespace: &Namespace, device: &str) -> Result<String> {
    let said = link(namespace, device)?;
    let mut words = said.split_whitespace().skip_while(|word| *word != "link/ether").skip(1);
    Ok(words.next().context("no MAC address")?.to_owned())
}

/// Waits until a proxy listens.
fn listening(lab: &Lab, mut proxy: Process) -> Result<Vec<Process>> {
    let limit = Instant::now() + Duration::from_secs(10);
    let [port, _] = PORTS;
    while !lab.balancer.inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())? {
        ensure!(proxy.ended()?.is_none() && Instant::now() < limit, "does not listen:\n{}", proxy.log());
        sleep(Duration::from_millis(20));
    }
    Ok(vec![proxy])
}
