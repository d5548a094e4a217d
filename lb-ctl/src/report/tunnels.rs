//! Tunnels (`ipvsadm -L --tun-info`).

use super::{Names, rows, table::forward, with_scheduler};
use crate::{
    snapshot::{Backend, Snapshot},
    spec::tunnel_name,
};
use lb_common::{
    backend::method,
    tunnel::{flags, kind},
};
use std::io::{self, Write};

/// Titles and rows.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, names: &mut Names) -> io::Result<()> {
    writeln!(out, "Prot LocalAddress:Port Scheduler Flags")?;
    writeln!(out, "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn")?;
    rows(out, snapshot, names, with_scheduler, |backend| {
        format!(
            " {:<7} {:<13} {:<6} {:<10} {:<10}",
            forward(backend.method),
            about(backend),
            backend.weight,
            backend.active,
            backend.inactive
        )
    })
}

/// In 15 characters at most, as in ipvsadm.
fn about(backend: &Backend) -> String {
    let tunnel = backend.tunnel;
    let name = tunnel_name(tunnel.kind);
    let checksum = match tunnel.flags {
        flags::REMCSUM => "r+c",
        flags::CSUM => "+c",
        _ => "-c",
    };
    match (backend.method, tunnel.kind) {
        (method::TUNNEL, kind::IPIP) => name.to_owned(),
        (method::TUNNEL, kind::GUE) => format!("{name}:{}:{checksum}", u16::from_be(tunnel.port)),
        (method::TUNNEL, _) => format!("{name}:{checksum}"),
        _ => "n/a".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{service, written};
    use lb_common::{scheduler::Scheduler, tunnel::Tunnel};

    #[test]
    fn as_recorded() {
        let servers = ["192.168.33.110:83", "192.168.33.111:83", "192.168.33.112:83", "192.168.33.113:83"];
        let mut rr = service("tcp 192.168.2.200:83", Scheduler::Rr, &servers);
        let port = 6080u16.to_be();
        let tunnels = [
            Tunnel::default(),
            Tunnel { kind: kind::GUE, flags: 0, port },
            Tunnel { kind: kind::GUE, flags: flags::REMCSUM, port },
            Tunnel { kind: kind::GRE, flags: flags::CSUM, port: 0 },
        ];
        for (backend, tunnel) in rr.backends.iter_mut().zip(tunnels) {
            (backend.method, backend.tunnel, backend.inactive) = (method::TUNNEL, tunnel, 0);
        }
        let text = written(|out| write(out, &Snapshot { services: vec![rr] }, &mut Names::new(true)));
        assert_eq!(
            text,
            concat!(
                "Prot LocalAddress:Port Scheduler Flags\n",
                "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n",
                "TCP  192.168.2.200:83 rr\n",
                "  -> 192.168.33.110:83            Tunnel  ipip          1      0          0         \n",
                "  -> 192.168.33.111:83            Tunnel  gue:6080:-c   1      0          0         \n",
                "  -> 192.168.33.112:83            Tunnel  gue:6080:r+c  1      0          0         \n",
                "  -> 192.168.33.113:83            Tunnel  gre:+c        1      0          0         \n",
            )
        );
    }
}
