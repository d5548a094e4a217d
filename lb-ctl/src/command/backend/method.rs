//! The options that say how packets reach a backend.

use crate::spec::{Endpoint, ServiceName, parse_number, parse_tunnel, usage};
use anyhow::Result;
use lb_common::{
    backend::{Member, method::*},
    tunnel::{Tunnel, flags, kind},
};

/// How packets reach the backend.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Forward by masquerading (NAT), the way when none is named
    #[arg(short, long)]
    masquerading: bool,
    /// Forward by direct routing: a server on the same network that has the service's address too
    #[arg(short, long)]
    gatewaying: bool,
    /// Forward through a tunnel to a server that has the service's address too
    #[arg(short, long)]
    ipip: bool,
    /// Deliver to a server on the balancer itself, at the service's own address and port
    #[arg(short, long)]
    local: bool,
    /// Kind of tunnel: ipip gue gre [default: ipip]
    #[arg(long, value_name = "KIND")]
    tun_type: Option<String>,
    /// UDP port of a gue tunnel
    #[arg(long, value_name = "PORT", allow_hyphen_values = true)]
    tun_port: Option<String>,
    /// Put a checksum over the packet into the outer header (gue, gre)
    #[arg(long)]
    tun_csum: bool,
    /// Put none [default]
    #[arg(long)]
    tun_nocsum: bool,
    /// Leave a checksum that the sender left open to the far end (gue); implies the outer one
    #[arg(long)]
    tun_remcsum: bool,
}

impl Options {
    /// The method and the tunnel that are asked for, on top of those that are there; `None` is as
    /// before.
    pub fn parse(&self, old: Member) -> Result<(Option<u32>, Option<Tunnel>)> {
        let named = [
            (self.masquerading, "-m", NAT),
            (self.gatewaying, "-g", ROUTE),
            (self.ipip, "-i", TUNNEL),
            (self.local, "-l", LOCAL),
        ];
        let named: Vec<_> = named.into_iter().filter(|(is_named, ..)| *is_named).collect();
        if let [(_, first, _), (_, second, _), ..] = named[..] {
            usage!("{first} and {second}: name one way to the backend");
        }
        let method = named.first().map(|(.., method)| *method);
        let tunnel = self.tunnel(old.tunnel)?;
        if tunnel.is_some() && method.unwrap_or(old.method) != TUNNEL {
            usage!("the --tun- options belong to a tunnel; add -i");
        }
        Ok((method, tunnel))
    }

    fn tunnel(&self, old: Tunnel) -> Result<Option<Tunnel>> {
        let checksums = [
            (self.tun_csum, "--tun-csum", flags::CSUM),
            (self.tun_nocsum, "--tun-nocsum", 0),
            (self.tun_remcsum, "--tun-remcsum", flags::REMCSUM),
        ];
        let checksums: Vec<_> = checksums.into_iter().filter(|(is_named, ..)| *is_named).collect();
        if let [(_, first, _), (_, second, _), ..] = checksums[..] {
            usage!("{first} and {second}: name one");
        }
        if self.tun_type.is_none() && self.tun_port.is_none() && checksums.is_empty() {
            return Ok(None);
        }
        let mut tunnel = old;
        if let Some(text) = &self.tun_type {
            // The options of a tunnel are its own: another one starts without.
            tunnel = match parse_tunnel(text)? {
                kind if kind == old.kind => old,
                kind => Tunnel { kind, ..Tunnel::default() },
            };
        }
        if let Some((_, option, flags)) = checksums.first() {
            if tunnel.kind == kind::IPIP || *flags == flags::REMCSUM && tunnel.kind != kind::GUE {
                usage!("{option} does not go with this kind of tunnel; add --tun-type gue");
            }
            tunnel.flags = *flags;
        }
        if let Some(text) = &self.tun_port {
            if tunnel.kind != kind::GUE {
                usage!("--tun-port {text} does not go with this kind of tunnel; add --tun-type gue");
            }
            tunnel.port = (parse_number("--tun-port", text, u16::MAX.into())? as u16).to_be();
        }
        if tunnel.kind == kind::GUE && tunnel.port == 0 {
            usage!("--tun-type gue needs the UDP port of the far end; add --tun-port 6080");
        }
        Ok(Some(tunnel))
    }
}

/// Whether packets keep their destination address and port on the way, so that the backend's port
/// is the service's. A firewall mark has none.
pub const fn keeps_destination(method: u32, service: ServiceName) -> bool {
    method != NAT && !matches!(service, ServiceName::Mark { .. })
}

/// Only a tunnel leads from one family to the other.
pub fn check_family(method: u32, service: ServiceName, backend: Endpoint) -> Result<()> {
    if method != TUNNEL && backend.address.is_ipv6() != service.is_ipv6() {
        let family = if backend.address.is_ipv4() { "IPv4" } else { "IPv6" };
        usage!("'{backend}' is {family} and {service} is not; only a tunnel (-i) joins the two families");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(text: &str, old: Member) -> Result<(Option<u32>, Option<Tunnel>)> {
        Line::try_parse_from(["x"].into_iter().chain(text.split_whitespace()))?.options.parse(old)
    }

    fn gue(flags: u8) -> Tunnel {
        Tunnel { kind: kind::GUE, flags, port: 6080u16.to_be() }
    }

    #[test]
    fn methods_and_tunnels_are_read() {
        let new = Member::default();
        for (text, expected) in [
            ("", (None, None)),
            ("-m", (Some(NAT), None)),
            ("-g", (Some(ROUTE), None)),
            ("-i", (Some(TUNNEL), None)),
            ("-i --tun-type gue --tun-port 6080", (Some(TUNNEL), Some(gue(0)))),
            ("-i --tun-type gue --tun-port 6080 --tun-csum", (Some(TUNNEL), Some(gue(flags::CSUM)))),
            ("-i --tun-type gue --tun-port 6080 --tun-remcsum", (Some(TUNNEL), Some(gue(flags::REMCSUM)))),
        ] {
            assert_eq!(parse(text, new).unwrap(), expected, "{text}");
        }
        let old = Member { method: TUNNEL, tunnel: gue(flags::CSUM), ..new };
        assert_eq!(parse("--tun-nocsum", old).unwrap(), (None, Some(gue(0))));
        let gre = Tunnel { kind: kind::GRE, ..Tunnel::default() };
        assert_eq!(parse("--tun-type gre", old).unwrap(), (None, Some(gre)));
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        for (text, part) in [
            ("-m -g", "-m and -g"),
            ("-m --tun-type gue --tun-port 1", "add -i"),
            ("-i --tun-type nosuch", "'nosuch'"),
            ("-i --tun-type gue", "--tun-port"),
            ("-i --tun-type gue --tun-port 0", "--tun-port"),
            ("-i --tun-type gue --tun-port 65536", "65536"),
            ("-i --tun-port 6080", "--tun-port 6080"),
            ("-i --tun-csum", "--tun-csum"),
            ("-i --tun-type gre --tun-remcsum", "--tun-remcsum"),
            ("-i --tun-type gre --tun-csum --tun-nocsum", "--tun-csum and --tun-nocsum"),
        ] {
            let message = parse(text, Member::default()).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
