//! What every kind of device is tried with, in the classic lab: short and long requests and datagrams of both
//! families, by turns to both servers.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Namespace, UdpEcho, VIP, VIP6, udp};

/// Bytes of the long answer, and of the long request: many segments, and quick for an emulator.
const LONG: usize = 200_000;
/// Where datagrams are sent back.
const ECHO: u16 = 7000;
/// How long a datagram may take on the way; the first one of a neighbour is often lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// The services of both families, and what answers behind them.
pub struct Traffic<'a> {
    lab: &'a Lab,
    echoes: [UdpEcho; 2],
}

impl<'a> Traffic<'a> {
    /// Adds the services to a program that is loaded, and starts what nginx does not do.
    pub fn start(lab: &'a Lab) -> Result<Self> {
        for (vip, network) in [(VIP.to_owned(), "192.168.33."), (format!("[{VIP6}]"), "fd00:33::")] {
            for (protocol, port) in [("-t", 80), ("-u", ECHO)] {
                ctl(&lab.balancer, &format!("service add {protocol} {vip}:{port} -s rr"))?;
                for host in [111, 112] {
                    let server = format!("{network}{host}");
                    let server = if vip.starts_with('[') { format!("[{server}]") } else { server };
                    let backend = format!("backend add {protocol} {vip}:{port} -r {server}:{port} -m");
                    ctl(&lab.balancer, &backend)?;
                }
            }
        }
        for server in [&lab.web1, &lab.web2] {
            let files = lab.site.directory().join(format!("nginx-{}/files", server.name()));
            fs::create_dir_all(&files)?;
            fs::write(files.join("long"), vec![b'x'; LONG])?;
        }
        fs::write(lab.site.directory().join("body"), vec![b'x'; LONG])?;
        let echoes = [UdpEcho::start(&lab.web1, ECHO)?, UdpEcho::start(&lab.web2, ECHO)?];
        Ok(Self { lab, echoes })
    }

    /// Sends all of it, and fails unless all comes back.
    pub fn flows(&self) -> Result<()> {
        let client = &self.lab.client;
        for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
            let url = format!("http://{vip}/");
            let mut last = String::new();
            for number in 0..4 {
                let answer = curl(client, &[&url])?;
                ensure!(["Web1 called.\n", "Web2 called.\n"].contains(&answer.as_str()), "{url}: {answer}");
                ensure!(answer != last, "{url}: request {number} went to the same server as the last");
                last = answer;
            }
            let answer = curl(client, &[&format!("{url}files/long")])?;
            ensure!(answer.len() == LONG, "{} bytes of {LONG} from {url}", answer.len());
            let body = format!("@{}", self.lab.site.directory().join("body").display());
            let answer = curl(client, &["--data-binary", &body, &url])?;
            ensure!(answer.ends_with("called.\n"), "{url} took {LONG} bytes and answered {answer}");
            for length in [1, 1400] {
                echo(client, &vip, length).with_context(|| format!("{length} bytes to {vip}"))?;
            }
        }
        Ok(())
    }

    /// Datagrams that came to the servers.
    pub fn received(&self) -> u64 {
        self.echoes.iter().map(UdpEcho::received).sum()
    }

    /// Fails unless the balancer has counted about as many packets as [`Self::flows`] makes, or half of them where
    /// one direction goes another way, under each of these reasons. Of `absent` it may have counted a few: the first
    /// packet to a neighbour and what finds out whether it is still there.
    pub fn counted(&self, reasons: &[&str], absent: &[&str]) -> Result<()> {
        let balancer = &self.lab.balancer;
        let list = ctl(balancer, "counters")?;
        for reason in reasons {
            ensure!(balancer.counter(reason)? > 60, "too few packets are {reason}:\n{list}");
        }
        for reason in absent {
            ensure!(balancer.counter(reason)? < 40, "too many packets are {reason}:\n{list}");
        }
        Ok(())
    }
}

/// Runs `lb-ctl`; the words are separated by blanks.
pub fn ctl(balancer: &Namespace, words: &str) -> Result<String> {
    balancer.lb_ctl(words.split_whitespace())
}

fn curl(client: &Namespace, arguments: &[&str]) -> Result<String> {
    client.run([&["curl", "-sS", "--max-time", "30"], arguments].concat())
}

fn echo(client: &Namespace, vip: &str, length: usize) -> Result<()> {
    let socket = udp(client, &format!("{vip}:{ECHO}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let sent = vec![b'x'; length];
    let mut data = [0; 2048];
    for _ in 0..3 {
        socket.send(&sent)?;
        if let Ok(received) = socket.recv(&mut data) {
            ensure!(data[..received] == sent, "{received} bytes came back, not those that were sent");
            return Ok(());
        }
    }
    anyhow::bail!("nothing came back")
}
