//! Loading, looking at, replacing and unloading the program, in network namespaces. Needs root.

mod namespace;

use aya::maps::{DevMap, Map, MapData};
use namespace::{LB_CTL, Namespace, until};
use std::{process::Stdio, thread::sleep, time::Duration};

#[test]
fn a_load_stays_until_unload_leaves_nothing() {
    let namespace = Namespace::new();
    let printed = namespace.ok("load lan0 lan1");
    assert!(printed.contains("lan0: attached (native)"), "{printed}");
    assert_eq!(namespace.attached(), 2);
    assert_eq!(namespace.accept_local(), "1");

    let status = namespace.status();
    assert_eq!(status["max_connections"], 1 << 20);
    assert_eq!(status["trace"], "off");
    assert!(status["memory_bytes"].as_u64().unwrap() > 100 << 20);
    let lan0 = status["interfaces"].as_array().unwrap().iter().find(|row| row["name"] == "lan0").unwrap();
    assert_eq!((lan0["mode"].as_str(), lan0["sends"].as_str()), (Some("native"), Some("kernel")));

    namespace.ok("unload");
    namespace.assert_clean();
}

#[test]
fn a_veth_is_sent_to_by_xdp_once_its_far_end_has_gro() {
    let namespace = Namespace::new();
    let gro = ["netns", "exec", &namespace.far, "ethtool", "-K", "far1", "gro", "on"];
    namespace::run("ip", &gro);
    namespace.ok("load lan0 --max-connections 1000");
    let status = namespace.status();
    let sends =
        |name| status["interfaces"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(sends("lan0")["sends"], "kernel");
    let expected = if tells_features() { "xdp" } else { "kernel" };
    assert_eq!(sends("lan1")["sends"], expected, "{status}");

    let map = MapData::from_pin(namespace.pinned().pop().expect("a load").join("EXITS")).unwrap();
    let exits = DevMap::try_from(Map::DevMap(map)).unwrap();
    assert_eq!(exits.iter().filter(Result::is_ok).count(), usize::from(tells_features()));
}

/// Linux 6.3 and later tell what an interface can do.
fn tells_features() -> bool {
    let release = namespace::run("uname", &["-r"]);
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 3)
}

#[test]
fn a_driver_without_native_xdp_gets_tc() {
    let namespace = Namespace::new();
    let error = namespace.fails(1, "load lan0 bridge0 --mode native --max-connections 1000");
    assert_eq!(error, "lb-ctl: the driver of bridge0 takes no native XDP program: --mode auto\n");
    namespace.assert_clean();

    let printed = namespace.ok("load lan0 bridge0 --max-connections 1000");
    assert!(printed.contains("lan0: attached (native)"), "{printed}");
    assert!(printed.contains("bridge0: attached (tc): its driver takes no XDP program"), "{printed}");
    let status = namespace.status();
    assert_eq!(status["programs"].as_array().unwrap().len(), 2);
    let row = |name| status["interfaces"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("lan0")["choice"], "its driver takes XDP programs");
    assert_eq!(
        (&row("bridge0")["mode"], &row("bridge0")["choice"]),
        (&"tc".into(), &"its driver takes no XDP program".into())
    );
    namespace.ok("upgrade");
    namespace.ok("unload");
    namespace.assert_clean();

    namespace.ok("load lan0 --mode generic --max-connections 1000");
    assert_eq!(namespace.status()["programs"][0]["mode"], "generic");
    namespace.ok("unload");
    namespace.assert_clean();
}

