//! `lb-ctl` killed at every step of a change leaves the old state, the new one, or something that
//! is recognised and cleaned. Needs root and strace.

mod namespace;

use namespace::{LB_CTL, Namespace, until};
use std::{fs::File, os::unix::process::ExitStatusExt as _};

/// The system calls whose effects outlive the process, as strace takes them: `?` for those that not
/// every architecture has.
const STEPS: [&str; 8] = [
    "bpf",
    "?mkdir,?mkdirat",
    "?rename,?renameat,?renameat2",
    "?unlink,?unlinkat",
    "?rmdir",
    "write",
    "openat",
    "sendto",
];

/// Runs `lb-ctl` and kills it at the `nth` call of a kind. Whether it got so far. Behind ` < ` comes the file
/// that it reads.
fn killed_at(namespace: &Namespace, call: &str, nth: u32, arguments: &str) -> bool {
    let inject = format!("--inject={call}:signal=KILL:when={nth}");
    let mut all = vec!["-f", "-qq", "-o", "/dev/null", &inject, LB_CTL];
    let (arguments, input) = arguments.split_once(" < ").unwrap_or((arguments, "/dev/null"));
    all.extend(arguments.split_whitespace());
    let mut command = namespace.command("strace", &all);
    let output = command.stdin(File::open(input).unwrap()).output().expect("strace is needed");
    let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    killed
}

/// Kills a command at each of its steps in turn; `prepare` before each, `check` after.
fn at_every_step(
    namespace: &Namespace,
    arguments: &str,
    prepare: impl FnMut(&Namespace),
    check: impl FnMut(&Namespace, &str),
) -> u32 {
    at_every_call(namespace, &STEPS, arguments, prepare, check)
}

/// The same for these system calls.
fn at_every_call(
    namespace: &Namespace,
    calls: &[&str],
    arguments: &str,
    mut prepare: impl FnMut(&Namespace),
    mut check: impl FnMut(&Namespace, &str),
) -> u32 {
    let mut steps = 0;
    for call in calls {
        for nth in 1.. {
            prepare(namespace);
            let killed = killed_at(namespace, call, nth, arguments);
            check(namespace, &format!("{arguments}, killed at {call} {nth}"));
            if !killed {
                break;
            }
            steps += 1;
        }
    }
    steps
}

#[test]
fn a_killed_load_is_complete_or_cleaned_by_the_next_command() {
    let namespace = Namespace::new();
    let mut complete = 0;
    let steps = at_every_step(
        &namespace,
        "load lan0 lan1 --max-connections 100",
        |_| {},
        |namespace, step| {
            let status = namespace.lb_ctl("status");
            if status.status.success() {
                complete += 1;
                assert_eq!(namespace.attached(), 2, "{step}");
            } else {
                // The links are pinned in the last steps; till then nothing stays attached.
                let attached = namespace.attached();
                assert!(attached == 0 || !namespace.pinned().is_empty(), "{step}: {attached} attached");
            }
            // Half of the times a load comes next, half of the times an unload.
            if step.ends_with(['0', '2', '4', '6', '8']) && !status.status.success() {
                namespace.ok("load lan0 lan1 --max-connections 100");
                assert_eq!(namespace.attached(), 2, "{step}");
            }
            let _ = namespace.lb_ctl("unload");
            namespace.assert_clean();
        },
    );
    println!("{steps} steps, {complete} complete");
    assert!(steps > 50);
}

#[test]
fn a_killed_unload_is_ended_by_the_next() {
    let namespace = Namespace::new();
    at_every_step(
        &namespace,
        "unload",
        |namespace| {
            namespace.ok("load lan0 lan1 --max-connections 100");
        },
        |namespace, step| {
            if namespace.lb_ctl("status").status.success() {
                assert_eq!(namespace.attached(), 2, "{step}");
            }
            let _ = namespace.lb_ctl("unload");
            namespace.assert_clean();
        },
    );
}

#[test]
fn a_killed_upgrade_keeps_the_balancer_whole() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 lan1 --max-connections 100");
    at_every_step(
        &namespace,
        "upgrade",
        |_| {},
        |namespace, step| {
            assert_eq!(namespace.attached(), 2, "{step}");
            let status = namespace.status();
            assert_eq!(status["programs"].as_array().unwrap().len(), 1, "{step}");
        },
    );
    namespace.ok("upgrade");
    namespace.ok("unload");
    namespace.assert_clean();
}

/// The system calls of a change: between any two of them lie its writes to mapped memory.
const CHANGE: [&str; 5] = ["bpf", "membarrier", "?munmap", "write", "flock"];

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
            &CHANGE,
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
        &CHANGE,
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
        &CHANGE,
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

/// The same, and those of files.
const FILES: [&str; 9] = [
    "bpf",
    "membarrier",
    "?munmap",
    "write",
    "flock",
    "openat",
    "?fsync,?fdatasync",
    "?rename,?renameat,?renameat2",
    "?chmod,?fchmod",
];

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
            &FILES,
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
        &FILES,
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
