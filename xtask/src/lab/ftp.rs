//! A real FTP server for anybody, whose only file holds its name.

use std::{
    env,
    fs::{self, Permissions},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Mutex,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{Namespace, Process};
use crate::{setup, vm::packages::unpacked};

/// vsftpd in a namespace; it ends when this is dropped.
pub struct Ftp {
    _process: Process,
    _directory: TempDir,
}

impl Ftp {
    /// Starts it, and returns once it listens. `/name` is its file.
    pub fn start(namespace: &Namespace, name: &str) -> Result<Self> {
        // Not the lab's, which is root's alone: who is served is not root.
        let directory = tempfile::tempdir()?;
        let [root, empty] = ["root", "empty"].map(|name| directory.path().join(name));
        for path in [&root, &empty] {
            fs::create_dir(path)?;
        }
        fs::write(root.join("name"), format!("{name}\n"))?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let configuration = directory.path().join("vsftpd.conf");
        let text = format!(
            "listen_ipv6=YES\nanonymous_enable=YES\nlocal_enable=NO\nno_anon_password=YES\nftp_username=daemon\n\
             nopriv_user=nobody\nanon_root={}\nsecure_chroot_dir={}\nconnect_from_port_20=YES\n\
             seccomp_sandbox=NO\nxferlog_enable=NO\n",
            root.display(),
            empty.display()
        );
        fs::write(&configuration, text)?;

        let (program, libraries) = vsftpd()?;
        let libraries = format!("LD_LIBRARY_PATH={}", libraries.display());
        let command = ["env".as_ref(), libraries.as_ref(), program.as_os_str(), configuration.as_os_str()];
        let mut process = namespace.spawn(command)?;
        let limit = Instant::now() + Duration::from_secs(10);
        while !namespace.inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, 21)).is_ok())? {
            if process.ended()?.is_some() || Instant::now() > limit {
                bail!("vsftpd does not answer in {}:\n{}", namespace.name(), process.log());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(Self { _process: process, _directory: directory })
    }
}

/// Where it is, and where its libraries are: the system's, or Debian's, unpacked and not installed, so that nobody's
/// machine begins to serve files because of a test.
fn vsftpd() -> Result<(PathBuf, PathBuf)> {
    if let Some(program) = setup::find("vsftpd") {
        return Ok((program, env::var_os("LD_LIBRARY_PATH").unwrap_or_default().into()));
    }
    // One test of many at a time.
    static UNPACKING: Mutex<()> = Mutex::new(());
    let _unpacking = UNPACKING.lock();
    let packages = unpacked("ftp", &["vsftpd", "libwrap0"])
        .context("vsftpd is missing: install it with this system's package manager")?;
    let libraries = fs::read_dir(packages.join("usr/lib"))?.find_map(|entry| {
        let path = entry.ok()?.path();
        path.join("libwrap.so.0").exists().then_some(path)
    });
    Ok((packages.join("usr/sbin/vsftpd"), libraries.context("libwrap.so.0 is not where it was")?))
}
