//! The lab itself: it stands, labs do not disturb each other, and nothing is left of them.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use xtask::lab::{Lab, Site};

#[test]
fn the_balancer_routes_between_client_and_servers_without_a_program() -> Result<()> {
    let lab = Lab::classic()?;
    for (url, answer) in [
        ("http://192.168.33.111", "Web1 called.\n"),
        ("https://192.168.33.112", "Web2 called.\n"),
        ("http://[fd00:33::111]", "Web1 called.\n"),
        ("https://[fd00:33::112]", "Web2 called.\n"),
    ] {
        assert_eq!(lab.client.run(["curl", "-sSk", "--max-time", "5", url])?, answer, "{url}");
    }
    Ok(())
}

#[test]
fn two_labs_stand_side_by_side_and_leave_nothing() -> Result<()> {
    let (first, second) = (Lab::classic()?, Lab::classic()?);
    assert_ne!(first.client.name(), second.client.name());
    let traces = [&first, &second].map(|lab| {
        let namespaces = [&lab.client, &lab.balancer, &lab.switch, &lab.web1, &lab.web2];
        let paths = namespaces.map(|namespace| Path::new("/run/netns").join(namespace.name()));
        let processes = lab.servers.iter().map(|server| Path::new("/proc").join(server.id().to_string()));
        let directory = lab.site.directory().to_owned();
        paths.into_iter().chain(processes).chain([directory]).collect::<Vec<_>>()
    });
    assert!(traces.iter().flatten().all(|path| path.exists()));
    drop(first);
    assert!(traces[0].iter().all(|path| !path.exists()), "{:?}", traces[0]);
    assert!(traces[1].iter().all(|path| path.exists()), "{:?}", traces[1]);
    drop(second);
    assert!(traces[1].iter().all(|path| !path.exists()), "{:?}", traces[1]);
    Ok(())
}

#[test]
fn a_process_is_followed_and_ended_with_its_children() -> Result<()> {
    let site = Site::new("/bin/true".into())?;
    let namespace = site.namespace("alone")?;
    let said = namespace.spawn(["sh", "-c", "echo hello; echo there >&2"])?.finish(Duration::from_secs(5))?;
    assert_eq!(said, "hello\nthere\n");

    let listener = namespace.inside(|| TcpListener::bind("127.0.0.1:7"))??;
    assert!(TcpListener::bind("127.0.0.1:7").is_ok(), "a socket made inside must not be outside");
    drop(listener);

    let shell = namespace.spawn(["sh", "-c", "sleep 1000 & echo $!; wait"])?;
    assert!(within_two_seconds(|| shell.log().ends_with('\n')), "the shell says which its child is");
    let child = shell.log().trim().to_owned();
    assert!(lives(&child));
    drop(shell);
    assert!(within_two_seconds(|| !lives(&child)), "a child of a dropped process");
    Ok(())
}

fn within_two_seconds(condition: impl Fn() -> bool) -> bool {
    let limit = Instant::now() + Duration::from_secs(2);
    while !condition() {
        if Instant::now() > limit {
            return false;
        }
        sleep(Duration::from_millis(10));
    }
    true
}

/// An orphan that ended stays as a zombie until init takes notice of it.
fn lives(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}
