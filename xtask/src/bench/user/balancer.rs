//! Who stands between client and server.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::lab::{Lab, Process, VIP};

const SERVER: &str = "192.168.33.111";
const PORTS: [u16; 2] = [80, 5201];

/// One of those compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Balancer {
    /// The kernel forwards, and balances nothing.
    Routing,
    Ours,
    /// The same by tc, which does not cut large segments up.
    OursByTc,
    Nftables,
    Haproxy,
    NginxStream,
}

impl Balancer {
    pub const ALL: [Self; 6] =
        [Self::Routing, Self::Ours, Self::OursByTc, Self::Nftables, Self::Haproxy, Self::NginxStream];

    pub fn name(self) -> &'static str {
        match self {
            Self::Routing => "plain routing",
            Self::Ours => "ours",
            Self::OursByTc => "ours by tc",
            Self::Nftables => "nftables",
            Self::Haproxy => "HAProxy",
            Self::NginxStream => "nginx stream",
        }
    }

    /// Where clients send to.
    pub fn address(self) -> &'static str {
        if self == Self::Routing { SERVER } else { VIP }
    }

    /// Puts it into a lab; the processes that work for it.
    pub fn set_up(self, lab: &Lab) -> Result<Vec<Process>> {
        let directory = lab.site.directory();
        match self {
            Self::Routing => Ok(vec![]),
            Self::Ours | Self::OursByTc => {
                let hook = if self == Self::Ours { ["--mode", "native"] } else { ["--hook", "tc"] };
                // What takes redirected packets, as a network card would.
                lab.client.run(["ethtool", "-K", "eth0", "gro", "on"])?;
                lab.switch.run(["ethtool", "-K", "balancer", "gro", "on"])?;
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
