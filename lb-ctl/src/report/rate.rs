//! Rates (`ipvsadm -L --rate`). BPS is bytes a second.

use super::{Names, large, rows};
use crate::snapshot::Snapshot;
use lb_common::traffic::Traffic;
use std::io::{self, Write};

/// Titles and rows.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, names: &mut Names, exact: bool) -> io::Result<()> {
    writeln!(out, "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS")?;
    writeln!(out, "  -> RemoteAddress:Port")?;
    rows(
        out,
        snapshot,
        names,
        |service, name| {
            let numbers = shown(service.rates).map(|number| large(number, exact)).concat();
            format!("{name:<33}{numbers}")
        },
        |backend| {
            let [cps, packets_in, packets_out, bytes_in, bytes_out] = shown(backend.rates);
            let (bytes_in, bytes_out) = (large(bytes_in, exact), large(bytes_out, exact));
            // ipvsadm shortens only the bytes of a server.
            format!(" {cps:>8} {packets_in:>8} {packets_out:>8}{bytes_in}{bytes_out}")
        },
    )
}

/// Whole numbers of the fixed-point rates, rounded as `ip_vs_read_estimator` does.
pub fn shown(rates: Traffic) -> [u64; 5] {
    let thousandth = |rate: u64| (rate + 0x1ff) >> 10;
    let bytes = |rate: u64| (rate + 0xf) >> 5;
    [
        thousandth(rates.connections),
        thousandth(rates.packets_in),
        thousandth(rates.packets_out),
        bytes(rates.bytes_in),
        bytes(rates.bytes_out),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{ten_requests, written};

    #[test]
    fn as_recorded() {
        let text = written(|out| write(out, &ten_requests(), &mut Names::new(true), false));
        assert_eq!(
            text,
            concat!(
                "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n",
                "  -> RemoteAddress:Port\n",
                "TCP  192.168.2.200:80                    0        2        2      157      149\n",
                "  -> 192.168.33.111:80                   0        1        1       78       75\n",
                "  -> 192.168.33.112:80                   0        1        1       78       75\n",
            )
        );
    }
}
