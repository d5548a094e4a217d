//! Which family of packages this machine takes.

use std::fs;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Distribution {
    /// Debian 12, whose packages include a Rust with a prebuilt `core` for BPF.
    Bookworm,
    /// Another one with apt: its programs are installed, its BPF toolchain is rustup's nightly.
    Apt,
    Dnf,
    Pacman,
    Zypper,
    Unknown,
}

impl Distribution {
    pub fn detect() -> Self {
        Self::from_os_release(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn from_os_release(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        if value("ID") == "debian" && value("VERSION_ID") == "12" {
            return Self::Bookworm;
        }
        let names = format!("{} {}", value("ID"), value("ID_LIKE"));
        let family = names.split_whitespace().find_map(|name| match name {
            "debian" | "ubuntu" => Some(Self::Apt),
            "fedora" | "rhel" | "centos" => Some(Self::Dnf),
            "arch" => Some(Self::Pacman),
            "suse" | "opensuse" => Some(Self::Zypper),
            _ => None,
        });
        family.unwrap_or(Self::Unknown)
    }

    pub fn has_apt(self) -> bool {
        matches!(self, Self::Bookworm | Self::Apt)
    }

    /// The start of the command that installs a package; none where we do not know it.
    pub fn install_command(self) -> Option<&'static str> {
        match self {
            Self::Bookworm | Self::Apt => Some("apt-get install"),
            Self::Dnf => Some("dnf install"),
            Self::Pacman => Some("pacman -S"),
            Self::Zypper => Some("zypper install"),
            Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Distribution;

    #[test]
    fn os_release_is_read_by_family() {
        let cases = [
            ("ID=debian\nVERSION_ID=\"12\"\n", Distribution::Bookworm),
            ("VERSION_ID=\"13\"\nID=debian\n", Distribution::Apt),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Distribution::Apt),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Distribution::Dnf),
            ("ID=arch\n", Distribution::Pacman),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", Distribution::Zypper),
            ("", Distribution::Unknown),
        ];
        for (text, expected) in cases {
            assert_eq!(Distribution::from_os_release(text), expected, "{text}");
        }
    }
}
