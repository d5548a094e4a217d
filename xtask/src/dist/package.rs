//! A Debian package of what `dist/` holds, made by dpkg-deb.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Where files of `dist/` and of the repository go, and their modes.
const FILES: [(&str, &str, u32); 5] = [
    ("completions/lb-ctl", "usr/share/bash-completion/completions/lb-ctl", 0o644),
    ("completions/_lb-ctl", "usr/share/zsh/vendor-completions/_lb-ctl", 0o644),
    ("completions/lb-ctl.fish", "usr/share/fish/vendor_completions.d/lb-ctl.fish", 0o644),
    ("packaging/lb-ctl.service", "lib/systemd/system/lb-ctl.service", 0o644),
    ("packaging/lb-ctl.conf", "etc/lb-ctl/lb-ctl.conf", 0o644),
];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const DOCUMENTS: &str = "usr/share/doc/lb-ctl";
/// Of `docs/`: what messages and help texts speak of.
const GUIDES: [&str; 5] = ["configuration.md", "forwarding.md", "ipvsadm.md", "lb-ctl.md", "sysctl.md"];
/// There is no address to write to, and the name says so (RFC 2606).
const MAINTAINER: &str = "lb-ctl project <lb-ctl@packages.invalid>";
/// Behind the version: which package of it this is.
const REVISION: &str = "1";

/// Packs `dist`; the path of the package.
pub fn build(dist: &Path, version: &str) -> Result<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no repository")?;
    let root = dist.join("package");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    for (from, to, mode) in FILES {
        let of_dist = dist.join(from);
        let from = if of_dist.exists() { of_dist } else { repository.join(from) };
        install(&from, &root.join(to), mode)?;
    }
    let program = root.join("usr/bin/lb-ctl");
    install(&dist.join("lb-ctl"), &program, 0o755)?;
    output("strip", &["--strip-unneeded", "--remove-section=.comment", &program.to_string_lossy()])?;
    for page in fs::read_dir(dist.join("man"))? {
        let page = page?.path();
        let name = page.file_name().context("a man page without a name")?;
        compressed(&page, &root.join("usr/share/man/man1").join(name))?;
    }
    let changes = repository.join("CHANGELOG.md");
    compressed(&changes, &root.join(DOCUMENTS).join("changelog"))?;
    let version = format!("{version}-{REVISION}");
    let date = output("date", &["-R", "-r", &changes.to_string_lossy()])?;
    let text = format!(
        "lb-ctl ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- {MAINTAINER}  {date}"
    );
    let history = root.join(DOCUMENTS).join("changelog.Debian");
    write(&history, text, 0o644)?;
    compressed(&history, &history)?;
    for guide in GUIDES {
        install(&repository.join("docs").join(guide), &root.join(DOCUMENTS).join(guide), 0o644)?;
    }
    write(&root.join(DOCUMENTS).join("copyright"), COPYRIGHT, 0o644)?;
    write(&root.join("DEBIAN/conffiles"), "/etc/lb-ctl/lb-ctl.conf\n", 0o644)?;
    for script in SCRIPTS {
        install(&repository.join("packaging/debian").join(script), &root.join("DEBIAN").join(script), 0o755)?;
    }
    let architecture = output("dpkg", &["--print-architecture"])?;
    let architecture = architecture.trim();
    let kilobytes = output("du", &["-sk", "--exclude=DEBIAN", &root.to_string_lossy()])?;
    let kilobytes = kilobytes.split_whitespace().next().unwrap_or("0").to_owned();
    write(&root.join("DEBIAN/control"), control(&version, architecture, &kilobytes), 0o644)?;
    let sums = "cd \"$0\" && find . -type f ! -path './DEBIAN/*' -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 md5sum";
    write(&root.join("DEBIAN/md5sums"), output("sh", &["-c", sums, &root.to_string_lossy()])?, 0o644)?;
    let package = dist.join(format!("lb-ctl_{version}_{architecture}.deb"));
    let arguments = ["--root-owner-group", "--build", &root.to_string_lossy(), &package.to_string_lossy()]
        .map(String::from);
    output("dpkg-deb", &arguments.each_ref().map(String::as_str))?;
    Ok(package)
}

/// The C library that Debian 12 has; the binary needs nothing else.
fn control(version: &str, architecture: &str, kilobytes: &str) -> String {
    format!(
        "Package: lb-ctl
Version: {version}
Architecture: {architecture}
Maintainer: {MAINTAINER}
Installed-Size: {kilobytes}
Depends: libc6 (>= 2.36), libgcc-s1
Section: net
Priority: optional
Description: layer-4 load balancer with IPVS's commands, in XDP
 lb-ctl loads an XDP program that balances TCP and UDP connections as Linux's
 IPVS does, and manages its services and backends. It also answers to the
 names of ipvsadm, ipvsadm-save and ipvsadm-restore, as alternatives.
"
    )
}

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: lb

Files: *
Copyright: 2026 the authors of lb
License: GPL-2.0-only
 On Debian systems, the text of this licence is in
 /usr/share/common-licenses/GPL-2.
";

fn install(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write(to, bytes, mode)
}

fn compressed(from: &Path, to: &Path) -> Result<()> {
    install(from, to, 0o644)?;
    output("gzip", &["-9n", &to.to_string_lossy()]).map(|_| ())
}

fn write(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let directory = path.parent().context("a file in no directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {program}: a Debian package is made on Debian"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
