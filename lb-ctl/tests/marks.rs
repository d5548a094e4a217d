//! Firewall marks as a part of the configuration. Needs root.

mod namespace;

use namespace::{Namespace, run};
use std::fs;

const RULES: &str = "1 -d 10.9.0.1/32 -p tcp --dport 80\n2 -s 10.0.0.0/8 -p udp --dport 5000:5010 -i lan0\n\
                     3 -d 2001:db8::/32\n";

fn loaded() -> Namespace {
    let namespace = Namespace::loaded();
    namespace.ok("service add -f 1 -s rr");
    namespace.ok("backend add -f 1 -r 10.9.0.11 -m");
    namespace
}

#[test]
fn they_are_saved_restored_and_undone_with_the_rest() {
    let namespace = loaded();
    namespace.ok(&format!("mark add --from {}", namespace.file("rules", RULES)));
    assert_eq!(namespace.ok("mark list"), RULES);
    let saved = namespace.file("saved.toml", "");
    namespace.ok(&format!("save {saved}"));
    let shown = namespace.ok("export");

    namespace.ok("mark del -d 10.9.0.1 -p tcp --dport 80");
    namespace.ok("mark add 9 -i lan1");
    namespace.ok("service del -f 1");
    let difference = String::from_utf8(namespace.lb_ctl(&format!("diff {saved}")).stdout).unwrap();
    assert_eq!(
        difference,
        "- marks 9 -i lan1\n+ marks 1 -d 10.9.0.1/32 -p tcp --dport 80\n\
         + mark 1 scheduler \"rr\"\n+ mark 1 -> 10.9.0.11:0 method \"masquerading\", weight 1\n"
    );
    namespace.ok(&format!("restore {saved}"));
    assert_eq!((namespace.ok("mark list"), namespace.ok("export")), (RULES.to_owned(), shown.clone()));
    assert_eq!(namespace.ok(&format!("diff {saved}")), "");

    let without_first = RULES.split_once('\n').unwrap().1.to_owned();
    let steps = [without_first.clone() + "9 -i lan1\n", without_first.clone() + "9 -i lan1\n", without_first];
    for rules in steps.into_iter().chain([RULES.to_owned(), String::new()]) {
        namespace.ok("rollback");
        assert_eq!(namespace.ok("mark list"), rules);
    }
    namespace.ok(&format!("restore {saved}"));
    namespace.ok("mark clear");
    namespace.ok(&format!("restore {}", namespace.file("rules.ipvsadm", "-A -t 10.9.0.1:80 -s rr\n")));
    namespace.ok("rollback");
    namespace.ok("rollback");
    assert_eq!(namespace.ok("export"), shown);
}

#[test]
fn none_is_said_too_and_a_file_without_the_list_says_nothing() {
    let namespace = loaded();
    let saved = namespace.file("saved.toml", "");
    namespace.ok(&format!("save {saved}"));
    namespace.ok("mark add 9 -i lan0");
    namespace.ok("snat-pool add 10.9.0.1");
    let own = namespace.file("own.toml", "[[service]]\nmark = 1\nscheduler = \"wlc\"\n");
    namespace.ok(&format!("apply {own}"));
    assert_eq!(namespace.ok("mark list"), "9 -i lan0\n");
    namespace.ok(&format!("restore {saved}"));
    assert_eq!(namespace.ok("mark list"), "");
    assert_eq!(namespace.ok("save"), fs::read_to_string(&saved).unwrap());
}

#[test]
fn one_whose_interface_comes_late_waits_for_it() {
    let namespace = loaded();
    let rule =
        |name: &str| format!("marks = [{{ mark = 5, interface = \"{name}\" }}]\n[[service]]\nmark = 1\n");
    let late = namespace.file("late.toml", rule("late0"));
    namespace.ok(&format!("check {late}"));
    let output = namespace.lb_ctl(&format!("apply {late}"));
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && warning.contains("no interface late0"), "{warning}");
    let saved = namespace.ok("save");
    assert!(saved.contains("interface = \"late0\""), "{saved}");

    run("ip", &["-n", &namespace.name, "link", "add", "late0", "type", "bridge"]);
    let history = namespace.ok("history");
    let output = namespace.lb_ctl(&format!("apply {late}"));
    assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(namespace.ok("history"), history, "nothing that an admin has said has changed");
    assert_eq!(namespace.fails(2, "mark add 6 -i none0").lines().count(), 1);
}

#[test]
fn mistakes_in_files_are_named_with_their_place() {
    let namespace = loaded();
    for (text, place, part) in [
        ("marks = [{ mark = 0 }]\n", "1:19", "from 1 to"),
        ("marks = [{ source = \"10.0.0.0/8\" }]\n", "1:10", "mark"),
        ("marks = [\n  { mark = 1, destination = \"10.0.0.1/8\" },\n]\n", "2:29", "10.0.0.0/8"),
        ("marks = [{ mark = 1, protocol = \"icmp\" }]\n", "1:33", "'icmp'"),
        ("marks = [{ mark = 1, dport = \"443:80\" }]\n", "1:30", "'443:80'"),
        ("marks = [{ mark = 1, interface = \"a b\" }]\n", "1:34", "'a b'"),
        ("marks = [{ mark = 1, source = \"10.0.0.1\", destination = \"::1\" }]\n", "1:10", "two families"),
        ("marks = [{ mark = 1, dport = \"80\" }, { mark = 2, dport = \"80\" }]\n", "1:38", "remove one"),
        ("marks = [{ mark = 1, port = \"80\" }]\n", "1:22", "port"),
    ] {
        let wrong = namespace.file("wrong.toml", text);
        for command in ["check", "apply", "diff"] {
            let error = namespace.fails(2, &format!("{command} {wrong}"));
            let expected = format!("wrong.toml:{place}:");
            assert!(
                error.lines().count() == 1 && error.contains(&expected) && error.contains(part),
                "{error}"
            );
        }
    }
    assert_eq!(namespace.ok("mark list"), "");
}
