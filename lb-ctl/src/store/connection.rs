//! The connections that live now.

use super::Store;
use lb_common::{
    connection::{Connection, state::is_live},
    time::{remaining, tick_of},
};
use std::{
    io,
    ptr::{self, addr_of},
};

/// The present tick of the packet path's clock. Of what the kernel tells, `times` is what follows its jiffies.
pub fn now() -> u32 {
    // SAFETY: neither call writes anything.
    let (clock, hertz) = unsafe { (libc::times(ptr::null_mut()), libc::sysconf(libc::_SC_CLK_TCK)) };
    tick_of((clock as u64).wrapping_mul(1_000_000_000 / hertz as u64))
}

impl Store {
    /// Calls `body` with every connection that lives now, in the order of their slots.
    pub fn each_connection(&self, mut body: impl FnMut(&Connection) -> io::Result<()>) -> io::Result<()> {
        let now = now();
        // `used` runs on when the table is full.
        let used = self.table.get(0).used.min(u64::from(self.connections.len())) as u32;
        for slot in 0..used {
            if let Some(connection) = self.live(slot)
                && remaining(connection.expires, now) > 0
            {
                body(&connection)?;
            }
        }
        Ok(())
    }

    /// Id of the service that a connection belongs to, whatever its port.
    pub fn service_of(&self, connection: &Connection) -> u32 {
        self.backends.get(connection.backend_index % self.backends.len()).service
    }

    /// A slot's connection, read as a whole: the word counts the uses of the slot, so the same use
    /// before and after means that the rest belongs together.
    fn live(&self, slot: u32) -> Option<Connection> {
        let pointer = self.connections.pointer(slot);
        loop {
            // SAFETY: the pointer is to a live element of the map, aligned to 8.
            let word = unsafe { addr_of!((*pointer).word).read_volatile() };
            if !is_live(word) {
                return None;
            }
            let connection = self.connections.get(slot);
            // SAFETY: as above.
            let after = unsafe { addr_of!((*pointer).word).read_volatile() };
            if word >> 8 == after >> 8 {
                return Some(Connection { word: after, ..connection }).filter(|_| is_live(after));
            }
        }
    }
}
