//! A server over TCP and UDP that says its name and then echoes, as the one that IPVS was recorded with.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::Result;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
};

use super::Namespace;

/// An echo server in a namespace: one thread of this process, because to start one for each connection
/// takes an emulated machine ten times as long as the connection itself. It ends when this is dropped.
///
/// Over TCP it greets with its name and a newline, then answers `DATA` with `NAME:DATA`; over UDP it
/// only answers.
pub struct Echo {
    clients: Arc<Clients>,
    thread: Option<JoinHandle<()>>,
    // The listener as a stream: only that has `shutdown`, which wakes the thread.
    listener: TcpStream,
}

/// Open connections by the number of their descriptor.
#[derive(Default)]
struct Clients(Mutex<HashMap<u64, TcpStream>>);

impl Clients {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Echo {
    /// Listens on every address, of either family.
    pub fn start(namespace: &Namespace, name: &str, port: u16) -> Result<Self> {
        let tcp = namespace.inside(|| TcpListener::bind(("::", port)))??;
        let udp = namespace.inside(|| UdpSocket::bind(("::", port)))??;
        let listener = TcpStream::from(OwnedFd::from(tcp.try_clone()?));
        let clients = Arc::new(Clients::default());
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &tcp, number(&tcp), EventFlags::IN)?;
        epoll::add(&epoll, &udp, number(&udp), EventFlags::IN)?;
        let server = Server { name: name.to_owned(), tcp, udp, epoll, clients: Arc::clone(&clients) };
        Ok(Self { clients, thread: Some(thread::spawn(move || server.serve())), listener })
    }

    /// Closes every connection from this side: the server speaks the first FIN.
    pub fn close_all(&self) {
        for (_, client) in self.clients.lock().drain() {
            // Fails for those that have ended already.
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.listener.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.close_all();
    }
}

/// What the thread has.
struct Server {
    name: String,
    tcp: TcpListener,
    udp: UdpSocket,
    epoll: OwnedFd,
    clients: Arc<Clients>,
}

impl Server {
    fn serve(&self) {
        let (tcp, udp) = (number(&self.tcp), number(&self.udp));
        let mut events = Vec::with_capacity(16);
        loop {
            events.clear();
            if epoll::wait(&self.epoll, spare_capacity(&mut events), None).is_err() {
                return;
            }
            for epoll::Event { data, .. } in events.iter().copied() {
                match data {
                    // Fails once the listener is shut down.
                    _ if data.u64() == tcp.u64() => match self.accept() {
                        Ok(()) => {}
                        Err(_) => return,
                    },
                    _ if data.u64() == udp.u64() => self.answer(),
                    client => self.converse(client.u64()),
                }
            }
        }
    }

    fn accept(&self) -> Result<()> {
        let (mut client, _) = self.tcp.accept()?;
        // Before it is greeted: whoever has heard the greeting may close all connections.
        let mut clients = self.clients.lock();
        // What goes wrong with a client is that one's to notice.
        if client.write_all(format!("{}\n", self.name).as_bytes()).is_ok() {
            let number = number(&client);
            // An event may be that of an earlier connection with the same number.
            client.set_nonblocking(true)?;
            epoll::add(&self.epoll, &client, number, EventFlags::IN)?;
            clients.insert(number.u64(), client);
        }
        Ok(())
    }

    /// A connection's next words, or its end.
    fn converse(&self, number: u64) {
        let mut clients = self.clients.lock();
        // Closed from this side meanwhile.
        let Some(client) = clients.get_mut(&number) else { return };
        let mut data = [0; 4096];
        let goes_on = match client.read(&mut data) {
            Ok(length @ 1..) => {
                client.write_all(&[self.name.as_bytes(), b":", &data[..length]].concat()).is_ok()
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
            Ok(0) => false,
        };
        if !goes_on {
            clients.remove(&number);
        }
    }

    fn answer(&self) {
        let mut data = [0; 4096];
        if let Ok((length, client)) = self.udp.recv_from(&mut data) {
            let _ = self.udp.send_to(&[self.name.as_bytes(), b":", &data[..length]].concat(), client);
        }
    }
}

fn number(socket: &impl AsRawFd) -> EventData {
    EventData::new_u64(socket.as_raw_fd() as u64)
}
