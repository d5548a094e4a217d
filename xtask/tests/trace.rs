//! What `lb-ctl trace` says of real requests.

mod through;

use anyhow::{Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use through::{Path, ctl, loaded};
use xtask::lab::VIP;

#[test]
fn a_trace_names_the_backend_of_a_request_and_the_service_of_its_answer() -> Result<()> {
    for path in [Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        ctl(&lab.balancer, &format!("service add -t {VIP}:80 -s rr"))?;
        ctl(&lab.balancer, &format!("backend add -t {VIP}:80 -r 192.168.33.111:80 -m"))?;
        let tool = lab.site.lb_ctl().to_string_lossy().into_owned();
        let words = ["trace", "--client", "192.168.2.10", "--service", "192.168.2.200:80"];
        let trace = lab.balancer.spawn([tool.as_str()].iter().chain(&words))?;
        let limit = Instant::now() + Duration::from_secs(60);
        while !ctl(&lab.balancer, "status")?.contains("trace            on") {
            ensure!(Instant::now() < limit, "the program is never traced:\n{}", trace.log());
            sleep(Duration::from_millis(50));
        }
        lab.client.run(["curl", "-sS", "--max-time", "5", &format!("http://{VIP}")])?;
        let wanted = [
            "> 192.168.2.200:80, to backend 192.168.33.111:80, SYN_RECV: ",
            "> 192.168.2.200:80, to backend 192.168.33.111:80, ESTABLISHED: ",
            "TCP 192.168.33.111:80 > 192.168.2.10:",
            ", from service 192.168.2.200:80, ESTABLISHED: ",
        ];
        let limit = Instant::now() + Duration::from_secs(10);
        while !wanted.iter().all(|words| trace.log().contains(words)) {
            ensure!(Instant::now() < limit, "{path:?}:\n{}", trace.log());
            sleep(Duration::from_millis(50));
        }
        println!("{path:?}:\n{}", trace.log());
    }
    Ok(())
}
