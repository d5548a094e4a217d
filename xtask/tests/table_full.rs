//! A connection table that is full.

mod balanced;

use std::time::Duration;

use anyhow::Result;
use balanced::{Balanced, PATIENCE, wait_for};

#[test]
fn a_full_table_refuses_new_connections_and_leaves_the_others_alone() -> Result<()> {
    let lab = Balanced::with_table(16)?;
    lab.service("rr", &[1, 1])?;
    let mut open = (0..16).map(|_| lab.connect()).collect::<Result<Vec<_>>>()?;
    assert_eq!(lab.counts()?, [(8, 0), (8, 0)]);
    assert_eq!(lab.lab.balancer.counter("TableFull")?, 0);

    assert!(lab.try_connect(Duration::from_millis(500))?.is_err());
    assert!(lab.lab.balancer.counter("TableFull")? > 0);
    assert_eq!(lab.connections()?.len(), 16);
    assert_eq!(lab.counts()?, [(8, 0), (8, 0)], "what was refused counts nowhere");
    for (server, conversation) in &mut open {
        assert_eq!(conversation.say("a")?, format!("{server}:a"));
    }

    // One ends: room for one.
    lab.ctl("set 2 2 2")?;
    let (_, first) = open.remove(0);
    first.reset()?;
    wait_for(Duration::from_secs(15), 15, || Ok(lab.connections()?.len()))?;
    let (_, last) = lab.connect()?;
    open.push((String::new(), last));
    assert!(lab.try_connect(Duration::from_millis(300))?.is_err());

    // All end, and the table fills up again to the last place.
    for (_, conversation) in &mut open {
        conversation.say("b")?;
    }
    wait_for(Duration::from_secs(10), 0, || Ok(lab.connections()?.len()))?;
    // The sweep comes by four times a second.
    wait_for(PATIENCE, vec![(0, 0), (0, 0)], || lab.counts())?;
    lab.ctl("set 900 120 300")?;
    drop(open);
    let again = (0..16).map(|_| lab.connect()).collect::<Result<Vec<_>>>()?;
    assert_eq!(lab.counts()?, [(8, 0), (8, 0)]);
    wait_for(PATIENCE, 16, || Ok(lab.connections()?.len()))?;
    drop(again);
    Ok(())
}
