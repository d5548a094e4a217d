//! `nat_icmp_send`: which servers are answered follows the configuration. Needs root.

mod namespace;

use namespace::{Namespace, until};
use std::{fs::File, net::UdpSocket, os::fd::AsRawFd as _, thread};

/// A datagram from where the server answers, to nobody who has asked.
fn sends(namespace: &Namespace) {
    let far = File::open(format!("/run/netns/{}", namespace.far)).unwrap();
    let send = || {
        // SAFETY: moves this thread, which ends with the datagram, and nothing else.
        assert_eq!(unsafe { libc::setns(far.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
        UdpSocket::bind("10.9.0.2:7000").unwrap().send_to(&[0], "10.9.0.1:9").unwrap();
    };
    thread::scope(|scope| scope.spawn(send).join().unwrap());
}

/// Packets that were answered, and that were left to the host.
fn counted(namespace: &Namespace) -> (u64, u64) {
    let rows: serde_json::Value = serde_json::from_str(&namespace.ok("counters --json")).unwrap();
    let of = |part: &str| {
        let rows = rows.as_array().unwrap().iter();
        let rows = rows.filter(|row| row["reason"].as_str().unwrap().contains(part));
        rows.map(|row| row["packets"].as_u64().unwrap()).sum()
    };
    // On a plain veth the kernel sends the answer.
    (
        of("nat_icmp_send is set: answered") + of("answered with an ICMP error"),
        of("no service and no connection"),
    )
}

#[test]
fn who_is_answered_follows_the_configuration() {
    let namespace = Namespace::loaded();
    namespace.ok("service add -u 10.9.0.1:7000");
    namespace.ok("backend add -u 10.9.0.1:7000 -r 10.9.0.2:7000 -m");
    let is_answered = |what: &str| {
        let before = counted(&namespace);
        sends(&namespace);
        until(what, || counted(&namespace) != before);
        let (answered, left) = counted(&namespace);
        assert_eq!(answered + left, before.0 + before.1 + 1, "{what}");
        answered > before.0
    };
    assert!(!is_answered("not set"));
    namespace.ok("sysctl nat_icmp_send=1");
    assert!(is_answered("set"));
    namespace.ok("backend edit -u 10.9.0.1:7000 -r 10.9.0.2:7000 -w 0");
    assert!(is_answered("without weight"));
    namespace.ok("backend edit -u 10.9.0.1:7000 -r 10.9.0.2:7000 -i");
    assert!(!is_answered("by another method"));
    namespace.ok("rollback");
    assert!(is_answered("by NAT again"));
    namespace.ok("clear");
    namespace.ok("service add -t 10.9.0.1:80");
    assert!(!is_answered("deleted"));
    namespace.ok("service add -f 1");
    namespace.ok("backend add -f 1 -r 10.9.0.2:7000 -m");
    assert!(is_answered("a mark's"));
    namespace.ok("upgrade");
    assert!(is_answered("after an upgrade"));
    namespace.ok("sysctl nat_icmp_send=0");
    assert!(!is_answered("not set any more"));
}
