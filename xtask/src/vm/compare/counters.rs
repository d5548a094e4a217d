//! What is counted of a server that is removed and added again.

use std::{thread::sleep, time::Duration};

use anyhow::{Context, Result};

use super::{
    Script,
    lives::udp,
    side::{SERVER_PORT, Service, Side},
    transcript::Transcript,
};

/// One script for both ways to come back.
pub fn scripts() -> Vec<Script> {
    vec![Script::new("counters: a server that comes back", comes_back)]
}

fn comes_back(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = Service { port: side.next_port() };
    let selector = service.to_string().replace("-t", "-u");
    let server = format!("{selector} -r 192.168.33.111:{SERVER_PORT}");
    let add = |weight: &str| side.set(&format!("-a {server} -m{weight}"));
    let counted = |transcript: &mut Transcript, what: &str, datagrams: u16| {
        (0..datagrams).try_for_each(|_| ask(side, &service))?;
        // Counters are brought up to date every two seconds.
        sleep(Duration::from_secs(3));
        transcript.say(what);
        transcript.say(side.admin("-Ln --stats")?);
        transcript.say(side.admin("-Ln")?);
        anyhow::Ok(())
    };
    side.set(&format!("-A {selector} -s rr"))?;
    add("")?;
    counted(transcript, "added", 3)?;
    side.set(&format!("-d {server}"))?;
    counted(transcript, "removed", 0)?;
    add("")?;
    counted(transcript, "added again", 0)?;
    counted(transcript, "and asked", 1)?;
    side.set(&format!("-E {selector} -s wlc"))?;
    side.set(&format!("-e {server} -m -w 7"))?;
    counted(transcript, "edited", 0)?;
    side.set(&format!("-D {selector}"))?;
    side.set(&format!("-A {selector} -s rr"))?;
    counted(transcript, "the service deleted and added again", 0)?;
    add(" -w 2")?;
    counted(transcript, "with its server", 0)?;
    counted(transcript, "and asked", 2)?;
    side.set(&format!("-Z {selector}"))?;
    counted(transcript, "from zero on", 1)?;
    side.set("-C")
}

/// Sends a datagram from a port that was not used before, and waits for the answer.
fn ask(side: &Side, service: &Service) -> Result<()> {
    let socket = udp(side, service)?;
    socket.send(b"a")?;
    socket.recv(&mut [0; 100]).context("no answer")?;
    Ok(())
}
