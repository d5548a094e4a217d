//! Why a command line failed: ipvsadm's words and exit statuses.

use std::{fmt, io};

/// What ends a command line. The text goes to the standard error as it is.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// Perhaps empty.
    pub text: String,
    /// Whether `--restore` ends with it too; it goes on behind what the kernel would have refused.
    pub ends: bool,
    /// The word of the command line that is wrong, from 0, where it is one.
    pub word: Option<usize>,
}

/// An error in what was typed (`fail`).
const USAGE: u8 = 2;
/// What the kernel refused, and what popt did not understand: -1.
const REFUSED: u8 = 255;

impl Failure {
    /// An error in what was typed.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { status: USAGE, text: text.into(), ends: true, word: None }
    }

    /// What popt did not understand.
    pub fn misread(text: String) -> Self {
        Self { status: REFUSED, text, ends: false, word: None }
    }

    /// A line that is not even the beginning of a command (`tryhelp_exit`).
    pub fn try_help(program: &str) -> Self {
        let text = format!("Try `{program} -h' or '{program} --help' for more information.");
        Self { status: REFUSED, text, ends: true, word: None }
    }

    /// What the kernel would refuse.
    pub fn refused(text: impl fmt::Display) -> Self {
        Self { status: REFUSED, text: text.to_string(), ends: false, word: None }
    }

    /// Because of this word, from 0.
    pub fn at(self, word: usize) -> Self {
        Self { word: Some(word), ..self }
    }

    /// Says it.
    pub fn print(&self) {
        if !self.text.is_empty() {
            eprintln!("{}", self.text);
        }
    }

    /// What a listing cannot show.
    pub fn unlisted(text: impl fmt::Display) -> Self {
        Self { status: 1, text: text.to_string(), ends: true, word: None }
    }
}

/// Any other error: a limit, a map that cannot be read.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::refused(format!("{error:#}"))
    }
}

/// An output that cannot be written.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::unlisted(error)
    }
}

/// The kernel's refusals, in the words of `ipvs_strerror`.
pub mod refusal {
    /// `ENOENT` of adding or editing a service.
    pub const UNKNOWN_SCHEDULER: &str = "Scheduler or persistence engine not found";
    /// `EEXIST` of adding a service.
    pub const SERVICE_EXISTS: &str = "Service already exists";
    /// `ESRCH` of services.
    pub const NO_SERVICE: &str = "No such service";
    /// `ESRCH` of servers.
    pub const SERVICE_UNDEFINED: &str = "Service not defined";
    /// `EEXIST` of adding a server.
    pub const SERVER_EXISTS: &str = "Destination already exists";
    /// `ENOENT` of editing or deleting a server.
    pub const NO_SERVER: &str = "No such destination";
    /// `ERANGE`.
    pub const OUT_OF_RANGE: &str = "Numerical result out of range";
    /// `EINVAL`.
    pub const INVALID: &str = "Invalid operation.  Possibly wrong module version, address not unicast, ...";
    /// `ESRCH` of ending the sync daemon.
    pub const NO_DAEMON: &str = "No daemon is running";
}
