//! The life of connections as `list --connections` shows it, after a recording of IPVS.

mod balanced;

use std::{thread::sleep, time::Duration};

use anyhow::Result;
use balanced::{Balanced, PATIENCE, VIP_PORT, wait_for};

/// The only connection is in this state, with this timeout just started.
fn assert_fresh(lab: &Balanced, state: &str, timeout: u32) -> Result<()> {
    lab.wait_for_states(&[state])?;
    let row = lab.connections()?.remove(0);
    assert!((timeout - 4..=timeout).contains(&row.seconds), "{state}: {row:?}");
    Ok(())
}

#[test]
fn the_client_closes_first() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    let (server, mut conversation) = lab.connect()?;
    assert_eq!(server, "web2", "the one added last");
    assert_eq!(conversation.say("a")?, "web2:a");
    assert_fresh(&lab, "ESTABLISHED", 900)?;
    let row = lab.connections()?.remove(0);
    assert_eq!((row.service.as_str(), row.backend.as_str()), (VIP_PORT, "192.168.33.112:8080"));
    assert!(row.client.starts_with("192.168.2.10:"), "{row:?}");
    assert_eq!(lab.counts()?, [(0, 0), (1, 0)]);

    conversation.close()?;
    assert_fresh(&lab, "TIME_WAIT", 120)?;
    assert_eq!(lab.counts()?, [(0, 0), (0, 1)]);
    Ok(())
}

#[test]
fn half_closed_by_the_client() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1])?;
    let (_, conversation) = lab.connect()?;
    // Its FIN arrives, and for a while nothing comes back.
    // (A blackhole route would make the server's own stack give up now and then. The switch must not
    // flood either: XDP sees frames for other MAC addresses too.)
    lab.lab.switch.run(["bridge", "link", "set", "dev", "balancer", "flood", "off"])?;
    lab.lab.web1.ip("neigh replace 192.168.33.100 lladdr 02:00:00:00:00:99 dev eth0 nud permanent")?;
    conversation.shut()?;
    assert_fresh(&lab, "CLOSE_WAIT", 60)?;
    assert_eq!(lab.counts()?, [(0, 1)]);
    Ok(())
}

#[test]
fn the_server_closes_first() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1])?;
    let (_, conversation) = lab.connect()?;
    lab.servers[0].close_all();
    assert_fresh(&lab, "FIN_WAIT", 120)?;
    assert_eq!(lab.counts()?, [(0, 1)]);
    conversation.close()?;
    assert_fresh(&lab, "TIME_WAIT", 120)?;
    assert_eq!(lab.counts()?, [(0, 1)]);
    Ok(())
}

#[test]
fn a_reset_closes_at_once() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1])?;
    let (_, conversation) = lab.connect()?;
    conversation.reset()?;
    assert_fresh(&lab, "CLOSE", 10)?;
    assert_eq!(lab.counts()?, [(0, 1)]);
    Ok(())
}

#[test]
fn a_closed_port_refuses_through_the_balancer() -> Result<()> {
    let lab = Balanced::new()?;
    lab.ctl(&format!("service add -t {VIP_PORT} -s rr"))?;
    lab.ctl(&format!("backend add -t {VIP_PORT} -r 192.168.33.111:81 -m"))?;
    let refused = lab.try_connect(PATIENCE)?;
    assert_eq!(refused.err().map(|error| error.kind()), Some(std::io::ErrorKind::ConnectionRefused));
    assert_fresh(&lab, "CLOSE", 10)?;
    assert_eq!(lab.counts()?, [(0, 1)]);
    Ok(())
}

#[test]
fn a_half_open_connection_is_active() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1])?;
    // (A blackhole route would make the server's own stack give up now and then. The switch must not
    // flood either: XDP sees frames for other MAC addresses too.)
    lab.lab.switch.run(["bridge", "link", "set", "dev", "balancer", "flood", "off"])?;
    lab.lab.web1.ip("neigh replace 192.168.33.100 lladdr 02:00:00:00:00:99 dev eth0 nud permanent")?;
    assert!(lab.try_connect(Duration::from_millis(300))?.is_err());
    assert_fresh(&lab, "SYN_RECV", 60)?;
    assert_eq!(lab.counts()?, [(1, 0)]);
    Ok(())
}

#[test]
fn set_changes_timeouts_and_connections_expire_with_no_process_of_ours() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1])?;
    let (_, mut conversation) = lab.connect()?;
    lab.ctl("set 2 2 2")?;
    assert_eq!(lab.ctl("set")?, "Timeout (tcp tcpfin udp): 2 2 2\n");
    // The new value comes with the next packet.
    assert_fresh(&lab, "ESTABLISHED", 900)?;
    conversation.say("a")?;
    let left = lab.connections()?.remove(0).seconds;
    assert!(left <= 2, "{left}");
    // No command of ours runs meanwhile in this lab; lb-ctl's own tests show that none stays after a load.
    sleep(Duration::from_secs(3));
    assert_eq!(lab.connections()?, []);
    assert_eq!(lab.counts()?, [(0, 0)]);

    // What comes now belongs to nobody: the host answers RST.
    conversation.send("b")?;
    wait_for(PATIENCE, true, || Ok(conversation.receive().is_err()))?;
    assert!(lab.lab.balancer.counter("MidStream")? > 0);
    Ok(())
}
