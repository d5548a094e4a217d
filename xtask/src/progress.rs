//! What a long step shows: a bar or a spinner on a terminal, plain lines elsewhere.

use std::{
    io::{BufRead, BufReader, IsTerminal, Read, stderr},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How far a program is, read from one line of its output.
pub enum Sign {
    /// What it is doing now.
    Doing(String),
    /// The same, and how much of it is done.
    Percent(f64, String),
    /// Nothing to show; kept in case the program fails.
    Nothing,
}

/// Runs `command` behind a display, and returns its standard output. All of its output is shown if it
/// fails.
pub fn watched(title: &str, command: &mut Command, read: fn(&str) -> Sign) -> Result<String> {
    let bar = display(title);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let stderr = child.stderr.take().context("stderr is piped")?;

    // Both streams are drained at once: a program blocks when nobody reads one of them.
    let (mut said, also_said) = thread::scope(|scope| {
        let other = scope.spawn(|| follow(stderr, &bar, read));
        (follow(stdout, &bar, read), other.join().unwrap_or_default())
    });
    let status = child.wait()?;
    bar.finish_and_clear();
    if !status.success() {
        said.push_str(&also_said);
        bail!("{title}: {command:?} ended with {status}:\n{said}");
    }
    eprintln!("  {title}: done in {:.0} s", bar.elapsed().as_secs_f64());
    Ok(said)
}

/// A display of steps that the caller takes.
pub struct Steps {
    bar: ProgressBar,
    title: String,
}

impl Steps {
    /// Before the first of so many.
    pub fn new(title: &str, total: usize) -> Self {
        let bar = display(title);
        bar.set_length(total as u64);
        Self { bar, title: title.to_owned() }
    }

    /// The next one begins.
    pub fn next(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        eprintln!("  {}: ended after {:.0} s", self.title, self.bar.elapsed().as_secs_f64());
    }
}

fn display(title: &str) -> ProgressBar {
    if !stderr().is_terminal() {
        eprintln!("  {title} …");
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(100);
    let template = "  {spinner} {prefix} [{elapsed}] {bar:24} {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn follow(stream: impl Read, bar: &ProgressBar, read: fn(&str) -> Sign) -> String {
    let mut said = String::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        match read(&line) {
            Sign::Doing(what) => bar.set_message(what),
            Sign::Percent(percent, what) => {
                bar.set_position(percent as u64);
                bar.set_message(what);
                continue;
            }
            Sign::Nothing => {}
        }
        said.push_str(&line);
        said.push('\n');
    }
    said
}
