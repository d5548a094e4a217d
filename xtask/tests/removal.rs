//! Servers and services that go and come back while connections are open, after recordings of IPVS.

mod balanced;

use std::{io::ErrorKind, time::Duration};

use anyhow::Result;
use balanced::{Balanced, PATIENCE, VIP_PORT, wait_for};
use xtask::lab::Conversation;

/// Whether the server stays silent for a second. What it sends later is not lost.
fn is_silent(conversation: &mut Conversation) -> bool {
    conversation
        .within(Duration::from_secs(1))
        .err()
        .is_some_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// How many connections a server is said to have had.
fn had(lab: &Balanced, server: &str) -> Result<Option<String>> {
    let list = lab.ctl("list -n --stats")?;
    let row = list.lines().find(|line| line.contains(server));
    Ok(row.and_then(|row| row.split_whitespace().nth(2)).map(str::to_owned))
}

#[test]
fn a_removed_server_is_silent_and_its_connection_revives_with_it() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    let (server, mut conversation) = lab.connect()?;
    assert_eq!(server, "web2");
    lab.backend("del", 112, "")?;
    lab.wait_for_states(&["ESTABLISHED"])?;
    conversation.send("b")?;
    assert!(is_silent(&mut conversation));
    assert!(lab.lab.balancer.counter("BackendRemoved")? > 0);
    // Others go to the server that is left.
    for _ in 0..2 {
        assert_eq!(lab.connect()?.0, "web1");
    }

    lab.backend("add", 112, "-m")?;
    assert_eq!(lab.counts()?[1], (1, 0), "the connection counts again");
    assert_eq!(had(&lab, "192.168.33.112:")?.as_deref(), Some("1"));
    assert_eq!(conversation.receive()?, "web2:b", "as soon as TCP sends it again");
    assert_eq!(conversation.say("c")?, "web2:c");
    conversation.close()?;
    wait_for(PATIENCE, (0, 1), || Ok(lab.counts()?[1]))
}

#[test]
fn connections_of_a_removed_server_end_with_their_timeout() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    lab.ctl("set 2 2 2")?;
    let (_, mut conversation) = lab.connect()?;
    lab.backend("del", 112, "")?;
    conversation.send("a")?;
    wait_for(PATIENCE, 0, || Ok(lab.connections()?.len()))?;
    // The packets that TCP still repeats belong to nobody then.
    wait_for(Duration::from_secs(10), Some(ErrorKind::ConnectionReset), || {
        Ok(conversation.receive().err().map(|error| error.kind()))
    })
}

#[test]
fn after_clear_the_host_resets_what_was_open() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    let (_, mut conversation) = lab.connect()?;
    lab.ctl("clear")?;
    lab.wait_for_states(&["ESTABLISHED"])?;
    conversation.send("a")?;
    assert_eq!(conversation.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
    let refused = lab.try_connect(PATIENCE)?;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
    Ok(())
}

#[test]
fn a_deleted_service_is_silent_while_there_is_another_and_revives() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    lab.ctl("service add -t 192.168.2.200:99 -s rr")?;
    let (server, mut conversation) = lab.connect()?;
    assert_eq!(server, "web2");
    lab.ctl(&format!("service del -t {VIP_PORT}"))?;
    lab.wait_for_states(&["ESTABLISHED"])?;
    conversation.send("a")?;
    assert!(is_silent(&mut conversation));

    lab.ctl(&format!("service add -t {VIP_PORT} -s wlc"))?;
    lab.backend("add", 112, "-m")?;
    assert_eq!(lab.counts()?, [(1, 0)]);
    assert_eq!(had(&lab, "192.168.33.112:")?.as_deref(), Some("0"), "another service's server, to IPVS");
    assert_eq!(conversation.receive()?, "web2:a");
    Ok(())
}

#[test]
fn a_deleted_service_that_comes_back_with_another_server_does_not_revive() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    lab.ctl("service add -t 192.168.2.200:99 -s rr")?;
    let (_, mut conversation) = lab.connect()?;
    lab.ctl(&format!("service del -t {VIP_PORT}"))?;
    lab.service("rr", &[1])?;
    conversation.send("a")?;
    assert!(is_silent(&mut conversation));
    assert_eq!(lab.counts()?, [(0, 0)]);
    assert_eq!(lab.connect()?.0, "web1");
    Ok(())
}

#[test]
fn weight_zero_takes_no_new_connections_and_keeps_those_it_has() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    let (server, mut conversation) = lab.connect()?;
    assert_eq!(server, "web2");
    lab.backend("edit", 112, "-w 0")?;
    for _ in 0..4 {
        assert_eq!(lab.connect()?.0, "web1");
    }
    assert_eq!(conversation.say("a")?, "web2:a");

    lab.backend("edit", 111, "-w 0")?;
    let refused = lab.try_connect(PATIENCE)?;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
    assert_eq!(conversation.say("b")?, "web2:b");
    lab.backend("edit", 112, "-w 5")?;
    assert_eq!(lab.connect()?.0, "web2");
    Ok(())
}

#[test]
fn an_edit_keeps_all_that_it_does_not_name() -> Result<()> {
    let lab = Balanced::new()?;
    lab.ctl(&format!("service add -t {VIP_PORT} -s sh -b sh-port"))?;
    lab.backend("add", 111, "-m -w 3 -x 100 -y 50")?;
    let (_, mut conversation) = lab.connect()?;
    lab.backend("edit", 111, "-w 7")?;
    assert!(lab.ctl("list -n")?.contains("sh (sh-port)"));
    let thresholds = lab.ctl("list -n --thresholds")?;
    let line = thresholds.lines().find(|line| line.contains("192.168.33.111")).unwrap_or_default();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[2..], ["100", "50", "1", "0"], "{thresholds}");
    assert_eq!(lab.backends()?[0].weight, 7);

    lab.ctl(&format!("service edit -t {VIP_PORT} -s rr"))?;
    assert_eq!((lab.backends()?[0].weight, lab.counts()?), (7, vec![(1, 0)]));
    assert_eq!(conversation.say("a")?, "web1:a");
    Ok(())
}
