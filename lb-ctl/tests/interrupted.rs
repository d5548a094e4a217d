//! `lb-ctl` killed at every step of a change leaves the old state, the new one, or something that
//! is recognised and cleaned. Needs root and strace.

mod namespace;

use namespace::{LB_CTL, Namespace, until};
use std::{collections::HashMap, fs::File, os::unix::process::ExitStatusExt as _, process::Output, thread};

/// The system calls whose effects may outlive the process, as strace takes them: `?` for those that not
/// every architecture has.
const STEPS: &str =
    "bpf,?mkdir,?mkdirat,?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir,write,openat,sendto";

/// Commands of `bpf` that read, or make what is gone with the process: to be killed there is to be killed at
/// the next call that lasts.
const PASSING: [&str; 12] = [
    "BPF_BTF_GET_FD_BY_ID",
    "BPF_BTF_LOAD",
    "BPF_LINK_GET_FD_BY_ID",
    "BPF_MAP_CREATE",
    "BPF_MAP_GET_FD_BY_ID",
    "BPF_MAP_GET_NEXT_KEY",
    "BPF_MAP_LOOKUP_ELEM",
    "BPF_OBJ_GET",
    "BPF_OBJ_GET_INFO_BY_FD",
    "BPF_PROG_GET_FD_BY_ID",
    "BPF_PROG_LOAD",
    "BPF_PROG_QUERY",
];

/// The system calls of a change: between any two of them lie its writes to mapped memory.
const CHANGE: &str = "bpf,membarrier,?munmap,write,flock";

/// The same, and those of files.
const FILES: &str = "bpf,membarrier,?munmap,write,flock,openat,?fsync,?fdatasync,?rename,?renameat,?renameat2,\
                     ?chmod,?fchmod";

/// Those that open the maps, all before anything is written to them.
const OPENING: [&str; 2] = ["BPF_OBJ_GET", "BPF_OBJ_GET_INFO_BY_FD"];

/// Runs `lb-ctl` under strace. Behind ` < ` comes the file that it reads.
fn traced(namespace: &Namespace, options: &[&str], arguments: &str) -> Output {
    let (arguments, input) = arguments.split_once(" < ").unwrap_or((arguments, "/dev/null"));
    let mut all = [&["-f", "-qq"], options, &[LB_CTL]].concat();
    all.extend(arguments.split_whitespace());
    let mut command = namespace.command("strace", &all);
    command.stdin(File::open(input).unwrap()).output().expect("strace is needed")
}

/// Runs `lb-ctl` and kills it at the `nth` call of a name in one of its threads. Whether it got so far.
fn killed_at(namespace: &Namespace, call: &str, nth: u32, arguments: &str) -> bool {
    let inject = format!("--inject={call}:signal=KILL:when={nth}");
    let output = traced(namespace, &["-o", "/dev/null", &inject], arguments);
    let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    killed
}

/// Kills a command at each of its steps in turn; `prepare` before each, `check` after. A run that is not killed
/// shows the steps: these system calls, but for those commands of `bpf` and for files that are only read.
fn at_every_call(
    namespace: &Namespace,
    (calls, but): (&str, &[&str]),
    arguments: &str,
    mut prepare: impl FnMut(&Namespace),
    mut check: impl FnMut(&Namespace, &str),
) -> usize {
    prepare(namespace);
    let record = namespace.state.join("calls").display().to_string();
    let output = traced(namespace, &["-o", &record, "-e", calls], arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let steps = steps(&std::fs::read_to_string(&record).unwrap(), but);
    check(namespace, &format!("{arguments}, not killed"));
    let mut killed = 0;
    for (call, nth) in &steps {
        prepare(namespace);
        killed += usize::from(killed_at(namespace, call, *nth, arguments));
        check(namespace, &format!("{arguments}, killed at {call} {nth}"));
    }
    // What it reads on its way may be a little less than in the first run.
    assert!(killed + steps.len() / 10 >= steps.len(), "{arguments}: killed at {killed} of {}", steps.len());
    killed
}

/// The calls of a record at which the command is to be killed: the how manieth of its name each is in its thread.
fn steps(record: &str, but: &[&str]) -> Vec<(String, u32)> {
    let (mut counts, mut steps) = (HashMap::new(), Vec::new());
    for (thread, call) in record.lines().filter_map(|line| line.split_once(' ')) {
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        // What is not a call is the second half of one, or a signal.
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            continue;
        }
        let count = counts.entry((thread, name)).and_modify(|count| *count += 1).or_insert(1);
        let is_step = match name {
            "bpf" => !but.iter().any(|command| rest.starts_with(&format!("{command},"))),
            "openat" => ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| rest.contains(flag)),
            _ => true,
        };
        if is_step {
            steps.push((name.to_owned(), *count));
        }
    }
    steps
}

