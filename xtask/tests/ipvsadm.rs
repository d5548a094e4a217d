//! The classic set-up in ipvsadm's words, with this binary under ipvsadm's names.

use std::os::unix::fs::symlink;

use anyhow::Result;
use xtask::lab::{Lab, VIP};

const SET_UP: [&str; 6] = [
    "ipvsadm -A -t 192.168.2.200:80 -s wlc",
    "ipvsadm -A -t 192.168.2.200:443 -s wlc",
    "ipvsadm -a -t 192.168.2.200:80 -r 192.168.33.111:80 -m",
    "ipvsadm -a -t 192.168.2.200:80 -r 192.168.33.112:80 -m",
    "ipvsadm -a -t 192.168.2.200:443 -r 192.168.33.111:443 -m",
    "ipvsadm -a -t 192.168.2.200:443 -r 192.168.33.112:443 -m",
];

const SAVED: &str = "\
-A -t 192.168.2.200:80 -s wlc
-a -t 192.168.2.200:80 -r 192.168.33.111:80 -m -w 1
-a -t 192.168.2.200:80 -r 192.168.33.112:80 -m -w 1
-A -t 192.168.2.200:443 -s wlc
-a -t 192.168.2.200:443 -r 192.168.33.111:443 -m -w 1
-a -t 192.168.2.200:443 -r 192.168.33.112:443 -m -w 1
";

/// A lab whose balancer has ipvsadm's names on its path.
struct Director {
    lab: Lab,
}

impl Director {
    fn new() -> Result<Self> {
        let lab = Lab::classic()?;
        for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
            symlink(lab.site.lb_ctl(), lab.site.directory().join(name))?;
        }
        lab.balancer.lb_ctl(["load", "outside", "inside"])?;
        Ok(Self { lab })
    }

    /// Types a line into the balancer's shell.
    fn types(&self, line: &str) -> Result<String> {
        let directory = self.lab.site.directory().display();
        self.lab.balancer.run(["sh", "-c", &format!("cd {directory} && PATH={directory}:$PATH && {line}")])
    }

    fn answers(&self, scheme: &str) -> Result<String> {
        let url = format!("{scheme}://{VIP}");
        let get = || self.lab.client.run(["curl", "-sSk", "--max-time", "5", &url]);
        (0..10).map(|_| get()).collect()
    }
}

#[test]
fn six_commands_make_a_director_that_can_be_saved_and_restored() -> Result<()> {
    let director = Director::new()?;
    for command in SET_UP {
        assert_eq!(director.types(command)?, "", "{command}");
    }
    let turns = "Web2 called.\nWeb1 called.\n".repeat(5);
    assert_eq!(director.answers("http")?, turns);
    assert_eq!(director.answers("https")?, turns);

    let listed = director.types("ipvsadm -l")?;
    let rows: Vec<_> = listed.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>()).collect();
    // The lab's machines have no names; the ports have, in every Debian.
    assert_eq!(rows[2], ["TCP", "192.168.2.200:http", "wlc"], "{listed}");
    assert_eq!(rows[3], ["->", "192.168.33.111:http", "Masq", "1", "0", "5"], "{listed}");
    assert_eq!(rows[7], ["->", "192.168.33.112:https", "Masq", "1", "0", "5"], "{listed}");

    director.types("ipvsadm --save -n > FILE")?;
    assert_eq!(director.types("cat FILE")?, SAVED);
    assert_eq!(director.types("ipvsadm-save -n")?, SAVED);
    director.types("ipvsadm -C")?;
    assert_eq!(director.types("ipvsadm -Sn")?, "");
    assert_eq!(director.types("ipvsadm-restore < FILE")?, "");
    assert_eq!(director.types("ipvsadm -Sn")?, SAVED);
    assert_eq!(director.answers("http")?, turns);
    Ok(())
}
