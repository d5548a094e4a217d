//! The plain listing (`ipvsadm -L`).

use super::{Names, rows, with_scheduler};
use crate::snapshot::Snapshot;
use lb_common::backend::method;
use std::io::{self, Write};

/// Titles and rows.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, names: &mut Names) -> io::Result<()> {
    writeln!(out, "Prot LocalAddress:Port Scheduler Flags")?;
    writeln!(out, "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn")?;
    // "  -> %-28s %-7s %-6d %-10u %-10u": the last field leaves blanks at the end.
    rows(out, snapshot, names, with_scheduler, |backend| {
        let forward = forward(backend.method);
        format!(" {forward:<7} {:<6} {:<10} {:<10}", backend.weight, backend.active, backend.inactive)
    })
}

/// The word for a method.
pub const fn forward(method: u32) -> &'static str {
    match method {
        method::LOCAL => "Local",
        method::TUNNEL => "Tunnel",
        method::ROUTE => "Route",
        _ => "Masq",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{service, ten_requests, written};
    use crate::spec::{ipv4_mask, ipv6_mask};
    use lb_common::{
        scheduler::{Scheduler, flags},
        service::engine,
    };

    #[test]
    fn as_recorded() {
        let text = written(|out| {
            crate::report::heading(out, 4096)?;
            write(out, &ten_requests(), &mut Names::new(true))
        });
        assert_eq!(
            text,
            concat!(
                "IP Virtual Server version 1.2.1 (size=4096)\n",
                "Prot LocalAddress:Port Scheduler Flags\n",
                "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n",
                "TCP  192.168.2.200:80 wlc\n",
                "  -> 192.168.33.111:80            Masq    1      0          5         \n",
                "  -> 192.168.33.112:80            Masq    1      0          5         \n",
            )
        );
    }

    #[test]
    fn flags_persistence_and_ipv6() {
        let mut mh = service("tcp 192.168.30.100:443", Scheduler::Mh, &[]);
        (mh.scheduler_flags, mh.persistence) = (flags::FALLBACK | flags::PORT | flags::THIRD, 360);
        mh.mask = ipv4_mask([255, 255, 255, 0].into());
        let mut v6 = service("udp [2001:db8::]:8080", Scheduler::Rr, &["[fd00:33::111]:8080"]);
        (v6.persistence, v6.mask, v6.engine, v6.one_packet) = (60, ipv6_mask(64), engine::SIP, true);
        let mut default = service("tcp 192.168.30.100:80", Scheduler::Rr, &[]);
        (default.scheduler_flags, default.persistence) = (flags::THIRD, 300);
        let mark = service("mark 7 IPv6", Scheduler::Wrr, &["[fd00:33::111]:0"]);
        let snapshot = Snapshot { services: vec![mh, v6, default, mark] };
        let text = written(|out| write(out, &snapshot, &mut Names::new(true)));
        assert_eq!(
            text.split_once("InActConn\n").unwrap().1,
            concat!(
                "TCP  192.168.30.100:443 mh (mh-fallback,mh-port) persistent 360 mask 255.255.255.0\n",
                "UDP  [2001:db8::]:8080 rr persistent 60 mask 64 pe sip ops\n",
                "  -> [fd00:33::111]:8080          Masq    1      0          5         \n",
                "TCP  192.168.30.100:80 rr (flag-3) persistent 300\n",
                "FWM  7 IPv6 wrr\n",
                "  -> [fd00:33::111]:0             Masq    1      0          5         \n",
            )
        );
    }

    #[test]
    fn port_names_as_recorded() {
        if !std::path::Path::new("/etc/services").exists() {
            return;
        }
        // An address of TEST-NET-1 has no name.
        let snapshot =
            Snapshot { services: vec![service("tcp 192.0.2.200:80", Scheduler::Wlc, &["192.0.2.1:443"])] };
        let text = written(|out| write(out, &snapshot, &mut Names::new(false)));
        assert!(
            text.contains("TCP  192.0.2.200:http wlc\n  -> 192.0.2.1:https              Masq "),
            "{text}"
        );
    }
}
