//! Counters (`ipvsadm -L --stats`).

use super::{Names, large, rows};
use crate::snapshot::Snapshot;
use lb_common::traffic::Traffic;
use std::io::{self, Write};

/// Titles and rows.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, names: &mut Names, exact: bool) -> io::Result<()> {
    writeln!(out, "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes")?;
    writeln!(out, "  -> RemoteAddress:Port")?;
    rows(
        out,
        snapshot,
        names,
        |service, name| format!("{name:<33}{}", numbers(service.stats, exact)),
        |backend| numbers(backend.stats, exact),
    )
}

fn numbers(of: Traffic, exact: bool) -> String {
    [of.connections, of.packets_in, of.packets_out, of.bytes_in, of.bytes_out]
        .map(|number| large(number, exact))
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{service, ten_requests, traffic, written};
    use lb_common::scheduler::Scheduler;

    #[test]
    fn as_recorded() {
        let text = written(|out| write(out, &ten_requests(), &mut Names::new(true), false));
        assert_eq!(
            text,
            concat!(
                "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n",
                "  -> RemoteAddress:Port\n",
                "TCP  192.168.2.200:80                   10       60       40     3970     3770\n",
                "  -> 192.168.33.111:80                   5       30       20     1985     1885\n",
                "  -> 192.168.33.112:80                   5       30       20     1985     1885\n",
            )
        );
    }

    #[test]
    fn units_and_exact() {
        let mut large = service("tcp 192.168.30.100:80", Scheduler::Wlc, &[]);
        large.stats = traffic([1523, 123_456_789, 98_765, 123_456_789_012, 99_999_999]);
        let snapshot = Snapshot { services: vec![large] };
        let text = written(|out| write(out, &snapshot, &mut Names::new(true), false));
        assert!(
            text.ends_with(
                "\nTCP  192.168.30.100:80                1523  123456K    98765     123G 99999999\n"
            ),
            "{text}"
        );
        let text = written(|out| write(out, &snapshot, &mut Names::new(true), true));
        assert!(text.ends_with("     1523 123456789    98765 123456789012 99999999\n"), "{text}");
    }
}
