//! What is refused: one line that names the value and the fix, exit 1 or 2, nothing changed.

mod namespace;

use namespace::Namespace;

const STATE: i32 = 1;
const USAGE: i32 = 2;

/// What is typed, the exit code, and what the line must say.
const REFUSED: [(&str, i32, &str); 36] = [
    ("service add -t 10.9.0.1:81 -s fastest", USAGE, "fastest"),
    ("service add -t 10.9.0.1:0", USAGE, "port 0"),
    ("service add -t 10.9.0.1:99999", USAGE, "99999"),
    ("service add -t 10.9.0.300:81", USAGE, "10.9.0.300"),
    ("service add -t 10.9.0.1:80", STATE, "10.9.0.1:80"),
    ("service edit -t 10.9.0.1:82 -s rr", STATE, "10.9.0.1:82"),
    ("service del -u 10.9.0.1:80", STATE, "10.9.0.1:80"),
    ("service add -t 10.9.0.1:81 -s sh -b sideways", USAGE, "sideways"),
    ("backend add -t 10.9.0.1:80 -r 10.9.0.11", STATE, "10.9.0.11"),
    ("backend add -t 10.9.0.1:82 -r 10.9.0.11", STATE, "10.9.0.1:82"),
    ("backend add -t 10.9.0.1:80 -r 10.9.0.12 -w 2147483648", USAGE, "2147483648"),
    ("backend add -t 10.9.0.1:80 -r 10.9.0.12 -w -1", USAGE, "-1"),
    ("backend add -t 10.9.0.1:80 -r [fd00::1]:80", USAGE, "fd00::1"),
    ("backend add -t 10.9.0.1:80 -r 224.0.0.1", USAGE, "224.0.0.1"),
    ("backend add -t 10.9.0.1:80 -r 10.9.0.12 -x 1 -y 2", USAGE, "2"),
    ("backend add -t 10.9.0.1:80 -r 10.9.0.12 -g -m", USAGE, "-g"),
    ("backend add -t 10.9.0.1:80 -r 10.9.0.12 -g --tun-type gre", USAGE, "-i"),
    ("backend add -t 10.9.0.1:80 -r 10.9.0.12 -i --tun-type gue", USAGE, "--tun-port"),
    ("backend edit -t 10.9.0.1:80 -r 10.9.0.13:81 -g", USAGE, "10.9.0.13:81"),
    ("backend edit -t 10.9.0.1:80 -r 10.9.0.12 -w 2", STATE, "10.9.0.12"),
    ("service edit -t 10.9.0.1:80 -M 255.255.255.0", USAGE, "-p"),
    ("service edit -t 10.9.0.1:80 -o", USAGE, "-u"),
    ("set 900 120 9999999", USAGE, "9999999"),
    ("sysctl conn_reuse_mode=4", USAGE, "3"),
    ("sysctl sloppy_udp=1", USAGE, "sloppy_udp"),
    ("service edit -t 10.9.0.1:80 --toa", USAGE, "--fullnat"),
    ("service edit -t 10.9.0.1:80 --fullnat --no-fullnat", USAGE, "--no-fullnat"),
    ("service add -u 10.9.0.1:81 --fullnat --toa", USAGE, "--no-toa"),
    ("service add -u 10.9.0.1:81 --fullnat -o", USAGE, "-o"),
    ("service edit -u 10.9.0.1:53 --fullnat", USAGE, "with -m only"),
    ("backend add -t 10.9.0.1:90 -r 10.9.0.12 -g", USAGE, "with -m only"),
    ("backend edit -t 10.9.0.1:90 -r 10.9.0.11 -i", USAGE, "with -m only"),
    ("snat-pool add 10.9.0.0/24", USAGE, "10.9.0.0/24"),
    ("snat-pool add 127.0.0.1", USAGE, "127.0.0.1"),
    ("snat-pool add 10.9.0.1 10.9.0.1", STATE, "10.9.0.1"),
    ("snat-pool del 10.9.0.7", STATE, "10.9.0.7"),
];

#[test]
fn what_cannot_be_meant_or_done_is_said_and_changes_nothing() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 lan1 --max-connections 100");
    namespace.ok("service add -t 10.9.0.1:80 -s wlc");
    namespace.ok("backend add -t 10.9.0.1:80 -r 10.9.0.11 -m");
    namespace.ok("backend add -t 10.9.0.1:80 -r 10.9.0.13:81 -m");
    namespace.ok("service add -t 10.9.0.1:90 --fullnat");
    namespace.ok("backend add -t 10.9.0.1:90 -r 10.9.0.11");
    namespace.ok("service add -u 10.9.0.1:53");
    namespace.ok("backend add -u 10.9.0.1:53 -r 10.9.0.11 -g");
    let shown = |namespace: &Namespace| {
        namespace.ok("export")
            + &namespace.ok("list -n")
            + &namespace.ok("list -n --thresholds")
            + &namespace.ok("set")
            + &namespace.ok("sysctl")
    };
    let before = shown(&namespace);
    let mut wrong = Vec::new();
    for (typed, code, named) in REFUSED {
        let output = namespace.lb_ctl(typed);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(code) || !error.contains(named) || error.lines().count() != 1 {
            wrong.push(format!("{typed}: {:?} {error}", output.status.code()));
        }
        assert_eq!(shown(&namespace), before, "{typed}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    namespace.ok("clear");
    namespace.ok("unload");
}