#[test]
fn tc_is_attached_replaced_and_taken_away() {
    for hook in ["tc", "clsact"] {
        let namespace = Namespace::new();
        // One interface has the discipline, with a filter of somebody else's.
        namespace.tc("qdisc add dev lan1 clsact");
        let nothing =
            ["filter", "add", "dev", "lan1", "egress", "bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1"];
        namespace::run("tc", &[&["-n", &namespace.name], &nothing[..]].concat());
        let before = namespace.tc("filter show dev lan1 egress");

        let printed = namespace.ok(&format!("load lan0 lan1 --hook {hook} --max-connections 1000"));
        assert!(printed.contains("lan0: attached (tc)\n"), "{printed}");
        assert!(!namespace.ok("status").contains("kernel"), "how XDP would send is of no use here");
        assert_eq!(namespace.attached(), 0, "no XDP");
        let program = || namespace.status()["programs"][0]["id"].as_u64().unwrap();
        let first = program();
        namespace.ok("upgrade");
        assert!(program() > first);
        let status = namespace.status();
        for lan in &status["interfaces"].as_array().unwrap()[1..3] {
            assert_eq!(
                (&lan["mode"], &lan["choice"]),
                (&"tc".into(), &"as was asked for".into()),
                "{status}"
            );
        }
        let filters = namespace.tc("filter show dev lan0 ingress");
        assert_eq!(filters.contains(&format!("id {}", program())), hook == "clsact", "{filters}");

        // What is attached counts packets.
        namespace.flood(20).wait().unwrap();
        let counters: serde_json::Value = serde_json::from_str(&namespace.ok("counters --json")).unwrap();
        assert!(
            counters.as_array().unwrap().iter().any(|row| row["packets"].as_u64() >= Some(20)),
            "{counters}"
        );

        namespace.ok("unload");
        namespace.assert_clean();
        assert_eq!(namespace.tc("filter show dev lan0 ingress"), "");
        assert!(!namespace.tc("qdisc show dev lan0").contains("clsact"));
        assert!(namespace.tc("qdisc show dev lan1").contains("clsact"), "it was there before");
        assert_eq!(namespace.tc("filter show dev lan1 egress"), before);
        assert_eq!(namespace.tc("filter show dev lan1 ingress"), "");
    }
}