/// Each kind of program, and how many of it there are. tc has two ways to hold one.
const HOOKS: [(&str, fn(&Namespace) -> usize); 3] =
    [("xdp", Namespace::attached), ("tc", Namespace::attached_by_tc), ("clsact", Namespace::attached_by_tc)];

#[test]
fn a_killed_load_is_complete_or_cleaned_by_the_next_command() {
    with_every_hook(killed_load);
}

fn killed_load(hook: &str, attached: fn(&Namespace) -> usize) {
    let namespace = Namespace::new();
    let load = format!("load lan0 lan1 --hook {hook} --max-connections 100");
    let (mut complete, mut loads) = (0, false);
    let steps = at_every_call(
        &namespace,
        (STEPS, &PASSING),
        &load,
        |_| {},
        |namespace, step| {
            let status = namespace.lb_ctl("status");
            if status.status.success() {
                complete += 1;
                assert_eq!(attached(namespace), 2, "{step}");
            } else {
                // Links are pinned in the last steps; till then nothing stays attached. A filter has its pin before.
                let attached = attached(namespace);
                assert!(attached == 0 || !namespace.pinned().is_empty(), "{step}: {attached} attached");
            }
            // Half of the times a load comes next, half of the times an unload.
            loads = !loads;
            if loads && !status.status.success() {
                namespace.ok(&load);
                assert_eq!(attached(namespace), 2, "{step}");
            }
            let _ = namespace.lb_ctl("unload");
            namespace.assert_clean();
            assert!(!namespace.tc("qdisc show").contains("clsact"), "{step}");
        },
    );
    println!("{hook}: {steps} steps, {complete} complete");
    assert!(steps > 50);
}

#[test]
fn a_killed_unload_is_ended_by_the_next() {
    with_every_hook(killed_unload);
}

fn killed_unload(hook: &str, attached: fn(&Namespace) -> usize) {
    let namespace = Namespace::new();
    at_every_call(
        &namespace,
        (STEPS, &PASSING),
        "unload",
        |namespace| {
            namespace.ok(&format!("load lan0 lan1 --hook {hook} --max-connections 100"));
        },
        |namespace, step| {
            if namespace.lb_ctl("status").status.success() {
                assert_eq!(attached(namespace), 2, "{step}");
            }
            let _ = namespace.lb_ctl("unload");
            namespace.assert_clean();
            assert!(!namespace.tc("qdisc show").contains("clsact"), "{step}");
        },
    );
}

#[test]
fn a_killed_upgrade_keeps_the_balancer_whole() {
    with_every_hook(killed_upgrade);
}

fn killed_upgrade(hook: &str, attached: fn(&Namespace) -> usize) {
    let namespace = Namespace::new();
    namespace.ok(&format!("load lan0 lan1 --hook {hook} --max-connections 100"));
    at_every_call(
        &namespace,
        (STEPS, &PASSING),
        "upgrade",
        |_| {},
        |namespace, step| {
            assert_eq!(attached(namespace), 2, "{step}");
            let status = namespace.status();
            assert_eq!(status["programs"].as_array().unwrap().len(), 1, "{step}");
        },
    );
    namespace.ok("upgrade");
    namespace.ok("unload");
    namespace.assert_clean();
}

/// Does it with each kind of program at the same time.
fn with_every_hook(test: fn(&str, fn(&Namespace) -> usize)) {
    thread::scope(|scope| {
        for (hook, attached) in HOOKS {
            scope.spawn(move || test(hook, attached));
        }
    });
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
            (CHANGE, &OPENING),
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
        (CHANGE, &OPENING),
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
        (CHANGE, &OPENING),
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
            (FILES, &OPENING),
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
        (FILES, &OPENING),
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
