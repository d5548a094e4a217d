//! Names of ports and hosts, as the C library finds them: `/etc/services`, `/etc/hosts`, DNS.

use super::{Protocol, protocol_name};
use std::{
    ffi::{CStr, CString},
    net::IpAddr,
};

/// `getservbyname`. lb-ctl is single-threaded, so its static buffer is ours.
pub fn port_number(name: &str, protocol: Protocol) -> Option<u16> {
    let (name, protocol) = (CString::new(name).ok()?, CString::new(protocol.name()).ok()?);
    // SAFETY: both strings end in NUL; the answer is read before the next call.
    let entry = unsafe { libc::getservbyname(name.as_ptr(), protocol.as_ptr()).as_ref() }?;
    Some(u16::from_be(entry.s_port as u16))
}

/// `getservbyport`: the name of a port.
pub fn port_name(port: u16, protocol: u8) -> Option<String> {
    let protocol = CString::new(protocol_name(protocol)).ok()?;
    // SAFETY: the string ends in NUL; the answer is copied before the next call.
    unsafe {
        let entry = libc::getservbyport(i32::from(port.to_be()), protocol.as_ptr()).as_ref()?;
        Some(CStr::from_ptr(entry.s_name).to_string_lossy().into_owned())
    }
}

/// `getnameinfo`: the name of an address, if it has one.
pub fn host_name(address: IpAddr) -> Option<String> {
    let mut name = [0; libc::NI_MAXHOST as usize];
    let mut ask = |address: *const libc::sockaddr, length: usize| {
        // SAFETY: the address is `length` bytes of the family that it says, the buffer `NI_MAXHOST`.
        unsafe {
            let status = libc::getnameinfo(
                address,
                length as libc::socklen_t,
                name.as_mut_ptr(),
                libc::NI_MAXHOST,
                std::ptr::null_mut(),
                0,
                libc::NI_NAMEREQD,
            );
            (status == 0).then(|| CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned())
        }
    };
    // SAFETY: both structures are plain data, for which zero is a value.
    unsafe {
        match address {
            IpAddr::V4(v4) => {
                let mut socket: libc::sockaddr_in = std::mem::zeroed();
                socket.sin_family = libc::AF_INET as libc::sa_family_t;
                socket.sin_addr.s_addr = u32::from_ne_bytes(v4.octets());
                ask((&raw const socket).cast(), size_of_val(&socket))
            }
            IpAddr::V6(v6) => {
                let mut socket: libc::sockaddr_in6 = std::mem::zeroed();
                socket.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                socket.sin6_addr.s6_addr = v6.octets();
                ask((&raw const socket).cast(), size_of_val(&socket))
            }
        }
    }
}
