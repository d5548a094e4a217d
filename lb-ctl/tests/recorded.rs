//! Every command line that was recorded from the real ipvsadm, run again with ours: from the state
//! that was recorded, the output that was recorded. Needs root.

mod figures;
mod namespace;
mod recording;

use figures::Figures;
use namespace::{LB_CTL, Namespace};
use recording::{Recorded, Step};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Output,
};

/// What `ipvsadm-save` and the others find: the names that the recordings show, and no name server.
const SERVICES: &str = "http 80/tcp\nhttps 443/tcp\nhttp-alt 8080/tcp\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 ip6-localhost\n";
const ENTER: &str = "cd \"$1\" && mount --bind hosts /etc/hosts && mount --bind services /etc/services \
    && mount --bind nsswitch.conf /etc/nsswitch.conf && PATH=\"$1/bin:$PATH\" exec bash -c \"$2\"";

/// Where the lines run: a namespace, and a directory with ipvsadm's names in it.
struct Laboratory {
    namespace: Namespace,
    directory: PathBuf,
    hosts: String,
    figures: Vec<String>,
}

impl Laboratory {
    fn new() -> Self {
        let namespace = Namespace::new();
        let directory = std::env::temp_dir().join(format!("{}-recorded", namespace.name));
        fs::create_dir_all(directory.join("bin")).unwrap();
        for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
            symlink(LB_CTL, directory.join("bin").join(name)).unwrap();
        }
        fs::write(directory.join("services"), SERVICES).unwrap();
        fs::write(directory.join("nsswitch.conf"), "hosts: files\nservices: files\n").unwrap();
        let laboratory = Self { namespace, directory, hosts: String::new(), figures: vec![] };
        laboratory.load(4_096);
        laboratory
    }

    fn run(&self, line: &str) -> Output {
        fs::write(self.directory.join("hosts"), format!("{HOSTS}{}", self.hosts)).unwrap();
        let directory = self.directory.to_str().unwrap();
        let mut command = self.namespace.command("bash", &["-c", ENTER, "bash", directory, line]);
        command.output().unwrap()
    }

    /// Loads the balancer with an index of this many buckets.
    fn load(&self, size: u32) {
        // There is none at first.
        let _ = self.namespace.lb_ctl("unload");
        // Four sevenths of the connections, rounded up to a power of two.
        self.namespace.ok(&format!("load lan0 lan1 --max-connections {}", size / 4 * 7));
    }

    fn prepare(&self, line: &str) {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a line and compares; why it is not as recorded.
    fn replay(&mut self, recorded: &Recorded) -> Result<(), String> {
        let figures = std::mem::take(&mut self.figures);
        let ours = self.run_with(recorded, &recorded.line, &figures)?;
        let (_, listing) = split(&recorded.line);
        let theirs = (recorded.output.clone(), recorded.errors.clone(), Some(recorded.status));
        let mut same = ours == theirs;
        // The balancer's timer makes rates smaller every two seconds, and may have come in between.
        for _ in 0..3 {
            if !same && listing.contains("--rate") {
                same = self.run_with(recorded, listing, &figures)? == theirs;
            }
        }
        if same {
            return Ok(());
        }
        let shown = |(output, errors, status): (String, Option<String>, Option<i32>)| {
            format!("status {status:?}\n{output}{}", errors.unwrap_or_default())
        };
        let Recorded { at, line, .. } = recorded;
        Err(format!("{at}: {line}\n--- recorded, {}--- ours, {}", shown(theirs), shown(ours)))
    }

    /// Runs a line. Where it makes services and then lists them, what they had counted by then was
    /// counted in between.
    fn run_with(
        &self,
        recorded: &Recorded,
        line: &str,
        figures: &[String],
    ) -> Result<(String, Option<String>, Option<i32>), String> {
        let apart = recorded.errors.is_some();
        let run = |line: &str| self.run(&if apart { line.to_owned() } else { format!("exec 2>&1; {line}") });
        let (before, listing) = if figures.is_empty() { ("", line) } else { split(line) };
        let mut output = if before.is_empty() { vec![] } else { run(before).stdout };
        let maps = Figures::of(&self.namespace.pins);
        if let Some(figure) = figures.iter().find(|figure| !maps.set(figure)) {
            return Err(format!("{}: {line}\nnothing has {figure}", recorded.at));
        }
        let last = run(listing);
        output.extend(last.stdout);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output), apart.then(|| text(&last.stderr)), last.status.code()))
    }
}

/// The part of a line before the first listing, and the rest.
fn split(line: &str) -> (&str, &str) {
    match line.find("ipvsadm -l") {
        Some(at) if !line.contains('|') => line.split_at(at),
        _ => ("", line),
    }
}

impl Drop for Laboratory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn every_recorded_command_line_prints_what_was_recorded() {
    let explained =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ipvsadm.md")).unwrap();
    let mut laboratory = Laboratory::new();
    let (mut equal, mut differing, mut wrong) = (0, 0, vec![]);
    for (_, steps) in recording::all() {
        laboratory.prepare("ipvsadm -C; ipvsadm --set 900 120 300");
        for step in steps {
            match step {
                Step::Reset => laboratory.prepare("ipvsadm -C; ipvsadm --set 900 120 300"),
                Step::Size(size) => laboratory.load(size),
                Step::Heading => laboratory.hosts.clear(),
                Step::Host(host) => laboratory.hosts += &format!("{host}\n"),
                Step::Prepare(line) => laboratory.prepare(&line),
                Step::Figure(figure) => laboratory.figures.push(figure),
                Step::Command(recorded) => match laboratory.replay(&recorded) {
                    Ok(()) if recorded.differs.is_empty() => equal += recorded.count(),
                    Err(_) if explained.contains(&format!("({})", recorded.differs)) => {
                        differing += recorded.count();
                    }
                    Ok(()) => wrong.push(format!("{}: does not differ", recorded.at)),
                    Err(text) => wrong.push(text),
                },
            }
        }
    }
    println!(
        "{equal} command lines equal, {differing} differ as docs/ipvsadm.md tells, {} wrong",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // Which would also miss a recording that was not found.
    let told = format!("{} lines, of which {equal} are equal and {differing} differ", equal + differing);
    assert!(explained.contains(&told), "docs/ipvsadm.md has to say: {told}");
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let told = format!("\n{equal} command lines");
    assert!(readme.contains(&told), "README.md has to say:{told}");
}
