//! Saving, restoring, applying and undoing configurations, in network namespaces. Needs root.

mod namespace;

use namespace::{LB_CTL, Namespace};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A loaded balancer.
struct Balancer {
    namespace: Namespace,
}

impl Balancer {
    fn new() -> Self {
        Self { namespace: Namespace::loaded() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.namespace.state.join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        self.namespace.file(name, text)
    }

    fn run(&self, arguments: &str) -> Output {
        self.namespace.lb_ctl(arguments)
    }

    fn ok(&self, arguments: &str) -> String {
        self.namespace.ok(arguments)
    }

    fn fails(&self, code: i32, arguments: &str) -> String {
        self.namespace.fails(code, arguments)
    }

    /// All that a configuration says.
    fn shown(&self) -> String {
        self.ok("export")
    }

    fn set_up(&self) {
        self.ok("service add -t 10.9.0.1:80 -s wrr");
        self.ok("backend add -t 10.9.0.1:80 -r 10.9.0.11 -m -w 3 -x 100 -y 50");
        self.ok("backend add -t 10.9.0.1:80 -r 10.9.0.12:8080 -m -w 0");
        self.ok("service add -u 10.9.0.1:53 -s mh -b mh-port");
        self.ok("backend add -u 10.9.0.1:53 -r 10.9.0.13 -g");
        self.ok("set 800 100 60");
        self.ok("sysctl drop_entry=1 sloppy_tcp=1");
    }
}

#[test]
fn what_was_saved_comes_back_exactly() {
    let balancer = Balancer::new();
    balancer.set_up();
    let saved = balancer.path("saved.toml").display().to_string();
    balancer.ok(&format!("save {saved}"));
    let shown = balancer.shown();
    let listed = || ["list -n", "list -n --thresholds", "set", "sysctl"].map(|words| balancer.ok(words));
    let before = listed();
    balancer.ok("clear");
    balancer.ok("set 900 120 300");
    balancer.ok("sysctl drop_entry=0 sloppy_tcp=0 run_estimation=0");
    assert_ne!(balancer.shown(), shown);
    balancer.ok(&format!("restore {saved}"));
    assert_eq!(balancer.shown(), shown);
    assert_eq!(listed(), before);
    assert_eq!(balancer.ok("save"), fs::read_to_string(&saved).unwrap(), "the order too");
}

#[test]
fn full_nat_and_its_pool_come_back_and_stay_with_ipvsadm() {
    let balancer = Balancer::new();
    let warned = balancer.run("snat-pool add 10.9.0.1 10.9.0.77 fd09::77");
    let warnings = String::from_utf8(warned.stderr).unwrap();
    assert!(warned.status.success() && warnings.lines().count() == 2, "{warnings}");
    assert!(
        warnings.contains("ip address add 10.9.0.77/32") && warnings.contains("fd09::77/128"),
        "{warnings}"
    );
    balancer.ok("service add -t 10.9.0.1:80 --fullnat --toa");
    balancer.ok("backend add -t 10.9.0.1:80 -r 10.9.0.11");
    let rows = || serde_json::from_str::<serde_json::Value>(&balancer.ok("snat-pool list --json")).unwrap();
    assert_eq!(
        (&rows()[0]["interface"], &rows()[1]["interface"]),
        (&"lan0".into(), &serde_json::Value::Null)
    );
    let shown = balancer.shown();
    assert!(shown.starts_with("snat-pool = [\"10.9.0.1\", \"10.9.0.77\", \"fd09::77\"]\n"), "{shown}");
    assert!(shown.contains("fullnat = true\ntoa = true\n"), "{shown}");
    let listed = |text: &str| text.contains("10.9.0.11:80") && text.contains("Masq    1");
    assert!(listed(&balancer.ok("ipvsadm -Ln")));

    let saved = balancer.path("saved.toml").display().to_string();
    balancer.ok(&format!("save {saved}"));
    balancer.ok("snat-pool del 10.9.0.1 10.9.0.77");
    balancer.ok("ipvsadm -E -t 10.9.0.1:80 -s rr");
    assert!(balancer.shown().contains("fullnat = true\ntoa = true\n"), "ipvsadm has no word for it");
    balancer.ok("service edit -t 10.9.0.1:80 --no-toa --no-fullnat");
    assert!(!balancer.shown().contains("fullnat"));
    balancer.ok(&format!("restore {saved}"));
    assert_eq!(balancer.shown(), shown);
    let addresses = |rows: serde_json::Value| {
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["address"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(addresses(rows()), ["10.9.0.1", "10.9.0.77", "fd09::77"]);
    balancer.ok("rollback");
    assert_eq!(addresses(rows()), ["fd09::77"]);
    let file = balancer.file("pool.toml", "snat-pool = [\"10.9.0.1\"]\n[[service]]\ntcp = \"10.9.0.1:80\"\n");
    assert!(balancer.ok(&format!("apply {file}")).contains("snat-pool 10.9.0.1"));
    assert_eq!(addresses(rows()), ["10.9.0.1"]);
}

#[test]
fn a_truncated_or_empty_file_is_refused() {
    let balancer = Balancer::new();
    balancer.set_up();
    let whole = balancer.ok("save");
    let shown = balancer.shown();
    // Every line on which a write may have ended, and some places within lines.
    let lines: Vec<_> = whole.match_indices('\n').map(|(at, _)| at).collect();
    for cut in lines[..lines.len() - 1].iter().flat_map(|at| [*at, at + 1, at + 4]) {
        let cut = cut.min(whole.trim_end().len() - 1);
        let file = balancer.file("cut.toml", &whole[..cut]);
        for command in ["restore", "apply", "check"] {
            balancer.fails(2, &format!("{command} {file}"));
        }
        assert_eq!(balancer.shown(), shown, "cut at {cut}");
    }
    for text in ["", "\n\n", "# nothing\n"] {
        let file = balancer.file("empty.toml", text);
        balancer.fails(2, &format!("restore {file}"));
        balancer.fails(2, &format!("apply {file}"));
    }
    assert_eq!(balancer.shown(), shown);
}

#[test]
fn an_error_names_line_and_column_and_changes_nothing() {
    let balancer = Balancer::new();
    balancer.set_up();
    let shown = balancer.shown();
    for (text, place, part) in [
        ("[[service]]\ntcp = \"10.9.0.1:80\"\nscheduler = \"wlcc\"\n", "3:13", "'wlcc'"),
        ("[[service]]\ntcp = \"10.9.0.999:80\"\n", "2:7", "not an IPv4 address"),
        ("[[service]]\ntcp = \"10.9.0.1:80\"\nwieght = 3\n", "3:1", "wieght"),
        ("[[service]]\ntcp = \"10.9.0.1:80\"\n[[service]]\ntcp = \"10.9.0.1:80\"\n", "3:1", "line 1"),
        (
            "[[service]]\ntcp = \"10.9.0.1:80\"\n[[service.backend]]\naddress = \"10.9.0.7\"\nweight = -1\n",
            "5:10",
            "from 0 to",
        ),
        ("[timeouts]\ntcp = 0\n", "2:7", "from 1 to"),
        ("[sysctls]\ndrop_entry = 4\n", "2:14", "from 0 to 3"),
        ("[sysctls]\nsloppy_tcp = 1\nconntrack = 1\n", "3:1", "netfilter"),
        ("[sysctls]\nsloppy_udp = 1\n", "2:1", "'sloppy_udp'"),
        ("[timeouts]\ntcp = \"900\"\n", "2:7", "expected a number"),
        ("[[service]]\nscheduler = \"rr\"\n", "1:1", "tcp, udp, sctp and mark"),
        ("[[service]]\ntcp = 10.9.0.1\n", "2:", ""),
        ("[[service]]\ntcp = \"10.9.0.1:0\"\n", "1:1", "must be persistent"),
        ("snat-pool = [\"10.9.0.1\", \"eth0\"]\n", "1:26", "'eth0'"),
        ("[[service]]\nudp = \"10.9.0.1:53\"\nfullnat = true\none-packet = true\n", "1:1", "-o"),
        (
            "[[service]]\ntcp = \"10.9.0.1:80\"\nfullnat = true\n[[service.backend]]\naddress = \"10.9.0.7\"\n\
             method = \"gatewaying\"\n",
            "5:11",
            "with -m only",
        ),
    ] {
        let file = balancer.file("wrong.toml", text);
        for command in ["check", "apply", "diff"] {
            let error = balancer.fails(2, &format!("{command} {file}"));
            assert!(error.contains(&format!("wrong.toml:{place}")) && error.contains(part), "{error}");
        }
    }
    for (line, place) in [
        ("-a -t 10.9.0.5:80 -r 10.9.0.7:80 -m -w x\n", "2:40"),
        ("  ipvsadm -a -t 10.9.0.5:80 -r 10.9.0.700:80\n", "2:32"),
        ("-a -t 10.9.0.5:81 -r 10.9.0.7:80\n", "2:7"),
        ("-a -t 10.9.0.5:80 -r 224.0.0.1:80\n", "2:22"),
        ("-A -u 10.9.0.5:80 -s wlcc\n", "2:22"),
        ("-A -u 10.9.0.5:80 -s sh -b mh-port\n", "2:28"),
        ("-A -u 10.9.0.5:80 -s rr --nosuch\n", "2:25"),
        ("--set 900 12o 300\n", "2:11"),
        (" -L -n\n", "2:2"),
        ("-A -u 10.9.0.5:80", "2:18"),
    ] {
        let file = balancer.file("rules", &format!("-A -t 10.9.0.5:80 -s rr\n{line}"));
        let error = balancer.fails(2, &format!("restore {file}"));
        assert!(error.contains(&format!("rules:{place}: ")), "{line}{error}");
    }
    assert_eq!(balancer.shown(), shown);
}

#[test]
fn files_of_ipvsadm_are_read_as_they_are() {
    let balancer = Balancer::new();
    let text = "# ipvsadm.rules\n\n-A -t 10.9.0.1:80 -s wlc\n-a -t 10.9.0.1:80 -r 10.9.0.11:80 -m -w 2\n\
                -A -u 10.9.0.1:53 -s rr\n-a -u 10.9.0.1:53 -r 10.9.0.12:53 -g -w 1\n";
    let file = balancer.file("ipvsadm.rules", text);
    balancer.ok(&format!("restore {file}"));
    let listed = balancer.ok("list -n");
    assert!(listed.contains("TCP  10.9.0.1:80 wlc") && listed.contains("10.9.0.12:53"), "{listed}");
    assert_eq!(
        balancer.ok("ipvsadm -Sn"),
        text.lines().skip(2).map(|line| format!("{line}\n")).collect::<String>()
    );
    // Thresholds are not in such a file, which says nothing about them.
    balancer.ok("backend edit -t 10.9.0.1:80 -r 10.9.0.11 -x 20 -y 10");
    // Again: nothing to do, so nothing for the history.
    let history = balancer.ok("history");
    balancer.ok(&format!("restore {file}"));
    assert_eq!(balancer.ok("history"), history);
    let thresholds = || balancer.ok("list -n --thresholds").contains(" 20         10 ");
    assert!(thresholds());
    let named = balancer.file("named", &text.replace("-w 2", "-w 2 -x 30"));
    balancer.ok(&format!("restore {named}"));
    assert!(balancer.ok("list -n --thresholds").contains(" 30         0 "));
    balancer.ok("rollback");
    assert!(thresholds());
    // ipvsadm-restore adds each server anew, as in IPVS.
    let restore = format!("exec -a ipvsadm-restore {LB_CTL} < {file}");
    assert!(balancer.namespace.command("bash", &["-c", &restore]).status().unwrap().success());
    assert!(!thresholds());
    let cut = balancer.file("cut", text.trim_end());
    balancer.fails(2, &format!("restore {cut}"));
}

#[test]
fn apply_makes_the_smallest_change_and_twice_none() {
    let balancer = Balancer::new();
    balancer.set_up();
    let text = balancer.shown();
    let wanted = text.replace("weight = 3", "weight = 5").replace("tcpfin = 100", "tcpfin = 90");
    let wanted = wanted.replace("sloppy_tcp = 1", "sloppy_tcp = 0");
    let file = balancer.file("services.toml", &wanted);
    let difference = balancer.run(&format!("diff {file}"));
    assert_eq!(difference.status.code(), Some(1));
    let difference = String::from_utf8(difference.stdout).unwrap();
    assert_eq!(
        difference,
        "~ timeouts tcpfin 100 => 90\n~ sysctl sloppy_tcp 1 => 0\n\
         ~ tcp 10.9.0.1:80 -> 10.9.0.11:80 weight 3 => 5\n"
    );
    assert_eq!(balancer.ok(&format!("apply --dry-run {file}")), difference);
    assert_eq!(balancer.shown(), text);
    assert_eq!(balancer.ok(&format!("apply {file}")), difference);
    assert_eq!(balancer.shown(), wanted);
    assert_eq!(balancer.ok(&format!("apply {file}")), "");
    assert_eq!(balancer.ok(&format!("diff {file}")), "");
}

#[test]
fn settings_that_a_file_does_not_name_stay() {
    let balancer = Balancer::new();
    balancer.set_up();
    let settings = || balancer.ok("set") + &balancer.ok("sysctl");
    let before = settings();
    let text = "[[service]]\ntcp = \"10.9.0.1:80\"\nscheduler = \"rr\"\n";
    balancer.ok(&format!("apply {}", balancer.file("services.toml", text)));
    balancer.ok(&format!("restore {}", balancer.file("rules", "-A -t 10.9.0.1:81 -s rr\n")));
    assert_eq!(settings(), before);
    let text = "[timeouts]\nudp = 7\n[sysctls]\nconn_reuse_mode = 0\n[[service]]\ntcp = \"10.9.0.1:80\"\n";
    balancer.ok(&format!("apply {}", balancer.file("services.toml", text)));
    let named =
        before.replace("800 100 60", "800 100 7").replace("conn_reuse_mode = 1", "conn_reuse_mode = 0");
    assert_eq!(settings(), named);
}

#[test]
fn rollback_undoes_change_by_change() {
    let balancer = Balancer::new();
    balancer.set_up();
    let first = balancer.shown();
    balancer.ok("service del -t 10.9.0.1:80");
    let second = balancer.shown();
    balancer.ok("service edit -u 10.9.0.1:53 -s sh");
    balancer.ok("set 0 0 70");
    balancer.ok("sysctl sloppy_tcp=0 expire_nodest_conn=1");
    for _ in 0..2 {
        balancer.ok("rollback");
    }
    balancer.ok("rollback");
    assert_eq!(balancer.shown(), second);
    balancer.ok("rollback");
    // The service came back as one that was added last.
    let sorted = |text: &str| {
        let mut parts: Vec<_> = text.split("[[service]]").map(|part| part.trim().to_owned()).collect();
        parts.sort();
        parts
    };
    assert_eq!(sorted(&balancer.shown()), sorted(&first));
    let history = balancer.ok("history");
    assert!(history.contains("service del -t 10.9.0.1:80") && history.contains("(undid "), "{history}");
    for _ in 0..7 {
        balancer.ok("rollback");
    }
    let error = balancer.fails(1, "rollback");
    assert!(error.contains("no change to undo"), "{error}");
    assert_eq!(balancer.ok("list -n").lines().count(), 3);
}

#[test]
fn a_full_or_read_only_disk_hinders_no_change() {
    let balancer = Balancer::new();
    balancer.set_up();
    let disk = balancer.namespace.state.clone();
    let saved = disk.join("saved.toml").display().to_string();
    let _small = Mount::tmpfs(&disk, "size=64k");
    balancer.ok(&format!("save {saved}"));
    let old = fs::read_to_string(&saved).unwrap();
    while fs::write(
        disk.join("filler"),
        vec![0; fs::metadata(disk.join("filler")).map_or(4096, |about| about.len() as usize + 4096)],
    )
    .is_ok()
    {}

    let output = balancer.run("set 700 0 0");
    assert!(output.status.success());
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.contains("rollback will not know it") && warning.lines().count() == 1, "{warning}");
    assert!(balancer.ok("set").contains(": 700 "));
    let error = balancer.fails(1, &format!("save {saved}"));
    assert!(error.contains("it is as it was"), "{error}");
    assert_eq!(fs::read_to_string(&saved).unwrap(), old);
    assert_eq!(leftovers(&disk), 0);

    fs::remove_file(disk.join("filler")).unwrap();
    namespace::run("mount", &["-o", "remount,ro", disk.to_str().unwrap()]);
    let output = balancer.run("set 600 0 0");
    assert!(output.status.success() && !output.stderr.is_empty());
    balancer.fails(1, &format!("save {saved}"));
    assert_eq!(fs::read_to_string(&saved).unwrap(), old);
}

struct Mount(PathBuf);

impl Mount {
    fn tmpfs(path: &Path, options: &str) -> Self {
        namespace::run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", path.to_str().unwrap()]);
        Self(path.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Unfinished files.
fn leftovers(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with("-new")).count()
}

#[test]
fn of_two_writers_one_wins_as_a_whole() {
    let balancer = Balancer::new();
    balancer.set_up();
    let one = balancer.file("one.toml", &balancer.shown());
    let two = balancer.file("two.toml", &balancer.shown().replace("10.9.0.1:", "10.9.0.2:"));
    let saved = balancer.path("saved.toml").display().to_string();
    for _ in 0..5 {
        let children = [
            format!("apply {one}"),
            format!("apply {two}"),
            format!("save {saved}"),
            format!("save {saved}"),
        ];
        let children = children.map(|arguments| {
            let words: Vec<_> = arguments.split_whitespace().collect();
            let mut command = balancer.namespace.command(LB_CTL, &words);
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        });
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let same = |file: &str| balancer.run(&format!("diff {file}")).status.success();
        assert!(same(&one) != same(&two));
        assert!(
            same(&saved) || balancer.ok(&format!("check {saved}")).contains("2 services with 3 backends")
        );
    }
}
