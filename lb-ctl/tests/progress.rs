//! The bar of a command that takes long: on a terminal, and nowhere else. Needs root.

mod namespace;

use namespace::{LB_CTL, Namespace};
use std::{
    fmt::Write as _,
    fs::{self, File},
    process::{Command, Output},
    thread::sleep,
    time::Duration,
};

/// Applies a file while another process keeps it waiting for more than a second.
fn applied_late(namespace: &Namespace, mut command: Command) -> Output {
    let history = fs::read_dir(namespace.state.join("history")).unwrap().next().unwrap().unwrap();
    let lock = format!("/run/lb-ctl/{}.lock", history.file_name().display());
    let lock = File::open(lock).unwrap();
    lock.lock().unwrap();
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_millis(1500));
    lock.unlock().unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn it_shows_on_a_terminal_and_leaves_nothing_there() {
    let namespace = Namespace::loaded();
    namespace.ok("service add -t 10.9.0.1:80");
    let mut text = String::new();
    for number in 1..=200 {
        writeln!(text, "[[service]]\ntcp = \"10.9.1.{number}:80\"").unwrap();
    }
    let file = namespace.state.join("services.toml").display().to_string();
    fs::write(&file, text).unwrap();

    let apply = format!("{LB_CTL} apply {file}");
    let output = applied_late(&namespace, namespace.command("script", &["-qec", &apply, "/dev/null"]));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && shown.contains("working it out ") && shown.contains("/201"),
        "{shown}"
    );
    // What is left is what it prints: the bar's last state is a cleared line.
    let (bar, rest) = shown.split_once("\x1b[31m- tcp 10.9.0.1:80").unwrap();
    assert!(bar.ends_with("\r\x1b[2K") && !rest.contains("working"), "{bar:?}");

    namespace.ok("clear");
    let output = applied_late(&namespace, namespace.command(LB_CTL, &["apply", &file]));
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 200);
}
