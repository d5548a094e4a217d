//! Tracing the packets of a loaded program, in a network namespace. Needs root.

mod namespace;

use namespace::{LB_CTL, Namespace, kill, until};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

#[test]
fn a_trace_prints_decisions_and_puts_the_program_back() {
    let namespace = Namespace::new();
    namespace.ok("load lan0 --max-connections 1000");
    let before = namespace.attached_id();
    let start = || {
        let trace = namespace.command(LB_CTL, &["trace"]).stdout(Stdio::piped()).spawn().unwrap();
        until("the traced program", || namespace.status()["trace"] == "on");
        trace
    };
    let is_over = |mut trace: Child| {
        assert!(trace.wait().unwrap().success());
        assert_eq!(namespace.status()["trace"], "off");
        assert_eq!(namespace.attached_id(), before);
    };

    let mut trace = start();
    let error = namespace.fails(1, "trace");
    assert!(error.contains("is running already"), "{error}");
    namespace.flood(3).wait().unwrap();
    let mut lines = BufReader::new(trace.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    kill("-INT", trace.id());
    is_over(trace);

    // As with `| head -1`: the next line has no reader, and that is an end like any other.
    let mut unread = start();
    drop(unread.stdout.take());
    namespace.flood(3).wait().unwrap();
    is_over(unread);

    let mut killed = start();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(namespace.status()["trace"], "abandoned");
    namespace.ok("upgrade");
    assert_eq!(namespace.status()["trace"], "off");
}

impl Namespace {
    /// The id of the program on `lan0`.
    fn attached_id(&self) -> String {
        let link = namespace::run("ip", &["-n", &self.name, "link", "show", "lan0"]);
        let at = link.find("prog/xdp id ").expect("a program");
        link[at..].split_whitespace().nth(2).unwrap().to_owned()
    }
}
