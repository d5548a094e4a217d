//! Configurations on disk: read only when whole, replaced only as a whole.

use super::{
    Configuration, document,
    position::Fault,
    text::{END, START},
};
use crate::spec::{Usage, usage};
use anyhow::{Context as _, Result};
use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// What is kept of a save that was killed: its unfinished file ends so, and the next save removes it.
const UNFINISHED: &str = ".lb-ctl-new";
/// How old an unfinished file is before nobody can be writing it.
const ABANDONED: Duration = Duration::from_secs(60);

/// A file that is to be read.
pub struct Source {
    /// Its name in messages.
    name: String,
    text: String,
}

/// Reads a file; `-` is the standard input.
pub fn read(path: &Path) -> Result<Source> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = vec![];
        io::stdin().read_to_end(&mut bytes).context("cannot read the standard input")?;
        ("standard input".to_owned(), bytes)
    } else {
        let name = path.display().to_string();
        let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
        (name, bytes)
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let text = String::from_utf8_lossy(&bytes[..valid]);
            let fault = Fault::at(&text, Some(valid..valid), "this is not text in UTF-8");
            usage!("{name}:{fault}");
        }
    };
    // What some editors write in front of UTF-8.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    if text.trim().is_empty() {
        usage!("{name} is empty, and so not obeyed; lb-ctl clear removes every service");
    }
    Ok(Source { name, text })
}

impl Source {
    /// Whether `lb-ctl` has written it; others may have put something in front.
    pub fn is_written(&self) -> bool {
        let mut starts = self.text.match_indices(START).map(|(at, _)| at);
        starts.any(|at| at == 0 || self.text.as_bytes()[at - 1] == b'\n')
    }

    /// What it says. What `lb-ctl` has written must have its last line.
    pub fn configuration(&self) -> Result<Configuration> {
        if self.is_of_ipvsadm() {
            return Err(self.refused("these are command lines of ipvsadm, which lb-ctl restore takes"));
        }
        self.parse().map_err(|fault| Usage(format!("{}:{fault}", self.name)).into())
    }

    /// Whether it is made of command lines, as `ipvsadm -S` writes it.
    pub fn is_of_ipvsadm(&self) -> bool {
        let mut lines = self.text.lines().map(str::trim_start);
        lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .is_some_and(|line| line.starts_with('-') || line.starts_with("ipvsadm"))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The error for a line and a column, both from 1.
    pub fn fault(&self, line: usize, column: usize, what: &str) -> anyhow::Error {
        Usage(format!("{}:{}", self.name, Fault::in_line(line, column, what))).into()
    }

    /// The error for a file that another command takes.
    pub fn refused(&self, why: &str) -> anyhow::Error {
        Usage(format!("{}: {why}", self.name)).into()
    }

    fn parse(&self) -> Result<Configuration, Fault> {
        let text = &self.text;
        let last = text.trim_end().lines().next_back().unwrap_or("");
        if self.is_written() && last != END {
            let what = format!("the file was cut off: its last line, \"{END}\", is missing");
            return Err(Fault::in_line(text.lines().count(), 1, what));
        }
        let configuration = document::parse(text)?;
        if !self.is_written() && configuration.services.is_empty() {
            let what = "no [[service]], and so not obeyed; lb-ctl clear removes every service";
            return Err(Fault::in_line(1, 1, what));
        }
        Ok(configuration)
    }
}

/// Puts what `write` writes in the place of a file: whoever looks finds the old file or the new one,
/// also after a power cut.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    // What a symbolic link leads to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&path).is_ok_and(|about| !about.is_file()) {
        usage!(
            "{} is no regular file, so it cannot be replaced; without a file, lb-ctl save writes to the standard output",
            path.display()
        );
    }
    swap(&path, write).with_context(|| format!("cannot write {}; it is as it was", path.display()))
}

fn swap(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let name = path.file_name().context("it is no file name")?.to_string_lossy();
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let prefix = format!(".{name}.");
    remove_abandoned(&directory, &prefix);
    let mode = fs::metadata(path).map_or(0o600, |about| about.permissions().mode() & 0o777);
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(UNFINISHED).tempfile_in(&directory)?;
    let mut out = io::BufWriter::with_capacity(1 << 16, file.as_file_mut());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(&directory)?.sync_all()?;
    Ok(())
}

fn remove_abandoned(directory: &Path, prefix: &str) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_old = || {
            let age = entry.metadata().and_then(|about| about.modified()).map(|time| time.elapsed());
            age.is_ok_and(|age| age.is_ok_and(|age| age > ABANDONED))
        };
        if name.starts_with(prefix) && name.ends_with(UNFINISHED) && is_old() {
            // It only takes room; the file that is wanted does not depend on it.
            let _ = fs::remove_file(entry.path());
        }
    }
}
