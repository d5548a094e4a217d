//! `lb-ctl` killed at every step of a change leaves the old state, the new one, or something that
//! is recognised and cleaned. Needs root and strace.

#[path = "../namespace/mod.rs"]
mod namespace;
mod programs;
mod strace;

use namespace::{Namespace, until};
use strace::at_every_call;

/// The system calls of a change: between any two of them lie its writes to mapped memory.
const CHANGE: &str = "bpf,membarrier,?munmap,write,flock";

/// The same, and those of files.
const FILES: &str = "bpf,membarrier,?munmap,write,flock,openat,?fsync,?fdatasync,?rename,?renameat,?renameat2,\
                     ?chmod,?fchmod";

/// Those that open the maps, all before anything is written to them.
fn opens(call: &str) -> bool {
    ["BPF_OBJ_GET,", "BPF_OBJ_GET_INFO_BY_FD,"].iter().any(|command| call.starts_with(command))
}

#[test]
fn a_killed_change_leaves_the_old_services_or_the_new_ones() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 lan1 --max-connections 100");
    // A change, and the one that takes it back.
    let changes = [
        ("service add -t 10.9.0.1:80 -s rr", "service del -t 10.9.0.1:80"),
        ("backend add -t 10.9.0.1:81 -r 10.9.0.13 -m -w 3", "backend del -t 10.9.0.1:81 -r 10.9.0.13"),
        (
            "backend edit -t 10.9.0.1:81 -r 10.9.0.12 -w 7 -x 9 -y 5",
            "backend edit -t 10.9.0.1:81 -r 10.9.0.12 -w 1 -x 0 -y 0",
        ),
        ("service edit -t 10.9.0.1:81 -s mh -b mh-port", "service edit -t 10.9.0.1:81 -s wlc"),
    ];
    namespace.ok("service add -t 10.9.0.1:81 -s wlc");
    namespace.ok("backend add -t 10.9.0.1:81 -r 10.9.0.11 -m");
    namespace.ok("backend add -t 10.9.0.1:81 -r 10.9.0.12 -m");
    let shown = |namespace: &Namespace| namespace.ok("list -n") + &namespace.ok("list -n --thresholds");
    for (there, back) in changes {
        let old = shown(&namespace);
        namespace.ok(there);
        let new = shown(&namespace);
        assert_ne!(old, new);
        namespace.ok(back);
        assert_eq!(shown(&namespace), old);
        let mut outcomes = [0, 0];
        at_every_call(
            &namespace,
            (CHANGE, opens),
            there,
            |_| {},
            |namespace, step| {
                let now = shown(namespace);
                assert!(now == old || now == new, "{step}: neither the old state nor the new one:\n{now}");
                outcomes[usize::from(now == new)] += 1;
                if now == new {
                    namespace.ok(back);
                    assert_eq!(shown(namespace), old, "{step}: taken back");
                }
            },
        );
        assert!(outcomes[0] > 0 && outcomes[1] > 0, "{there}: {outcomes:?}");
    }
    namespace.ok("clear");
    namespace.ok("unload");
}

#[test]
fn persistent_clients_follow_no_change_that_was_killed() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 lan1 --max-connections 1000");
    namespace.ok("sysctl expire_quiescent_template=1");
    namespace.ok("service add -u 10.9.0.1:53 -s rr -p 300");
    namespace.ok("backend add -u 10.9.0.1:53 -r 10.9.0.2 -m");
    // All connections and templates, and the templates whose backend takes no more.
    let rows = |namespace: &Namespace| {
        let rows = namespace.ok("list -n --connections");
        (rows.lines().count(), rows.matches("10.9.0.1:65535").count())
    };
    let mut outcomes = [0, 0];
    at_every_call(
        &namespace,
        (CHANGE, opens),
        "backend edit -u 10.9.0.1:53 -r 10.9.0.2 -w 0",
        |namespace| {
            namespace.ok("backend edit -u 10.9.0.1:53 -r 10.9.0.2 -w 1");
            let before = rows(namespace);
            namespace.datagram("10.9.0.1:53");
            until("the client's template", || rows(namespace) != before);
        },
        |namespace, step| {
            let is_new = namespace.ok("list -n").contains("Masq    0 ");
            outcomes[usize::from(is_new)] += 1;
            let (all, ended) = rows(namespace);
            namespace.datagram("10.9.0.1:53");
            until(step, || rows(namespace) != (all, ended));
            let expected = if is_new { (all, ended + 1) } else { (all + 1, ended) };
            assert_eq!(rows(namespace), expected, "{step}");
        },
    );
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

