//! `lb-ctl` under strace, which kills it at a chosen system call.

use crate::namespace::{LB_CTL, Namespace};
use std::{collections::HashMap, fs::File, os::unix::process::ExitStatusExt as _, process::Output};

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
/// shows the steps: these system calls, but for those with arguments that `is_passing` knows and for files that are
/// only read.
pub fn at_every_call(
    namespace: &Namespace,
    (calls, is_passing): (&str, fn(&str) -> bool),
    arguments: &str,
    mut prepare: impl FnMut(&Namespace),
    mut check: impl FnMut(&Namespace, &str),
) -> usize {
    prepare(namespace);
    let record = namespace.state.join("calls").display().to_string();
    let output = traced(namespace, &["-o", &record, "-e", calls], arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let steps = steps(&std::fs::read_to_string(&record).unwrap(), is_passing);
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
fn steps(record: &str, is_passing: fn(&str) -> bool) -> Vec<(String, u32)> {
    let (mut counts, mut steps) = (HashMap::new(), Vec::new());
    for (thread, call) in record.lines().filter_map(|line| line.split_once(' ')) {
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        // What is not a call is the second half of one, or a signal.
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            continue;
        }
        let count = counts.entry((thread, name)).and_modify(|count| *count += 1).or_insert(1);
        let is_step = match name {
            _ if is_passing(rest) => false,
            "openat" => ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| rest.contains(flag)),
            _ => true,
        };
        if is_step {
            steps.push((name.to_owned(), *count));
        }
    }
    steps
}
