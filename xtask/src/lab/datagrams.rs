//! Datagrams: a server that sends them back, and a client's socket.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{JoinHandle, spawn},
    time::Duration,
};

use anyhow::Result;

use super::Namespace;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A UDP server that sends back what it gets. It ends when this is dropped.
pub struct UdpEcho {
    ended: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Listens on every address, of either family.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let socket = namespace.inside(|| UdpSocket::bind(("::", port)))??;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (ended, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counter) = (Arc::clone(&ended), Arc::clone(&received));
        let thread = spawn(move || {
            let mut data = [0; 65_536];
            while !told.load(Relaxed) {
                if let Ok((length, client)) = socket.recv_from(&mut data) {
                    counter.fetch_add(1, Relaxed);
                    // Fails after an ICMP error, which the test looks at elsewhere.
                    let _ = socket.send_to(&data[..length], client);
                }
            }
        });
        Ok(Self { ended, received, thread: Some(thread) })
    }

    /// Datagrams that have come in.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A UDP socket of a namespace, connected to an address and port.
pub fn udp(client: &Namespace, destination: &str) -> Result<UdpSocket> {
    let destination: SocketAddr = destination.parse()?;
    let any = if destination.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = client.inside(|| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(destination)?;
        Ok(socket)
    })??;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}
