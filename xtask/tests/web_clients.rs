//! Clients as they are: a browser that keeps its connections, and IPv6.

mod through;

use anyhow::{Result, ensure};
use through::{PATIENCE, Path, assert_counted, curl, loaded, service};
use xtask::lab::{VIP, VIP6};

#[test]
fn many_requests_on_one_connection_reach_one_server() -> Result<()> {
    let lab = loaded(Path::Kernel, 1500)?;
    service(&lab.balancer, "-t", 443, 2)?;
    let url = format!("https://{VIP}/");
    let options = ["curl", "-sSk", "--max-time", "30", "-w", "%{num_connects}\n"];
    let answers = lab.client.run(options.into_iter().chain([url.as_str(); 100]))?;
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 200);
    assert_eq!(lines[1], "1", "the first request connects");
    for request in lines.chunks(2) {
        assert_eq!(request[0], "Web2 called.");
    }
    assert!(lines[2..].chunks(2).all(|request| request[1] == "0"), "the others do not: {lines:?}");
    Ok(())
}

#[test]
fn parallel_connections_are_spread_and_none_fails() -> Result<()> {
    let lab = loaded(Path::Redirect, 1500)?;
    service(&lab.balancer, "-t", 80, 2)?;
    let url = format!("http://{VIP}/");
    let command = ["curl", "-sSf", "--max-time", "30"];
    let browsers: Vec<_> = (0..8)
        .map(|_| lab.client.spawn(command.into_iter().chain([url.as_str(); 25])))
        .collect::<Result<_>>()?;
    let mut answers = [0, 0];
    for browser in browsers {
        let log = browser.finish(PATIENCE * 3)?;
        let of = |name| log.lines().filter(|line| *line == name).count();
        let (web1, web2) = (of("Web1 called."), of("Web2 called."));
        ensure!(web1 + web2 == 25 && (web1 == 0 || web2 == 0), "one server for each connection:\n{log}");
        answers[0] += web1;
        answers[1] += web2;
    }
    assert_eq!(answers, [100, 100], "rr takes turns");
    Ok(())
}

#[test]
fn ipv6_takes_turns_over_http_and_https() -> Result<()> {
    for (path, reason) in [(Path::Kernel, "KernelDevice"), (Path::Redirect, "Redirected")] {
        let lab = loaded(path, 1500)?;
        for (port, scheme) in [(80, "http"), (443, "https")] {
            service(&lab.balancer, "-t", port, 2)?;
            for number in 0..6 {
                let expected = if number % 2 == 0 { "Web2 called.\n" } else { "Web1 called.\n" };
                assert_eq!(
                    curl(&lab.client, &format!("{scheme}://[{VIP6}]"))?,
                    expected,
                    "{scheme} {number}"
                );
            }
        }
        assert_counted(&lab.balancer, reason, 20)?;
    }
    Ok(())
}
