//! ipvsadm's command line, to the letter: `lb-ctl ipvsadm ARGS…`, and this binary called `ipvsadm`,
//! `ipvsadm-save` or `ipvsadm-restore`.
//!
//! Its parser is our own because the library that ipvsadm uses has messages and habits that scripts
//! meet. What is behind it is what every other command uses. docs/ipvsadm.md lists the differences.

mod arguments;
mod change;
mod command;
mod endpoint;
mod exclusions;
mod failure;
mod file;
mod help;
mod line;
mod list;
mod number;
mod request;
mod restore;
mod save;
mod server;
mod service;

pub use file::configuration;
pub use help::text as help;

use crate::{
    store::{Change, Store},
    transaction,
};
use command::Command;
use failure::Failure;
use line::Line;
use request::Request;
use std::{
    ffi::OsString,
    io::{self, BufWriter, Write as _},
    ops::ControlFlow,
    path::Path,
    process::ExitCode,
};

/// Runs this process as the tool whose name it was called by, if it is one of ipvsadm's, or as
/// `lb-ctl ipvsadm`, whose words nobody else must read: to popt even `--` means something.
pub fn called(arguments: &[OsString]) -> Option<ExitCode> {
    let (name, arguments) = arguments.split_first()?;
    let run = match Path::new(name).file_name()?.to_str()? {
        "ipvsadm" => Program::run,
        "ipvsadm-save" => save,
        "ipvsadm-restore" => |program: &mut Program, _: &[String]| restore::replace(program),
        _ if arguments.first()? == "ipvsadm" => return Some(run(&arguments[1..])),
        _ => return None,
    };
    Some(exit_code(&name.to_string_lossy(), arguments, run))
}

/// Runs `lb-ctl ipvsadm ARGS…`.
pub fn run(arguments: &[OsString]) -> ExitCode {
    exit_code("ipvsadm", arguments, Program::run)
}

type Outcome = Result<ControlFlow<()>, Failure>;

fn exit_code(name: &str, arguments: &[OsString], run: fn(&mut Program, &[String]) -> Outcome) -> ExitCode {
    let arguments: Vec<_> =
        arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let mut program = Program { name: name.to_owned(), change: None, restoring: false };
    let outcome = run(&mut program, &arguments);
    // As with the kernel, what came before a failure is made.
    let made = program.commit();
    match outcome.and(made) {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.status)
        }
    }
}

/// `ipvsadm-save [-n]`: the script around `-S`.
fn save(program: &mut Program, arguments: &[String]) -> Outcome {
    if arguments.iter().any(|argument| argument.starts_with('-') && argument != "-n") {
        let name = Path::new(&program.name).file_name().unwrap_or_default().to_string_lossy();
        let text = format!(
            "{name}: Script to save the IPVS table to stdout.\n   With the -n option, prints out the table in numeric format."
        );
        return Err(Failure { status: 1, text, ends: true, word: None });
    }
    let options = ["-S", "-n"].map(str::to_owned);
    program.run(&options[..if arguments.iter().any(|argument| argument == "-n") { 2 } else { 1 }])
}

/// A run of the program, of one command line or of many.
pub struct Program {
    name: String,
    /// The lock and the changes; from the first change on.
    change: Option<Change>,
    /// Whether lines are read from the standard input.
    restoring: bool,
}

impl Program {
    /// Runs the words behind the program's name. Breaks where no other line is to follow.
    fn run(&mut self, words: &[String]) -> Outcome {
        // Whoever wants to know what this is need not have loaded it.
        let wants_help =
            ["-h", "--help", "-v", "--version"].contains(&words.first().map_or("", String::as_str));
        if !wants_help {
            // As ipvsadm does before it looks at its arguments.
            Store::open().map_err(not_ready)?;
        }
        if words.is_empty() {
            // Everything, with names.
            return self.show(&Request::new(Command::List));
        }
        self.run_line(words)
    }

    fn run_line(&mut self, words: &[String]) -> Outcome {
        let request = match Line::read(&self.name, words)? {
            Line::Help => return print(&help::text(&self.name)),
            Line::Version => return print(&help::version()),
            Line::Request(request) => request,
        };
        match request.command {
            Command::Restore if self.restoring => Err(Failure::try_help(&self.name)),
            Command::Restore => {
                self.restoring = true;
                restore::run(self)
            }
            Command::List | Command::Save => self.show(&request),
            _ => {
                let change = match &mut self.change {
                    Some(change) => change,
                    none => none.insert(Change::begin().map_err(not_ready)?),
                };
                change::run(change, &request)?;
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    /// Makes what has been asked for so far.
    fn commit(&mut self) -> Result<(), Failure> {
        Ok(self.change.take().map_or(Ok(()), transaction::commit)?)
    }

    fn show(&mut self, request: &Request) -> Outcome {
        self.commit()?;
        let store = Store::open().map_err(not_ready)?;
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let shown = match request.command {
            Command::Save => save::write(&mut out, &store, request.given.has(exclusions::Part::Numeric)),
            _ => list::write(&mut out, &store, request),
        };
        out.flush()?;
        shown.map(ControlFlow::Continue)
    }
}

fn print(text: &str) -> Outcome {
    io::stdout().write_all(text.as_bytes())?;
    Ok(ControlFlow::Break(()))
}

/// Nothing can be done: nothing is loaded, or this is not root.
fn not_ready(error: anyhow::Error) -> Failure {
    // SAFETY: no arguments, cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let why = if is_root { format!("{error:#}") } else { "Permission denied (you must be root)".to_owned() };
    Failure::usage(format!("Can't initialize ipvs: {why}"))
}
