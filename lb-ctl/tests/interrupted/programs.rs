//! Loading, unloading and upgrading, by XDP and by tc.

use crate::{namespace::Namespace, strace::at_every_call};

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

/// Netlink's requests that only read.
const READING: [&str; 3] = ["nlmsg_type=nlctrl,", "nlmsg_type=netdev,", "nlmsg_type=RTM_GET"];

/// Whether a call is one of those, or fails, or only prints.
fn is_passing(call: &str) -> bool {
    PASSING.iter().any(|command| call.starts_with(&format!("{command},")))
        || call.contains(" = -1 E")
        || READING.iter().any(|request| call.contains(request))
        || call.starts_with("1, ")
        || call.starts_with("2, ")
}

/// What is done to the file of one map is done to those of all: some stand for them.
fn is_passing_or_as_another(call: &str) -> bool {
    is_passing(call) || map(call).is_some_and(|map| !map.starts_with(['C', 'S']))
}

/// Nor is it another thing for every kind of program.
fn is_passing_or_a_map_s(call: &str) -> bool {
    is_passing(call) || map(call).is_some()
}

/// The map whose file a call names: those files alone have names in capitals.
fn map(call: &str) -> Option<&str> {
    let name = call.split('"').nth(1)?.rsplit('/').next()?;
    let is_map = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    is_map.then_some(name)
}

/// A kind of program: how it is asked for, how many there are, and the calls at which nobody is killed.
type Kind = (&'static str, fn(&Namespace) -> usize, fn(&str) -> bool);

const XDP: Kind = ("xdp", Namespace::attached, is_passing_or_as_another);
/// tc has two ways to hold one: links, and filters.
const TC: Kind = ("tc", Namespace::attached_by_tc, is_passing_or_a_map_s);
const FILTER: Kind = ("clsact", Namespace::attached_by_tc, is_passing_or_a_map_s);

/// Whatever is left of a load, an unload leaves nothing.
fn assert_unloaded(namespace: &Namespace, step: &str) {
    let _ = namespace.lb_ctl("unload");
    namespace.assert_clean();
    assert!(!namespace.tc("qdisc show").contains("clsact"), "{step}");
}

#[test]
fn a_killed_load_is_complete_or_cleaned_by_the_next_command() {
    killed_load(XDP);
}

#[test]
fn a_killed_load_is_complete_or_cleaned_by_the_next_command_by_tc() {
    killed_load(TC);
}

#[test]
fn a_killed_load_is_complete_or_cleaned_by_the_next_command_by_a_filter() {
    killed_load(FILTER);
}

fn killed_load((hook, attached, is_passing): Kind) {
    let namespace = Namespace::new();
    let load = format!("load lan0 lan1 --hook {hook} --max-connections 100");
    let (mut complete, mut loads) = (0, false);
    let steps = at_every_call(
        &namespace,
        (STEPS, is_passing),
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
            assert_unloaded(namespace, step);
        },
    );
    println!("{hook}: {steps} steps, {complete} complete");
    assert!(steps > if hook == "xdp" { 30 } else { 20 });
}

#[test]
fn a_killed_unload_is_ended_by_the_next() {
    killed_unload(XDP);
}

#[test]
fn a_killed_unload_is_ended_by_the_next_by_tc() {
    killed_unload(TC);
}

#[test]
fn a_killed_unload_is_ended_by_the_next_by_a_filter() {
    killed_unload(FILTER);
}

fn killed_unload((hook, attached, is_passing): Kind) {
    let namespace = Namespace::new();
    at_every_call(
        &namespace,
        (STEPS, is_passing),
        "unload",
        |namespace| {
            namespace.ok(&format!("load lan0 lan1 --hook {hook} --max-connections 100"));
        },
        |namespace, step| {
            if namespace.lb_ctl("status").status.success() {
                assert_eq!(attached(namespace), 2, "{step}");
            }
            assert_unloaded(namespace, step);
        },
    );
}

#[test]
fn a_killed_upgrade_keeps_the_balancer_whole() {
    killed_upgrade(XDP);
}

#[test]
fn a_killed_upgrade_keeps_the_balancer_whole_by_tc() {
    killed_upgrade(TC);
}

#[test]
fn a_killed_upgrade_keeps_the_balancer_whole_by_a_filter() {
    killed_upgrade(FILTER);
}

fn killed_upgrade((hook, attached, is_passing): Kind) {
    let namespace = Namespace::new();
    namespace.ok(&format!("load lan0 lan1 --hook {hook} --max-connections 100"));
    at_every_call(
        &namespace,
        (STEPS, is_passing),
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
