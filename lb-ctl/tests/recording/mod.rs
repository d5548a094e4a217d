//! What the real ipvsadm printed, read from `recordings/`, whose README tells how they are written.

use std::{fs, path::Path};

/// A command line and what came of it, or something that happened beside it.
#[derive(Debug)]
pub enum Step {
    /// The laboratory began anew.
    Reset,
    /// How many buckets the index of connections had.
    Size(u32),
    /// Names in `/etc/hosts`, until the next heading.
    Host(String),
    /// A command that is not in the recording but must have run.
    Prepare(String),
    /// What the balancer had counted.
    Figure(String),
    /// A line of the recording.
    Command(Recorded),
    /// A heading.
    Heading,
}

/// A recorded line of the shell.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Where it stands: file and line.
    pub at: String,
    /// The line.
    pub line: String,
    /// What it printed; where the two outputs were recorded apart, only to the standard output.
    pub output: String,
    /// What it printed to the standard error, where that was recorded apart.
    pub errors: Option<String>,
    /// Its exit status.
    pub status: i32,
    /// The paragraph of `docs/ipvsadm.md` that tells why ours differs; empty when it must not.
    pub differs: String,
}

impl Recorded {
    /// How many command lines of ipvsadm it holds; one in a loop counts once.
    pub fn count(&self) -> usize {
        self.line
            .split([';', '|'])
            .filter(|part| part.split_whitespace().any(|word| word.starts_with("ipvsadm")))
            .count()
    }
}

/// Every recording with its steps, in the order of their names.
pub fn all() -> Vec<(String, Vec<Step>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    files.sort();
    files.iter().map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(path))).collect()
}

fn read(path: &Path) -> Vec<Step> {
    let text = fs::read_to_string(path).unwrap();
    let mut steps = vec![];
    for (number, line) in text.lines().enumerate() {
        let at = format!("{}:{}", path.file_name().unwrap().display(), number + 1);
        let (kind, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        match (kind, steps.last_mut()) {
            ("", _) => {}
            ("# ", _) => steps.push(Step::Heading),
            ("@ ", _) => steps.push(Step::Host(rest.to_owned())),
            ("+ ", _) => steps.push(Step::Prepare(rest.to_owned())),
            ("= ", _) => steps.push(Step::Figure(rest.to_owned())),
            ("$ ", _) => {
                steps.push(Step::Command(Recorded { at, line: rest.to_owned(), ..Recorded::default() }));
            }
            _ if line == "reset" => steps.push(Step::Reset),
            ("si", _) => steps.push(Step::Size(line.strip_prefix("size ").unwrap().parse().unwrap())),
            (_, Some(Step::Command(command))) => command.take(line, &at),
            _ => panic!("{at}: {line}"),
        }
    }
    steps
}

impl Recorded {
    fn take(&mut self, line: &str, at: &str) {
        let printed = |text: &str| format!("{}\n", text.replace('·', " "));
        if let Some(text) = line.strip_prefix("1|") {
            self.errors.get_or_insert_default();
            self.output += &printed(text);
        } else if let Some(text) = line.strip_prefix("2|") {
            *self.errors.get_or_insert_default() += &printed(text);
        } else if let Some(text) = line.strip_prefix('|') {
            self.output += &printed(text);
        } else if let Some(status) = line.strip_prefix("status ") {
            self.status = status.parse().unwrap();
        } else if let Some(differs) = line.strip_prefix("differs ") {
            self.differs = differs.to_owned();
        } else {
            panic!("{at}: {line}");
        }
    }
}
