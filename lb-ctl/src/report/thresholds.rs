//! Thresholds (`ipvsadm -L --thresholds`).

use super::{Names, rows, with_scheduler};
use crate::snapshot::Snapshot;
use std::io::{self, Write};

/// Titles and rows.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, names: &mut Names) -> io::Result<()> {
    writeln!(out, "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn ")?;
    writeln!(out, "  -> RemoteAddress:Port")?;
    rows(out, snapshot, names, with_scheduler, |backend| {
        format!(
            " {:<10} {:<10} {:<10} {:<10}",
            backend.upper, backend.lower, backend.active, backend.inactive
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{service, written};
    use lb_common::scheduler::Scheduler;

    #[test]
    fn as_recorded() {
        let mut rr =
            service("tcp 192.168.2.200:8080", Scheduler::Rr, &["192.168.33.111:8080", "192.168.33.112:8080"]);
        for (backend, (upper, lower, inactive)) in rr.backends.iter_mut().zip([(2, 1, 2), (4, 2, 4)]) {
            (backend.upper, backend.lower, backend.inactive) = (upper, lower, inactive);
        }
        let text = written(|out| write(out, &Snapshot { services: vec![rr] }, &mut Names::new(true)));
        assert_eq!(
            text,
            concat!(
                "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n",
                "  -> RemoteAddress:Port\n",
                "TCP  192.168.2.200:8080 rr\n",
                "  -> 192.168.33.111:8080          2          1          0          2         \n",
                "  -> 192.168.33.112:8080          4          2          0          4         \n",
            )
        );
    }
}
