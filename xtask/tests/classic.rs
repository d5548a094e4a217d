//! The classic job through the real kernel: one address, two web servers, NAT, weighted least connections.

use anyhow::Result;
use xtask::lab::{Lab, VIP};

#[test]
fn two_web_servers_take_turns_over_http_and_https() -> Result<()> {
    let lab = Lab::classic()?;
    lab.balancer.lb_ctl(["load", "outside", "inside"])?;
    for port in [80, 443] {
        let service = format!("{VIP}:{port}");
        lab.balancer.lb_ctl(["service", "add", "-t", &service, "-s", "wlc"])?;
        for server in ["192.168.33.111", "192.168.33.112"] {
            let backend = format!("{server}:{port}");
            lab.balancer.lb_ctl(["backend", "add", "-t", &service, "-r", &backend, "-m", "-w", "1"])?;
        }
    }

    for url in [format!("http://{VIP}"), format!("https://{VIP}")] {
        for number in 0..10 {
            let answer = lab.client.run(["curl", "-sSk", "--max-time", "5", &url])?;
            // The server added last comes first, as in IPVS.
            let expected = if number % 2 == 0 { "Web2 called.\n" } else { "Web1 called.\n" };
            assert_eq!(answer, expected, "{url}, request {number}");
        }
    }
    Ok(())
}
