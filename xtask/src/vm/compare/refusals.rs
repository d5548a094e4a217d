//! What a client sees when there is no server for it, or no longer.

use std::{thread::sleep, time::Duration};

use anyhow::Result;

use super::{
    Script,
    lives::opened,
    side::{SERVER_PORT, Service, Side, word},
    transcript::Transcript,
};
use crate::lab::Conversation;

/// One script for each way to lose a server.
pub fn scripts() -> Vec<Script> {
    vec![
        Script::new("server: quiesced", quiesced),
        Script::new("server: over its threshold", over_threshold),
        Script::new("server: removed and added again", removed),
        Script::new("server: down", down),
        Script::new("service: without a server", empty),
        Script::new("service: deleted while another one stays", deleted),
        Script::new("service: the last one is deleted", last_deleted),
        Script::new("server: edits in the middle of a sequence", edits),
    ]
}

/// What the server at this address is called in a command.
fn server(service: &Service, number: u8) -> String {
    format!("{service} -r 192.168.33.{number}:{SERVER_PORT}")
}

fn heard(conversation: &mut Conversation, patience: u64) -> String {
    match conversation.within(Duration::from_secs(patience)) {
        Ok(said) => format!("'{said}'"),
        Err(error) => word(&error),
    }
}

/// Connects, and closes at once.
fn visit(side: &Side, transcript: &mut Transcript, service: &Service) -> Result<()> {
    let (name, conversation) = side.connect(service)?;
    transcript.say(name);
    conversation.map_or(Ok(()), |conversation| Ok(conversation.close()?))
}

fn quiesced(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("wlc", &[1, 1])?;
    let mut first = opened(side, transcript, &service)?;
    side.set(&format!("-e {} -m -w 0", server(&service, 112)))?;
    transcript.say(first.say("a")?);
    for _ in 0..3 {
        visit(side, transcript, &service)?;
    }
    side.set(&format!("-e {} -m -w 0", server(&service, 111)))?;
    let wire = side.wire()?;
    visit(side, transcript, &service)?;
    transcript.say(wire.seen()?);
    transcript.say(first.say("b")?);
    transcript.say(side.lists(&service)?);
    first.close()?;
    side.set("-C")
}

fn over_threshold(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = Service { port: side.next_port() };
    side.set(&format!("-A {service} -s rr"))?;
    side.set(&format!("-a {} -m -w 1 -x 3 -y 2", server(&service, 111)))?;
    side.set(&format!("-a {} -m -w 1 -x 2", server(&service, 112)))?;
    let wire = side.wire()?;
    let mut open = Vec::new();
    for _ in 0..7 {
        let (name, conversation) = side.connect(&service)?;
        transcript.say(name);
        open.extend(conversation);
    }
    transcript.say(wire.seen()?);
    transcript.say(side.admin("-Ln --thresholds")?);
    // Closed ones count as well, for as long as they are remembered.
    for conversation in open {
        conversation.close()?;
    }
    visit(side, transcript, &service)?;
    transcript.say(side.lists(&service)?);
    side.set(&format!("-e {} -m -w 1 -x 10 -y 8", server(&service, 111)))?;
    visit(side, transcript, &service)?;
    transcript.say(side.admin("-Ln --thresholds")?);
    side.set("-C")
}

fn removed(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1, 1])?;
    let mut first = opened(side, transcript, &service)?;
    let second = opened(side, transcript, &service)?;
    side.set(&format!("-d {}", server(&service, 112)))?;
    transcript.say(side.lists(&service)?);
    let wire = side.wire()?;
    first.send("a")?;
    transcript.say(heard(&mut first, 1));
    transcript.say(wire.seen()?);
    for _ in 0..2 {
        visit(side, transcript, &service)?;
    }
    side.set(&format!("-a {} -m -w 1", server(&service, 112)))?;
    // What was lost is sent again.
    transcript.say(heard(&mut first, 8));
    transcript.say(side.lists(&service)?);
    for _ in 0..3 {
        visit(side, transcript, &service)?;
    }
    first.close()?;
    second.close()?;
    transcript.say(side.lists(&service)?);
    side.set("-C")
}

fn down(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1, 1])?;
    let mut first = opened(side, transcript, &service)?;
    let second = opened(side, transcript, &service)?;
    side.lab.web2.ip("link set eth0 down")?;
    side.lab.balancer.ip("neigh flush dev inside")?;
    let wire = side.wire()?;
    // Both servers are asked in turn, whether or not there is one.
    for _ in 0..2 {
        let (name, conversation) = side.connect(&service)?;
        transcript.say(name);
        conversation.map_or(Ok(()), Conversation::close)?;
    }
    // Whatever else is on its way.
    sleep(Duration::from_secs(1));
    transcript.say(wire.seen()?);
    transcript.say(side.lists(&service)?);
    side.lab.web2.ip("link set eth0 up")?;
    // What went with the link.
    side.lab.web2.addresses("eth0", &["fd00:33::112/64"])?;
    side.lab.web2.gateways(&["192.168.33.100", "fd00:33::100"])?;
    first.send("a")?;
    transcript.say(heard(&mut first, 8));
    first.close()?;
    second.close()?;
    side.set("-C")
}

fn empty(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[])?;
    let wire = side.wire()?;
    visit(side, transcript, &service)?;
    transcript.say(wire.seen()?);
    transcript.say(side.lists(&service)?);
    side.set("-C")
}

fn deleted(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1, 1])?;
    let other = side.service("rr", &[1])?;
    let mut first = opened(side, transcript, &service)?;
    side.set(&format!("-D {service}"))?;
    let wire = side.wire()?;
    first.send("a")?;
    transcript.say(heard(&mut first, 1));
    transcript.say(wire.seen()?);
    // The port is the host's own again, and nobody listens there.
    let (answer, _) = side.connect(&service)?;
    transcript.say(answer);
    transcript.say(wire.seen()?);
    transcript.say(side.lists(&service)?);
    visit(side, transcript, &other)?;
    side.set(&format!("-A {service} -s wlc"))?;
    side.set(&format!("-a {} -m -w 1", server(&service, 112)))?;
    transcript.say(heard(&mut first, 8));
    transcript.say(side.lists(&service)?);
    first.close()?;
    side.set("-C")
}

fn last_deleted(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1])?;
    let mut first = opened(side, transcript, &service)?;
    side.set("-C")?;
    let wire = side.wire()?;
    first.send("a")?;
    transcript.say(heard(&mut first, 2));
    transcript.say(wire.seen()?);
    transcript.say(side.lists(&service)?);
    Ok(())
}

fn edits(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1, 1])?;
    let visits =
        |transcript: &mut Transcript, count| (0..count).try_for_each(|_| visit(side, transcript, &service));
    visits(transcript, 3)?;
    side.set(&format!("-a {} -m -w 1", server(&service, 113)))?;
    visits(transcript, 6)?;
    side.set(&format!("-e {} -m -w 0", server(&service, 112)))?;
    visits(transcript, 4)?;
    side.set(&format!("-d {}", server(&service, 111)))?;
    side.set(&format!("-e {} -m -w 2", server(&service, 112)))?;
    visits(transcript, 4)?;
    side.set(&format!("-E {service} -s wrr"))?;
    visits(transcript, 6)?;
    side.set(&format!("-e {} -m -w 3", server(&service, 113)))?;
    visits(transcript, 8)?;
    transcript.say(side.lists(&service)?);
    side.set("-C")
}
