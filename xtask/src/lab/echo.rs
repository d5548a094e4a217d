//! A server over TCP and UDP that says its name and then echoes, as the one that IPVS was recorded with.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;

use super::Namespace;

/// An echo server in a namespace: threads of this process. It ends when this is dropped.
///
/// Over TCP it greets with its name and a newline, then answers `DATA` with `NAME:DATA`; over UDP it
/// only answers.
pub struct Echo {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    // The listener as a stream: `shutdown` ends its `accept`, and only a stream has that.
    listener: TcpStream,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    clients: Mutex<Vec<TcpStream>>,
}

impl Echo {
    /// Listens on every address, of either family.
    pub fn start(namespace: &Namespace, name: &str, port: u16) -> Result<Self> {
        let tcp = namespace.inside(|| TcpListener::bind(("::", port)))??;
        let udp = namespace.inside(|| UdpSocket::bind(("::", port)))??;
        let listener = TcpStream::from(OwnedFd::from(tcp.try_clone()?));
        let shared = Arc::new(Shared::default());
        let over_tcp = {
            let (shared, name) = (Arc::clone(&shared), name.to_owned());
            thread::spawn(move || accept(&tcp, &name, &shared))
        };
        udp.set_read_timeout(Some(Duration::from_millis(100)))?;
        let over_udp = {
            let (shared, name) = (Arc::clone(&shared), name.to_owned());
            thread::spawn(move || answer(&udp, &name, &shared))
        };
        Ok(Self { shared, threads: vec![over_tcp, over_udp], listener })
    }

    /// Closes every connection from this side: the server speaks the first FIN.
    pub fn close_all(&self) {
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        for client in clients.drain(..) {
            // Fails for those that have ended already.
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        let _ = self.listener.shutdown(Shutdown::Both);
        self.close_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, name: &str, shared: &Shared) {
    while let Ok((client, _)) = listener.accept() {
        if shared.ended.load(Relaxed) {
            break;
        }
        let Ok(other) = client.try_clone() else { continue };
        let mut clients = shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that the other side has closed are forgotten, or their descriptors would stay open.
        clients.retain(|client| client.peer_addr().is_ok());
        clients.push(other);
        drop(clients);
        let name = name.to_owned();
        thread::spawn(move || converse(client, &name));
    }
}

/// One connection to its end; what goes wrong is the client's to notice.
fn converse(mut client: TcpStream, name: &str) {
    let mut data = [0; 4096];
    let mut send = client.write_all(format!("{name}\n").as_bytes());
    while send.is_ok()
        && let Ok(length @ 1..) = client.read(&mut data)
    {
        send = client.write_all(&[name.as_bytes(), b":", &data[..length]].concat());
    }
    // The clone would keep it open.
    let _ = client.shutdown(Shutdown::Both);
}

fn answer(socket: &UdpSocket, name: &str, shared: &Shared) {
    let mut data = [0; 4096];
    while !shared.ended.load(Relaxed) {
        if let Ok((length, client)) = socket.recv_from(&mut data) {
            let _ = socket.send_to(&[name.as_bytes(), b":", &data[..length]].concat(), client);
        }
    }
}
