//! Files that nobody meant to write, and places that cannot be written. Needs root.

mod namespace;

use namespace::Namespace;
use std::{fs, os::unix::fs::FileTypeExt as _, path::Path, process::Output};

fn loaded() -> Namespace {
    let namespace = Namespace::loaded();
    namespace.ok("service add -t 10.9.0.1:80 -s wlc");
    namespace.ok("backend add -t 10.9.0.1:80 -r 10.9.0.11 -m");
    namespace
}

/// Exit status 2, one line of a length that can be read, and nothing that a terminal obeys.
fn refused(output: &Output, part: &str) {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    let is_plain = error.trim_end().chars().all(|letter| !letter.is_control());
    assert!(is_plain && error.len() < 1500 && error.contains(part), "{part}: {error}");
}

#[test]
fn what_nobody_meant_is_one_line_and_changes_nothing() {
    let namespace = loaded();
    let shown = namespace.ok("export");
    let service = "[[service]]\ntcp = \"10.9.0.2:80\"\n";
    let files: [(&str, Vec<u8>, &str); 9] = [
        ("nul.toml", [service, "\0\n"].concat().into(), ":3:"),
        ("latin.toml", [service.as_bytes(), b"# \xfc\n"].concat(), ":3:3: this is not text in UTF-8"),
        ("long.toml", format!("[[service]]\ntcp = \"{}\"\n", "1".repeat(5_000_000)).into(), ":2:7:"),
        ("escape.toml", "[[service]]\ntcp = \"\\u001b[2J\\n\"\n".into(), "\\u{1b}[2J\\n"),
        ("deep.toml", format!("a = {}", "[".repeat(200_000)).into(), "recurs"),
        ("nul.rules", "-A -t 10.9.0.1:80 -s rr\0\n".into(), ":1:22:"),
        ("latin.rules", b"-A -t 10.9.0.1:80 -s r\xfc\n".into(), ":1:23:"),
        ("twice.rules", "-A -t 10.9.0.1:80 -s rr\n-A -t 10.9.0.1:80 -s lc\n".into(), ":2:7: Service already"),
        ("binary", (0..=u8::MAX).collect(), ":2:118:"),
    ];
    for (name, bytes, part) in files {
        let path = namespace.file(name, bytes);
        let command = if name.ends_with(".rules") { "restore" } else { "apply" };
        refused(&namespace.lb_ctl(&format!("{command} {path}")), part);
        assert_eq!(namespace.ok("export"), shown, "{name}");
    }
}

#[test]
fn marks_of_other_systems_do_no_harm() {
    let namespace = loaded();
    let saved = namespace.ok("save");
    // A byte order mark, carriage returns, a comment of whoever distributes the file.
    let others =
        ["\u{feff}".to_owned() + &saved, saved.replace('\n', "\r\n"), "# by Ansible\n".to_owned() + &saved];
    for text in others {
        let path = namespace.file("saved.toml", &text);
        for command in ["check", "diff", "restore"] {
            namespace.ok(&format!("{command} {path}"));
        }
        // What was cut off is recognised all the same.
        let cut = text.find("[[service.backend]]").unwrap();
        let path = namespace.file("cut.toml", &text[..cut]);
        for command in ["check", "apply", "restore"] {
            refused(&namespace.lb_ctl(&format!("{command} {path}")), "cut off");
        }
    }
    let rules =
        namespace.file("rules", "-A -t 10.9.0.1:80 -s rr\r\n-a -t 10.9.0.1:80 -r 10.9.0.7:80 -m -w 1\r\n");
    for command in ["check", "diff", "apply"] {
        refused(&namespace.lb_ctl(&format!("{command} {rules}")), "which lb-ctl restore takes");
    }
    namespace.ok(&format!("restore {rules}"));
    assert_eq!(namespace.ok("ipvsadm -Sn"), fs::read_to_string(rules).unwrap().replace('\r', ""));
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let namespace = loaded();
    let pipe = namespace.state.join("pipe");
    namespace::run("mkfifo", &[pipe.to_str().unwrap()]);
    let link = namespace.state.join("link");
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    for path in [&pipe, &link, &namespace.state, Path::new("/")] {
        refused(&namespace.lb_ctl(&format!("save {}", path.display())), "no regular file");
    }
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    for path in [namespace.state.join("none/saved.toml"), "/proc/saved.toml".into()] {
        let error = namespace.fails(1, &format!("save {}", path.display()));
        assert!(error.contains(path.to_str().unwrap()) && error.contains("it is as it was"), "{error}");
    }
    // What other commands read from, this one writes to.
    assert_eq!(namespace.ok("save -"), namespace.ok("save"));
    // To a full disk.
    for words in ["save", "export", "list -n", "history", "set", "ipvsadm -Sn", "ipvsadm -Ln", "sysctl"] {
        let command = format!("{} {words} > /dev/full", namespace::LB_CTL);
        let output = namespace.command("sh", &["-c", &command]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.lines().count() == 1, "{words}: {error}");
    }
}
