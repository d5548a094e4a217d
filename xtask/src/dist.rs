//! What goes onto another machine: the binary, its man pages and its shell completions, and all of it
//! as a Debian package.

mod package;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{build, setup};

/// Shells with completions, and the file name that each looks for.
const SHELLS: [(&str, &str); 3] = [("bash", "lb-ctl"), ("zsh", "_lb-ctl"), ("fish", "lb-ctl.fish")];

/// Builds `lb-ctl` and lays everything out in `dist/` beside the binary.
pub fn run() -> Result<()> {
    let package = package()?;
    println!("{}", package.parent().context("a package in no directory")?.display());
    println!("{}", package.display());
    Ok(())
}

/// The same; the path of the Debian package.
pub fn package() -> Result<PathBuf> {
    let toolchain = setup::build_tools()?;
    let binary = build::lb_ctl(&toolchain)?;
    let directory = binary.parent().context("the binary lies in no directory")?.join("dist");
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for made in [&man, &completions] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    fs::copy(&binary, directory.join("lb-ctl")).context("cannot copy lb-ctl")?;
    output(&binary, &["man", &man.to_string_lossy()])?;
    for (shell, name) in SHELLS {
        fs::write(completions.join(name), output(&binary, &["completions", shell])?)?;
    }
    let version = String::from_utf8(output(&binary, &["--version"])?)?;
    let version = version.split_whitespace().nth(1).context("lb-ctl tells no version")?;
    package::build(&directory, version)
}

fn output(binary: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(binary).args(arguments).output().context("cannot start lb-ctl")?;
    ensure!(output.status.success(), "lb-ctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
