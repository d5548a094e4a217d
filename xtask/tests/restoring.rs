//! Traffic goes on through restores and applies: nothing is refused, lost or held up, and a file that is wrong changes
//! nothing.

mod through;

use std::{fs, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use through::{Path, ctl, eventually, loaded};
use xtask::lab::{Lab, VIP};

const STREAM_SECONDS: u32 = 8;
/// Requests of each kind, and how many a second.
const REQUESTS: &str = "300";
const RATE: &str = "50/s";

/// A director with two configurations: the second has another scheduler, weights, thresholds, timeouts and services, and
/// the same servers for the stream and the requests.
struct Director {
    lab: Lab,
    /// As `save` writes it.
    one: String,
    /// As an admin writes it.
    other: String,
    /// With a wrong value in its line 5, column 13.
    wrong: String,
}

impl Director {
    fn new() -> Result<Self> {
        let lab = loaded(Path::Redirect, 1500)?;
        for port in [80, 443, 5201] {
            ctl(&lab.balancer, &format!("service add -t {VIP}:{port} -s wrr"))?;
            ctl(&lab.balancer, &format!("backend add -t {VIP}:{port} -r 192.168.33.111 -m"))?;
        }
        ctl(&lab.balancer, &format!("backend add -t {VIP}:80 -r 192.168.33.112 -m"))?;
        let path = |name: &str| lab.site.directory().join(name).display().to_string();
        let (one, other, wrong) = (path("one.toml"), path("other.toml"), path("wrong.toml"));
        ctl(&lab.balancer, &format!("save {one}"))?;
        ctl(&lab.balancer, &format!("backend edit -t {VIP}:80 -r 192.168.33.112 -w 3 -x 1000"))?;
        ctl(&lab.balancer, &format!("service edit -t {VIP}:80 -s mh"))?;
        ctl(&lab.balancer, &format!("service del -t {VIP}:443"))?;
        ctl(&lab.balancer, &format!("service add -u {VIP}:53 -s sh"))?;
        ctl(&lab.balancer, "set 800 60 60")?;
        ctl(&lab.balancer, "sysctl expire_nodest_conn=1")?;
        fs::write(&other, ctl(&lab.balancer, "export")?)?;
        fs::write(
            &wrong,
            format!("[timeouts]\ntcp = 7\n[[service]]\ntcp = \"{VIP}:81\"\nscheduler = \"none\"\n"),
        )?;
        Ok(Self { lab, one, other, wrong })
    }

    /// From one configuration to the other, and something that must change nothing.
    fn change(&self, number: usize) -> Result<()> {
        let command = match number % 2 {
            0 => format!("restore {}", self.one),
            _ => format!("apply {}", self.other),
        };
        ctl(&self.lab.balancer, &command)?;
        let before = ctl(&self.lab.balancer, "export")?;
        let refused = self.lab.balancer.lb_ctl_output(["apply", &self.wrong])?;
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(2) && error.contains("wrong.toml:5:13: "), "{error}");
        ensure!(ctl(&self.lab.balancer, "export")? == before, "a wrong file has changed something");
        Ok(())
    }

    /// The connections of the stream: client, backend, state.
    fn streams(&self) -> Result<Vec<(String, String, String)>> {
        let rows = self.lab.balancer.connections()?.into_iter();
        let ours = rows.filter(|row| row.service.ends_with(":5201"));
        let mut rows: Vec<_> = ours.map(|row| (row.client, row.backend, row.state)).collect();
        rows.sort();
        Ok(rows)
    }
}

#[test]
fn a_stream_and_requests_go_on_through_restores_and_applies() -> Result<()> {
    let director = Director::new()?;
    let Director { lab, .. } = &director;
    let _server = lab.web1.spawn(["iperf3", "-s"])?;
    eventually(|| lab.web1.run(["iperf3", "-c", "127.0.0.1", "-n", "1K"]))?;
    let stream =
        lab.client.spawn(["iperf3", "-c", VIP, "-t", &STREAM_SECONDS.to_string(), "-b", "20M", "-J"])?;
    eventually(|| {
        let streams = director.streams()?;
        ensure!(
            streams.len() == 2 && streams.iter().all(|(.., state)| state == "ESTABLISHED"),
            "{streams:?}"
        );
        Ok(())
    })?;
    let before = director.streams()?;

    let url = format!("http://{VIP}/?[1-{REQUESTS}]");
    let curl = ["curl", "-sS", "--fail", "--max-time", "5", "--rate", RATE, "-w", "%{num_connects}\n", &url];
    let each_its_own = curl.iter().copied().chain(["-H", "Connection: close"]);
    let mut changes = 0;
    let (closing, kept) = std::thread::scope(|scope| -> Result<(String, String)> {
        let closing = scope.spawn(|| lab.client.run(each_its_own));
        let kept = scope.spawn(|| lab.client.run(curl));
        while !(closing.is_finished() && kept.is_finished()) {
            director.change(changes)?;
            changes += 1;
            sleep(Duration::from_millis(100));
        }
        let join = |answers: std::thread::ScopedJoinHandle<Result<String>>| {
            answers.join().expect("a client's thread")
        };
        Ok((join(closing)?, join(kept)?))
    })?;
    ensure!(changes >= 6, "only {changes} changes fell into the requests");
    println!("{changes} restores and applies");
    for answers in [&closing, &kept] {
        ensure!(
            answers.matches(" called.").count().to_string() == REQUESTS,
            "not every request was answered"
        );
    }
    let connects: u32 = kept.lines().filter_map(|line| line.parse::<u32>().ok()).sum();
    ensure!(connects == 1, "the connection that is kept alive was opened {connects} times");
    let streams = director.streams()?;
    ensure!(streams == before, "of {before:?} there is {streams:?}");

    let report = stream.finish(Duration::from_secs(u64::from(STREAM_SECONDS) + 20))?;
    let report: serde_json::Value = serde_json::from_str(&report).context("iperf3's report")?;
    ensure!(report["error"].is_null(), "{}", report["error"]);
    let intervals = report["intervals"].as_array().context("no intervals")?;
    let bytes: Vec<_> = intervals.iter().filter_map(|interval| interval["sum"]["bytes"].as_u64()).collect();
    println!("bytes each second: {bytes:?}");
    ensure!(bytes.len() >= STREAM_SECONDS as usize && bytes.iter().all(|bytes| *bytes > 0), "{bytes:?}");
    for reason in ["NoBackend", "BackendRemoved", "MidStream"] {
        let count = lab.balancer.counter(reason)?;
        ensure!(count == 0, "{count} packets were {reason}");
    }
    Ok(())
}
