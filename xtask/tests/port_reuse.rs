//! A client that uses a port again while the balancer still knows its last connection.

mod balanced;

use std::time::{Duration, Instant};

use anyhow::Result;
use balanced::Balanced;

#[test]
fn a_port_used_again_after_time_wait_is_scheduled_anew_at_once() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    for expected in ["web2", "web1", "web2", "web1"] {
        let start = Instant::now();
        let (server, conversation) = lab.connect_from(35_001)?;
        assert_eq!(server, expected);
        // A SYN that is lost is sent again after one second.
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
        conversation.close()?;
        lab.wait_for_states(&["TIME_WAIT"])?;
    }
    assert_eq!(lab.counts()?, [(0, 1), (0, 0)], "one connection at a time");
    Ok(())
}

#[test]
fn a_port_used_again_after_a_reset_is_scheduled_anew_at_once() -> Result<()> {
    let lab = Balanced::new()?;
    lab.service("rr", &[1, 1])?;
    for expected in ["web2", "web1", "web2"] {
        let start = Instant::now();
        let (server, conversation) = lab.connect_from(35_002)?;
        assert_eq!(server, expected);
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
        conversation.reset()?;
        lab.wait_for_states(&["CLOSE"])?;
    }
    Ok(())
}
