//! Persistence templates (`ipvsadm -L --persistent-conn`).

use super::{Names, rows, with_scheduler};
use crate::snapshot::Snapshot;
use std::io::{self, Write};

/// Titles and rows.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, names: &mut Names) -> io::Result<()> {
    writeln!(out, "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn ")?;
    writeln!(out, "  -> RemoteAddress:Port")?;
    rows(out, snapshot, names, with_scheduler, |backend| {
        format!(
            " {:<9} {:<11} {:<10} {:<10}",
            backend.weight, backend.persistent, backend.active, backend.inactive
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::example::{service, written},
        spec::ipv4_mask,
    };
    use lb_common::scheduler::Scheduler;

    #[test]
    fn as_recorded() {
        let mut rr =
            service("tcp 192.168.2.200:80", Scheduler::Rr, &["192.168.33.111:80", "192.168.33.112:80"]);
        (rr.persistence, rr.mask) = (300, ipv4_mask([255, 255, 255, 0].into()));
        for (backend, inactive) in rr.backends.iter_mut().zip([3, 12]) {
            (backend.persistent, backend.inactive) = (1, inactive);
        }
        let text = written(|out| write(out, &Snapshot { services: vec![rr] }, &mut Names::new(true)));
        assert_eq!(
            text,
            concat!(
                "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n",
                "  -> RemoteAddress:Port\n",
                "TCP  192.168.2.200:80 rr persistent 300 mask 255.255.255.0\n",
                "  -> 192.168.33.111:80            1         1           0          3         \n",
                "  -> 192.168.33.112:80            1         1           0          12        \n",
            )
        );
    }
}
