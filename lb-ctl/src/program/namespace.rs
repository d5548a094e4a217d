//! Which network namespace this is.

use anyhow::{Context as _, Result};
use std::{io, mem::size_of, net::UdpSocket, os::fd::AsRawFd as _};

/// The cookie of the network namespace: unique until the next boot, unlike its inode.
pub fn cookie() -> Result<u64> {
    // Any socket does; this one is never bound to anything but a free port of the loopback.
    let socket = UdpSocket::bind("127.0.0.1:0")
        .or_else(|_| UdpSocket::bind("0.0.0.0:0"))
        .context("cannot open a socket")?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to live variables of the sizes given.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error()).context("cannot identify the network namespace");
    }
    Ok(cookie)
}
