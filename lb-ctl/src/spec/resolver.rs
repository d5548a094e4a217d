//! Names of ports and hosts, as the C library finds them: `/etc/services`, `/etc/hosts`, DNS.

use super::{Protocol, protocol_name};
use std::{
    ffi::{CStr, CString},
    net::{IpAddr, Ipv4Addr, ToSocketAddrs as _},
};

/// `getservbyname`. lb-ctl is single-threaded, so its static buffer is ours.
pub fn port_number(name: &str, protocol: Protocol) -> Option<u16> {
    let (name, protocol) = (CString::new(name).ok()?, CString::new(protocol.name()).ok()?);
    // SAFETY: both strings end in NUL; the answer is read before the next call.
    let entry = unsafe { libc::getservbyname(name.as_ptr(), protocol.as_ptr()).as_ref() }?;
    Some(u16::from_be(entry.s_port as u16))
}

/// An IPv4 address as `inet_aton` reads it (`10.1`, `0x7f.1`, `24`; behind a blank anything), or the
/// first one of a host name.
pub fn ipv4_host(host: &str) -> Option<Ipv4Addr> {
    let looks_numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = host.split(|end: char| end.is_ascii_whitespace()).next()?;
    match ipv4_number(number) {
        Some(address) => Some(address),
        // A mistyped address; no name server need be asked.
        None if looks_numeric => None,
        None => (host, 0).to_socket_addrs().ok()?.find_map(|found| match found.ip() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }),
    }
}

/// One to four numbers; the last one fills what the others leave.
fn ipv4_number(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<_> = text.split('.').collect();
    let (last, bytes) = parts.split_last()?;
    let mut address = 0u32;
    for byte in bytes {
        address = address << 8 | number(byte).filter(|byte| *byte < 256)?;
    }
    let left = 4u32.checked_sub(bytes.len() as u32).filter(|left| *left > 0)? * 8;
    let last = u64::from(number(last)?);
    (last >> left == 0).then(|| Ipv4Addr::from((u64::from(address) << left | last) as u32))
}

/// A number as C writes it: hexadecimal, octal or decimal.
fn number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    // Of what is left only digits count: a sign is none.
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    u32::from_str_radix(text, if text.starts_with('0') { 8 } else { 10 }).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_inet_aton_reads_them() {
        for (text, expected) in [
            ("192.168.2.200", Some("192.168.2.200")),
            ("24", Some("0.0.0.24")),
            ("10.1", Some("10.0.0.1")),
            ("10.1.258", Some("10.1.1.2")),
            ("0x7f.1", Some("127.0.0.1")),
            ("010.0.0.1", Some("8.0.0.1")),
            ("4294967295", Some("255.255.255.255")),
            ("192.168.2.999", None),
            ("256.1", None),
            ("10.16777216", None),
            ("1.2.3.4.5", None),
            ("10.9.0.1 x", Some("10.9.0.1")),
            (" 10.9.0.1", None),
            ("1..2", None),
            ("", None),
        ] {
            assert_eq!(ipv4_host(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
    }
}
