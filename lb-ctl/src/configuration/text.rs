//! A configuration as TOML.

use super::{Configuration, field, field::Field};
use lb_common::mark::Rule;
use std::io::{self, Write};

/// First line of what `lb-ctl` writes.
pub const START: &str = "# Written by lb-ctl: complete only with its last line.";
/// The last line: a file without it was cut off.
pub const END: &str = "# End of the configuration.";

/// Writes all of it, with the lines that tell whether a file is whole.
pub fn write(out: &mut impl Write, configuration: &Configuration) -> io::Result<()> {
    writeln!(out, "{START}\n")?;
    write_body(out, configuration)?;
    writeln!(out, "\n{END}")
}

/// Writes all of it, as a file to edit.
pub fn write_body(out: &mut impl Write, configuration: &Configuration) -> io::Result<()> {
    // Before the first table, whose it would be.
    if let Some(pool) = &configuration.pool {
        fields(out, &[field::pool(pool)])?;
    }
    if let Some(marks) = &configuration.marks {
        write_marks(out, marks)?;
    }
    if configuration.pool.is_some() || configuration.marks.is_some() {
        writeln!(out)?;
    }
    if let Some(timeouts) = configuration.timeouts {
        writeln!(out, "[timeouts]")?;
        fields(out, &field::timeouts(timeouts))?;
    }
    if !configuration.sysctls.is_empty() {
        writeln!(out, "\n[sysctls]")?;
        fields(out, &field::sysctls(&configuration.sysctls))?;
    }
    for service in &configuration.services {
        writeln!(out, "\n[[service]]")?;
        fields(out, &field::name(service.name))?;
        fields(out, &field::service(service))?;
        for backend in &service.backends {
            writeln!(out, "\n[[service.backend]]\naddress = \"{}\"", backend.endpoint)?;
            fields(out, &field::backend(backend))?;
        }
    }
    Ok(())
}

/// A line for each rule.
fn write_marks(out: &mut impl Write, marks: &[Rule]) -> io::Result<()> {
    if marks.is_empty() {
        return writeln!(out, "marks = []");
    }
    writeln!(out, "marks = [")?;
    for rule in marks {
        writeln!(out, "  {},", field::mark(rule))?;
    }
    writeln!(out, "]")
}

fn fields(out: &mut impl Write, fields: &[Field]) -> io::Result<()> {
    for Field { name, text, .. } in fields.iter().filter(|field| !field.is_default) {
        writeln!(out, "{name} = {text}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        configuration::{Backend, Service, parse},
        spec::{Endpoint, Protocol, ServiceName, ipv4_mask, ipv6_mask, mark::parse_line},
        store::{MemberSettings, Schedule, Sysctls, Timeouts},
    };
    use lb_common::{
        address::Address,
        backend::method,
        limits::WEIGHT,
        scheduler::Scheduler,
        service::engine,
        sysctl::Sysctl,
        tunnel::{Tunnel, flags, kind},
    };
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn settings() -> impl Strategy<Value = MemberSettings> {
        let tunnels = [
            Tunnel::default(),
            Tunnel { kind: kind::GUE, flags: flags::REMCSUM, port: 6080u16.to_be() },
            Tunnel { kind: kind::GRE, flags: flags::CSUM, port: 0 },
        ];
        (0..=WEIGHT, any::<u32>(), any::<u32>(), 0usize..4).prop_map(move |(weight, a, b, way)| {
            let (method, tunnel) = match way {
                0 => (method::NAT, tunnels[0]),
                number => (method::TUNNEL, tunnels[number - 1]),
            };
            MemberSettings {
                weight: Some(weight),
                upper: Some(a.max(b)),
                lower: Some(a.min(b)),
                method: Some(method),
                tunnel: Some(tunnel),
            }
        })
    }

    fn service() -> impl Strategy<Value = Service> {
        let numbers = (0u8..14, 0u8..8, 0u32..1000, any::<u32>(), 1u8..=128);
        let names = prop_oneof![
            Just("tcp 10.0.0.1:80"),
            Just("udp [2001:db8::80]:53"),
            Just("sctp 10.0.0.1:90"),
            Just("mark 7"),
            Just("mark 9 IPv6"),
        ];
        (names, numbers, any::<[bool; 3]>(), prop::collection::vec(settings(), 0..4)).prop_map(
            |(
                name,
                (scheduler, flags, persistence, bits, length),
                [one_packet, is_sip, is_full],
                backends,
            )| {
                let name: ServiceName = name.parse().unwrap();
                let mask = if name.is_ipv6() { ipv6_mask(length) } else { ipv4_mask(bits.into()) };
                let schedule = Schedule {
                    scheduler: Scheduler::from_number(scheduler),
                    flags: Some(flags),
                    persistence: Some(persistence),
                    mask: Some(if persistence == 0 { Address::ALL } else { mask }),
                    engine: Some(if is_sip { engine::SIP } else { engine::NONE }),
                    one_packet: Some(one_packet && !is_full),
                    full_nat: Some(is_full),
                    toa: Some(is_full && name.protocol().is_none_or(|protocol| protocol == Protocol::Tcp)),
                };
                let backend = |(number, mut settings): (u8, MemberSettings)| {
                    if is_full {
                        settings = MemberSettings {
                            method: Some(method::NAT),
                            tunnel: Some(Tunnel::default()),
                            ..settings
                        };
                    }
                    let text =
                        if name.is_ipv6() { format!("fd00::{number}") } else { format!("10.1.0.{number}") };
                    let endpoint = Endpoint { address: text.parse().unwrap(), port: name.port() };
                    Backend { endpoint, settings }
                };
                Service { name, schedule, backends: (1..).zip(backends).map(backend).collect() }
            },
        )
    }

    const POOL: [IpAddr; 3] = [
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    ];

    fn sysctls() -> impl Strategy<Value = Sysctls> {
        let one = prop::sample::select(Sysctl::ALL).prop_flat_map(|of| (Just(of), 0..=of.most()));
        prop::collection::vec(one, 0..5).prop_map(Sysctls::from_iter)
    }

    fn marks() -> impl Strategy<Value = Vec<Rule>> {
        let lines = [
            "1",
            "2 -d 192.168.2.200 -p tcp --dport 80:443",
            "2 -s 2001:db8::/32 -p sctp",
            "4294967295 -s 10.0.0.0/8 -d 10.1.0.0/16 -p udp --dport 53 -i eth0",
            "7 --dport 0 -i a\"b\\c'd",
            "8 -i ü",
        ];
        prop::sample::subsequence(lines.to_vec(), 0..=lines.len())
            .prop_map(|lines| lines.iter().map(|line| parse_line(line).unwrap()).collect())
    }

    proptest! {
        #[test]
        fn a_configuration_survives_the_round_trip(
            services in prop::collection::vec(service(), 0..5),
            pool in prop::sample::subsequence(POOL.to_vec(), 0..=POOL.len()),
            marks in marks(),
            sysctls in sysctls(),
        ) {
            let mut seen = std::collections::HashSet::new();
            let services = services.into_iter().filter(|service| seen.insert(service.name.key())).collect();
            let timeouts = Some(Timeouts { tcp: 1, tcpfin: 2, udp: 2_678_400 });
            let pool = Some(pool.into_iter().collect());
            let configuration = Configuration { timeouts, pool, marks: Some(marks), sysctls, services };
            let mut text = vec![];
            write(&mut text, &configuration).unwrap();
            let text = String::from_utf8(text).unwrap();
            prop_assert!(text.starts_with(START) && text.trim_end().ends_with(END));
            prop_assert_eq!(parse(&text).unwrap(), configuration);
        }
    }
}
