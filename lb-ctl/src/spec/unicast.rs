//! Addresses of one host.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, UdpSocket},
};

/// What the kernel takes as unicast (`inet_addr_type`, `ipv6_addr_type`): for IPv4 no broadcast address
/// of an attached network either.
pub fn is_unicast(address: IpAddr) -> bool {
    is_of_one_host(address) && !matches!(address, IpAddr::V4(v4) if is_broadcast(v4))
}

/// The same without a look at the attached networks.
pub fn is_of_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] != 0 && !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    }
}

/// The kernel lets no socket be connected to a broadcast address, unless it asked for that. Nothing is
/// sent, so the port does not matter.
fn is_broadcast(address: Ipv4Addr) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let connected = socket.and_then(|socket| socket.connect((address, 9)));
    connected.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_or_not() {
        for (address, expected) in [
            ("192.0.2.1", true),
            ("127.0.0.1", true),
            ("127.255.255.255", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2001:db8::1", true),
            ("::", false),
            ("ff02::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_unicast(address.parse().unwrap()), expected, "{address}");
        }
    }
}