#[test]
fn a_tunnel_and_the_loopback_take_tc_alone() {
    let namespace = Namespace::new();
    namespace::run("ip", &["-n", &namespace.name, "tuntap", "add", "dev", "tun0", "mode", "tun"]);
    let error = namespace.fails(1, "load lan0 tun0 --hook xdp");
    assert_eq!(error, "lb-ctl: tun0 has no Ethernet headers, which XDP needs: --hook auto or --hook tc\n");
    let error = namespace.fails(1, "load lo --mode generic");
    assert!(error.contains("lo carries what this host sends to itself, which takes tc"), "{error}");
    namespace.assert_clean();

    let printed = namespace.ok("load lan0 tun0 lo --max-connections 1000");
    assert!(printed.contains("lan0: attached (native)"), "{printed}");
    assert!(printed.contains("tun0: attached (tc): XDP needs Ethernet headers"), "{printed}");
    assert!(printed.contains("lo: attached (tc): its driver takes no XDP program"), "{printed}");
    namespace.ok("upgrade");
    let status = namespace.status();
    let rows = status["interfaces"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "tun0").unwrap();
    assert_eq!((&row["mode"], &row["choice"]), (&"tc".into(), &"XDP needs Ethernet headers".into()));
    assert_eq!(
        (&row["sends"], &row["reason"]),
        (&"kernel".into(), &"its packets have no Ethernet headers".into())
    );
    namespace.ok("unload");
    namespace.assert_clean();
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_and_changes_nothing() {
    let namespace = Namespace::new();
    for command in ["unload", "status", "upgrade", "counters", "trace"] {
        let error = namespace.fails(1, command);
        assert_eq!(error, "lb-ctl: not loaded in this network namespace: lb-ctl load IFACE…\n", "{command}");
    }
    let error = namespace.fails(1, "load lan7");
    assert_eq!(
        error,
        "lb-ctl: no interface lan7 in this network namespace: it has lo, lan0, lan1, bridge0\n"
    );
    let error = namespace.fails(2, "load lan0 --max-connections 3");
    assert!(error.contains("3 is not in 16..=134217728"), "{error}");
    namespace.fails(2, "load");
    namespace.fails(2, "load lan0 --mode fast");
    let error = namespace.fails(2, "load lan0 --hook tc --mode native");
    assert_eq!(error, "lb-ctl: --mode is about XDP: leave it out, or --hook tc\n");
    namespace.assert_clean();

    let elsewhere = namespace.command(LB_CTL, &["status"]).env("LB_BPFFS", "/tmp").output().unwrap();
    let error = String::from_utf8(elsewhere.stderr).unwrap();
    assert_eq!(error, "lb-ctl: LB_BPFFS=/tmp is no BPF file system: mount -t bpf bpf /tmp\n");

    namespace.ok("load lan0 --max-connections 1000");
    let error = namespace.fails(1, "load lan1");
    assert!(error.contains("already loaded") && error.contains("lb-ctl upgrade"), "{error}");
    assert_eq!(namespace.attached(), 1);
    let error = namespace.fails(2, "trace --service web");
    assert!(error.contains("host name 'web' is not known"), "{error}");

    let nobody = namespace.command("setpriv", &["--reuid=65534", LB_CTL, "status"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
}

#[test]
fn another_xdp_program_is_left_alone() {
    let namespace = Namespace::new();
    let other = Namespace::new();
    namespace.ok("load lan0 --max-connections 1000");
    // Through another file system, the first load is a stranger.
    let output = namespace.command(LB_CTL, &["load", "lan0"]).env("LB_BPFFS", &other.pins).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("lan0 already carries another XDP program (id "), "{error}");
    assert!(error.contains("ip link set dev lan0 xdp off"), "{error}");
    assert_eq!(namespace.attached(), 1);
}

#[test]
fn loads_in_two_namespaces_are_independent() {
    let (one, two) = (Namespace::new(), Namespace::new());
    // On one file system, as on a real machine.
    let of_two = |arguments: &[&str]| {
        let output = two.command(LB_CTL, arguments).env("LB_BPFFS", &one.pins).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    one.ok("load lan0 --max-connections 1000");
    of_two(&["load", "lan0", "--max-connections", "2000"]);
    assert_eq!(one.pinned().len(), 2);
    assert_eq!(one.status()["max_connections"], 1000);
    of_two(&["unload"]);
    assert_eq!((one.attached(), two.attached()), (1, 0));
    one.ok("unload");
    one.assert_clean();
}

#[test]
fn of_two_loads_at_once_one_waits_and_sees_the_other() {
    let namespace = Namespace::new();
    let start = || {
        let mut command = namespace.command(LB_CTL, &["load", "lan0", "--max-connections", "1000"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let ended = [start(), start(), start()].map(|child| child.wait_with_output().unwrap());
    let won = ended.iter().filter(|output| output.status.success()).count();
    let refused =
        ended.iter().filter(|output| String::from_utf8_lossy(&output.stderr).contains("already loaded"));
    assert_eq!((won, refused.count()), (1, 2));
}

#[test]
fn upgrades_lose_no_packet_and_keep_the_counters() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 --max-connections 1000");
    let before = namespace.status()["programs"][0]["id"].as_u64().unwrap();
    let flood = namespace.flood(200);
    for _ in 0..5 {
        namespace.ok("upgrade");
    }
    let flood = flood.wait_with_output().unwrap();
    let flood = String::from_utf8(flood.stdout).unwrap();
    assert!(flood.contains("200 packets transmitted, 200 received"), "{flood}");
    assert!(namespace.status()["programs"][0]["id"].as_u64().unwrap() > before);

    let counters: serde_json::Value = serde_json::from_str(&namespace.ok("counters --json")).unwrap();
    let packets: u64 = counters.as_array().unwrap().iter().map(|row| row["packets"].as_u64().unwrap()).sum();
    assert!(packets >= 200, "{counters}");
}

#[test]
fn a_lost_interface_is_reported() {
    let namespace = Namespace::new();
    namespace.ok("load lan1 --max-connections 1000");
    namespace::run("ip", &["-n", &namespace.name, "link", "del", "lan1"]);
    let status = namespace.ok("status");
    assert!(status.contains("is gone: lb-ctl unload, then load"), "{status}");
    let error = namespace.fails(1, "upgrade");
    assert!(error.contains("no interface is left"), "{error}");
    namespace.ok("unload");
    namespace.assert_clean();
}

#[test]
fn a_load_outlives_its_namespace_until_unload_gone() {
    let (ended, other) = (Namespace::new(), Namespace::new());
    ended.ok("load lan0 --max-connections 1000");
    let gone = || {
        let output =
            other.command(LB_CTL, &["unload", "--gone"]).env("LB_BPFFS", &ended.pins).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(gone(), "");
    assert_eq!(ended.attached(), 1);

    namespace::run("ip", &["netns", "del", &ended.name]);
    until("the end of the namespace", || gone().starts_with("removed the load of network namespace "));
    assert!(ended.pinned().is_empty(), "{:?}", ended.pinned());
}

#[test]
fn nothing_runs_after_a_load() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 --max-connections 1000");
    sleep(Duration::from_millis(100));
    let inside = namespace::run("ip", &["netns", "pids", &namespace.name]);
    assert_eq!(inside.trim(), "");
}

/// What a command that succeeds says on the side.
fn warned(namespace: &Namespace, command: &str) -> String {
    let output = namespace.lb_ctl(command);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_ftp_service_that_leaves_data_connections_behind_is_warned_of() {
    let namespace = Namespace::loaded();
    for (command, warning) in [
        (
            "service add -t 10.9.0.1:21",
            "lb-ctl: warning: FTP's data connections follow their control connection only with -p\n",
        ),
        ("service add -t 10.9.0.2:21 -p", ""),
        ("service add -u 10.9.0.1:21", ""),
        ("service add -t 10.9.0.1:22", ""),
        ("service add -f 21", ""),
    ] {
        assert_eq!(warned(&namespace, command), warning, "{command}");
    }
}

#[test]
fn direct_routing_that_xdp_would_drop_is_warned_of() {
    let expected = |server| {
        format!(
            "lb-ctl: warning: XDP drops what direct routing sends to {server} by lan0, because {}; tc does not: lb-ctl \
             unload, then load --hook tc\n",
            if tells_features() {
                "the far end of this veth has neither GRO nor an XDP program"
            } else {
                "this kernel does not tell what the far end of a veth does"
            }
        )
    };
    let namespace = Namespace::loaded();
    namespace::run("ip", &["-n", &namespace.name, "address", "add", "fd09::1/64", "dev", "lan0", "nodad"]);
    for (vip, near, other) in [("10.9.0.1", "10.9.0.2", "10.9.0.3"), ("[fd09::1]", "fd09::2", "fd09::3")] {
        let at = |server: &str| if server.contains(':') { format!("[{server}]") } else { server.to_owned() };
        namespace.ok(&format!("service add -t {vip}:80"));
        let add = format!("backend add -t {vip}:80 -r {} -g", at(near));
        assert_eq!(warned(&namespace, &add), expected(near));
        assert_eq!(warned(&namespace, &format!("backend add -t {vip}:80 -r {} -m", at(other))), "");
        let edit = format!("backend edit -t {vip}:80 -r {}", at(other));
        assert_eq!(warned(&namespace, &format!("{edit} -w 2")), "");
        assert_eq!(warned(&namespace, &format!("{edit} -g")), expected(other));
        assert_eq!(warned(&namespace, &format!("{edit} -w 3")), "");
        // This host's own need nothing.
        assert_eq!(warned(&namespace, &format!("backend add -t {vip}:80 -r {vip} -g")), "");
    }
    namespace.ok("unload");
    namespace.ok("load lan0 --hook tc --max-connections 100");
    namespace.ok("service add -t 10.9.0.1:80");
    assert_eq!(warned(&namespace, "backend add -t 10.9.0.1:80 -r 10.9.0.2 -g"), "");
}
