//! Installs Debian packages without questions, without extras and without starting any service.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};

use super::programs::find;
use crate::{
    elevate,
    progress::{self, Sign},
};

/// Those of `packages` that are not installed.
pub fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    // dpkg-query fails as a whole when it does not know one of the names, but still lists the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status} ${Package}\n"])
        .args(packages)
        .output();
    let listed =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let installed = |package: &str| listed.lines().any(|line| line == format!("installed {package}"));
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

pub fn install(packages: &[&str]) -> Result<()> {
    eprintln!("installing Debian packages: {}", packages.join(" "));
    ensure!(
        elevate::is_root() || find("sudo").is_some(),
        "this needs root: run it as root, or first: apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    if !elevate::is_root() {
        // Asks for the password now: a prompt behind a progress display would go unseen.
        let status = Command::new("sudo").arg("--validate").status()?;
        ensure!(status.success(), "sudo ended with {status}");
    }
    let had_nginx = find("nginx").is_some();
    let no_services = NoServices::begin()?;
    static LISTS_READ: OnceLock<()> = OnceLock::new();
    if LISTS_READ.get().is_none() {
        progress::watched("reading package lists", apt_get().arg("update"), sign)?;
        LISTS_READ.get_or_init(|| ());
    }
    let arguments = ["install", "--no-install-recommends", "--option", "Dpkg::Options::=--force-confold"];
    progress::watched("installing packages", apt_get().args(arguments).args(packages), sign)?;
    drop(no_services);
    if !had_nginx && find("nginx").is_some() && find("systemctl").is_some() {
        // The lab starts its own nginx. The system's, which came with it, must not appear on port 80
        // after the next boot. Fails where systemd is installed but does not run: nothing starts there.
        let _ = elevate::as_root("systemctl").args(["disable", "--quiet", "nginx.service"]).output();
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut apt_get = elevate::as_root("env");
    apt_get.args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "--yes"]);
    // Another apt (unattended-upgrades, say) holds the lock for minutes at most.
    apt_get.args(["--option", "DPkg::Lock::Timeout=300", "--option", "APT::Status-Fd=1"]);
    apt_get
}

/// apt's own progress protocol: `kind:subject:percent:text`, kind being dlstatus or pmstatus.
fn sign(line: &str) -> Sign {
    let mut fields = line.splitn(4, ':');
    let (kind, _subject) = (fields.next(), fields.next());
    let percent = fields.next().and_then(|percent| percent.parse().ok());
    match (kind, percent, fields.next()) {
        (Some("dlstatus" | "pmstatus"), Some(percent), Some(text)) => Sign::Percent(percent, text.to_owned()),
        _ => Sign::Nothing,
    }
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// While it lives, package scripts start no service: Debian asks `policy-rc.d`, and 101 means no.
struct NoServices {
    installed: bool,
    set_aside: Option<PathBuf>,
}

impl NoServices {
    fn begin() -> Result<Self> {
        let answer = Command::new(POLICY).args(["nginx", "start"]).stdout(Stdio::null()).status();
        let set_aside = match answer {
            Ok(status) if status.code() == Some(101) => {
                return Ok(Self { installed: false, set_aside: None });
            }
            Ok(_) => {
                let aside = PathBuf::from(format!("{POLICY}.set-aside-by-xtask"));
                run_as_root("mv", [Path::new(POLICY), &aside])?;
                Some(aside)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).context(POLICY),
        };
        let script = std::env::temp_dir().join(format!("xtask-policy-{}", std::process::id()));
        fs::write(&script, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let guard = Self { installed: true, set_aside };
        let moved = run_as_root("install", [Path::new("--mode=755"), &script, Path::new(POLICY)]);
        fs::remove_file(&script)?;
        moved.map(|()| guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let restored = match &self.set_aside {
            Some(aside) => run_as_root("mv", [aside, Path::new(POLICY)]),
            None if self.installed => run_as_root("rm", [Path::new("-f"), Path::new(POLICY)]),
            None => Ok(()),
        };
        if let Err(error) = restored {
            eprintln!("warning: {error:#}");
        }
    }
}

fn run_as_root<const N: usize>(program: &str, arguments: [&Path; N]) -> Result<()> {
    let status = elevate::as_root(program).args(arguments).status()?;
    ensure!(status.success(), "{program} {arguments:?} ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Sign, sign};

    #[test]
    fn apt_status_lines_become_percent() {
        let line = "pmstatus:nginx-light:61.5385:Configuring nginx-light (amd64)";
        assert!(matches!(sign(line), Sign::Percent(percent, text)
            if percent == 61.5385 && text == "Configuring nginx-light (amd64)"));
        assert!(matches!(sign("Setting up nginx-light: ok"), Sign::Nothing));
    }
}
