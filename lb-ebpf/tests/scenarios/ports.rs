//! The ports of full NAT.

use super::*;
/// Ports that full NAT has given out; each page counts its own.
pub fn taken(tables: &HostTables) -> u64 {
    let pages = tables.ports.borrow();
    let of_page = |key: &PortsKey| {
        let Ports { taken, rows } = tables.ports(key).unwrap();
        assert_eq!(*taken, rows.iter().map(|row| u64::from(row.count_ones())).sum::<u64>());
        *taken
    };
    pages.keys().map(of_page).sum()
}

#[test]
fn each_address_has_64512_ports_towards_a_backend() {
    let mut tables =
        tables(&Scenario { flags: FULL_NAT, pool: Pool::AllPorts, ..Scenario::new(PLAIN) }, 2 * 64_512 + 8);
    *tables.sources.at(1).unwrap() = address("192.168.33.101:0");
    let mut opened = 0u32;
    let mut open = |tables: &HostTables| {
        opened += 1;
        let client = format!("10.0.{}.{}:{}", opened >> 16, opened >> 8 & 0xff, opened & 0xff | 0x400);
        let (outcome, out) = run(tables, udp(&client, V4.vip).link(OUTSIDE_MAC, CLIENT_MAC).frame(), OUTSIDE);
        (outcome.reason, out[26..38].to_vec())
    };
    let mut seen = std::collections::HashSet::new();
    for (addresses, pool) in [(1, 0b01), (2, 0b11)] {
        tables.settings.pool[0] = pool;
        for _ in 0..64_512 {
            let (reason, flow) = open(&tables);
            assert_eq!(reason, Reason::Redirected, "{}", seen.len());
            assert!(seen.insert(flow), "a port was given twice");
        }
        assert_eq!(open(&tables).0, Reason::PortsTaken);
        assert_eq!(taken(&tables), addresses * 64_512);
    }
    assert!(seen.iter().all(|flow| u16::from_be_bytes([flow[8], flow[9]]) >= 1024));
    // Another backend's are its own.
    let other = udp(V6.client, V6.vip).link(OUTSIDE_MAC, CLIENT_MAC).frame();
    assert_eq!(run(&tables, other, OUTSIDE).0.reason, Reason::Redirected);

    tables.now.set(tables.now.get() + 100_000);
    for _ in 0..3 {
        (0..tables.used.get()).for_each(|slot| _ = sweep::visit(&tables, slot, tables.now.get()));
    }
    assert_eq!((taken(&tables), counted(&tables)), (0, [(0, 0); 4]));
    assert_eq!(tables.free.borrow().len() as u32, tables.used.get());
    assert_eq!(open(&tables).0, Reason::Redirected);
}

#[test]
fn a_persistent_client_s_connections_have_ports_of_one_backend() {
    let scenario = Scenario { persistence: 60, two: true, ports: Some((21, 21)), ..Scenario::new(PLAIN) };
    let tables = tables(&Scenario { flags: FULL_NAT, pool: Pool::AllPorts, ..scenario }, 64);
    let control = BOTH[0].vip.replace(":80", ":21");
    // FTP: the data connection is to a port that the server has chosen.
    let data = BOTH[0].vip.replace(":80", ":50000");
    let mut seen = std::collections::HashSet::new();
    for (port, to) in [(4000, &control), (4001, &data), (4002, &control), (4001, &data)] {
        let client = format!("192.168.2.10:{port}");
        let frame = tcp(&client, to, SYN).link(OUTSIDE_MAC, CLIENT_MAC).frame();
        let (outcome, out) = run(&tables, frame, OUTSIDE);
        assert_eq!(outcome, Outcome { reason: Reason::Redirected, detail: INSIDE });
        assert_eq!(out[26..30], [192, 168, 33, 100], "from the pool");
        seen.insert((out[30..34].to_vec(), out[34..36].to_vec(), out[36..38].to_vec()));
    }
    let backends: std::collections::HashSet<_> = seen.iter().map(|(backend, ..)| backend).collect();
    assert_eq!((seen.len(), backends.len(), taken(&tables)), (3, 1, 3));
}

#[test]
fn a_full_table_gives_the_port_back() {
    let tables = tables(&Scenario { flags: FULL_NAT, pool: Pool::AllPorts, ..Scenario::new(PLAIN) }, 16);
    for port in 1..40 {
        run(&tables, segment(0, port, true, SYN, vec![]).0.link(OUTSIDE_MAC, CLIENT_MAC).frame(), OUTSIDE);
    }
    assert_eq!(taken(&tables), 16);
}