#[test]
fn counters_start_anew_with_the_other_lines_of_a_restore() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 lan1 --max-connections 1000");
    namespace.ok("service add -u 10.9.0.1:53 -s rr");
    namespace.ok("backend add -u 10.9.0.1:53 -r 10.9.0.2 -m");
    let lines = namespace.state.join("lines");
    std::fs::write(&lines, "-Z\n-A -u 10.9.0.1:54 -s rr\n").unwrap();
    let carried = |namespace: &Namespace| {
        let rows = namespace.ok("list -n --stats");
        let row = rows.lines().find(|row| row.contains("-> 10.9.0.2:53")).unwrap();
        row.split_whitespace().nth(2).unwrap().parse::<u32>().unwrap()
    };
    let mut outcomes = [0, 0];
    at_every_call(
        &namespace,
        (CHANGE, opens),
        &format!("ipvsadm -R < {}", lines.display()),
        |namespace| {
            let _ = namespace.lb_ctl("service del -u 10.9.0.1:54");
            let before = carried(namespace);
            namespace.datagram("10.9.0.1:53");
            until("a datagram", || carried(namespace) > before);
        },
        |namespace, step| {
            let is_zero = carried(namespace) == 0;
            outcomes[usize::from(is_zero)] += 1;
            assert!(!is_zero || namespace.ok("list -n").contains("10.9.0.1:54"), "{step}");
        },
    );
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

#[test]
fn a_killed_restore_or_apply_leaves_one_of_the_two_configurations() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 lan1 --max-connections 100");
    let file = |name: &str| namespace.state.join(name).display().to_string();
    let (old_file, new_file) = (file("old.toml"), file("new.toml"));
    // Two services change, one goes, one comes, and settings and firewall marks change.
    namespace.ok("mark add 7 -d 10.9.0.1 -p tcp --dport 80");
    for number in 0..3 {
        namespace.ok(&format!("service add -t 10.9.0.1:8{number} -s wrr"));
        namespace.ok(&format!("backend add -t 10.9.0.1:8{number} -r 10.9.0.11 -m -w 2"));
    }
    namespace.ok(&format!("save {old_file}"));
    let old = namespace.ok("export");
    let new = old.replace("weight = 2", "weight = 3").replace(":82", ":92").replace("udp = 300", "udp = 30");
    let new = new.replace("drop_entry = 0", "drop_entry = 3").replace("dport = \"80\"", "dport = \"90\"");
    assert_ne!(old, new);
    std::fs::write(&new_file, &new).unwrap();
    for command in ["apply", "restore"] {
        let arguments = if command == "apply" {
            format!("apply {new_file}")
        } else {
            namespace.ok(&format!("apply {new_file}"));
            let saved = file("saved.toml");
            namespace.ok(&format!("save {saved}"));
            format!("restore {saved}")
        };
        let mut outcomes = [0, 0];
        at_every_call(
            &namespace,
            (FILES, opens),
            &arguments,
            |namespace| {
                namespace.ok(&format!("restore {old_file}"));
            },
            |namespace, step| {
                let is = |file: &str| namespace.lb_ctl(&format!("diff {file}")).status.success();
                let (is_old, is_new) = (is(&old_file), is(&new_file));
                assert!(is_old != is_new, "{step}: neither of the two:\n{}", namespace.ok("export"));
                outcomes[usize::from(is_new)] += 1;
            },
        );
        assert!(outcomes[0] > 0 && outcomes[1] > 0, "{command}: {outcomes:?}");
    }
    namespace.ok("unload");
}

#[test]
fn a_killed_save_leaves_one_of_the_two_files() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 lan1 --max-connections 100");
    namespace.ok("service add -t 10.9.0.1:80 -s wrr");
    let saved = namespace.state.join("saved.toml");
    let saved = saved.display().to_string();
    namespace.ok(&format!("save {saved}"));
    let old = std::fs::read_to_string(&saved).unwrap();
    namespace.ok("service add -t 10.9.0.1:81 -s wrr");
    let new = namespace.ok("save");
    let mut outcomes = [0, 0];
    at_every_call(
        &namespace,
        (FILES, opens),
        &format!("save {saved}"),
        |_| std::fs::write(&saved, &old).unwrap(),
        |_, step| {
            let now = std::fs::read_to_string(&saved).unwrap();
            assert!(now == old || now == new, "{step}: {now}");
            outcomes[usize::from(now == new)] += 1;
        },
    );
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
    namespace.ok("unload");
}
