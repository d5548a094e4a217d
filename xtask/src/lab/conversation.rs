//! A client's end of a connection, with the source address and port that the test wants.

use std::{
    io::{self, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    io::{read, retry_on_intr},
    net::{
        AddressFamily, SocketType, bind, connect, socket,
        sockopt::{Timeout, set_socket_linger, set_socket_reuseaddr, set_socket_timeout},
    },
};

use super::Namespace;

/// A TCP connection to an [`Echo`](super::Echo).
pub struct Conversation(TcpStream);

impl Conversation {
    /// Connects from an address and port; port 0 is any. Waits `patience` for this and each answer.
    pub fn open(
        namespace: &Namespace,
        source: impl Into<SocketAddr>,
        destination: impl Into<SocketAddr>,
        patience: Duration,
    ) -> Result<io::Result<Self>> {
        let (source, destination) = (source.into(), destination.into());
        namespace.inside(|| open(source, destination, patience))
    }

    /// The same from the thread's own namespace.
    pub fn open_here(
        source: impl Into<SocketAddr>,
        destination: impl Into<SocketAddr>,
        patience: Duration,
    ) -> io::Result<Self> {
        open(source.into(), destination.into(), patience)
    }

    /// What comes next, at most as long as one packet; empty at the end.
    pub fn receive(&mut self) -> io::Result<String> {
        let mut data = [0; 1400];
        let length = self.read(&mut data)?;
        Ok(String::from_utf8_lossy(&data[..length]).trim_end().to_owned())
    }

    /// A socket with a timeout is interrupted where the whole machine is stopped and goes on (signal(7)).
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| read(&self.0, &mut *data))?)
    }

    /// What comes within this time, and only this once: later answers are waited for as before.
    pub fn within(&mut self, patience: Duration) -> io::Result<String> {
        let usual = self.0.read_timeout()?;
        self.0.set_read_timeout(Some(patience))?;
        let received = self.receive();
        self.0.set_read_timeout(usual)?;
        received
    }

    /// Sends a word, and returns what comes.
    pub fn say(&mut self, word: &str) -> Result<String> {
        self.send(word)?;
        self.receive().with_context(|| format!("waiting for the answer to '{word}'"))
    }

    /// Sends a word.
    pub fn send(&mut self, word: &str) -> Result<()> {
        self.0.write_all(word.as_bytes()).with_context(|| format!("sending '{word}'"))
    }

    /// Our FIN, and no more.
    pub fn shut(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// Our FIN, then the other side's. Returns when both have passed.
    pub fn close(mut self) -> io::Result<()> {
        self.shut()?;
        while self.read(&mut [0; 1400])? != 0 {}
        Ok(())
    }

    /// Ends it with RST.
    pub fn reset(self) -> io::Result<()> {
        Ok(set_socket_linger(&self.0, Some(Duration::ZERO))?)
    }
}

fn open(source: SocketAddr, destination: SocketAddr, patience: Duration) -> io::Result<Conversation> {
    let family = if destination.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    for direction in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, direction, Some(patience))?;
    }
    bind(&socket, &source)?;
    retry_on_intr(|| connect(&socket, &destination))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(Conversation(stream))
}
