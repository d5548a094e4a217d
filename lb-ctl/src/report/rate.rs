//! Rates (`ipvsadm -L --rate`). BPS is bytes a second.

use super::{Names, large, protocol_of, service_name};
use crate::snapshot::Snapshot;
use lb_common::traffic::Traffic;
use std::io::{self, Write};

/// Titles and rows.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, names: &mut Names, exact: bool) -> io::Result<()> {
    writeln!(out, "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS")?;
    writeln!(out, "  -> RemoteAddress:Port")?;
    for service in &snapshot.services {
        let numbers = shown(service.rates).map(|number| large(number, exact)).concat();
        writeln!(out, "{:<33}{numbers}", service_name(service, names))?;
        for backend in &service.backends {
            let name = names.cut(backend.endpoint, protocol_of(service), 28);
            let [cps, packets_in, packets_out, bytes_in, bytes_out] = shown(backend.rates);
            // ipvsadm shortens only the bytes of a server.
            writeln!(
                out,
                "  -> {name:<28} {cps:>8} {packets_in:>8} {packets_out:>8}{}{}",
                large(bytes_in, exact),
                large(bytes_out, exact)
            )?;
        }
    }
    Ok(())
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
