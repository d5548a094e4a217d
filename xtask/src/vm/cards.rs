//! Network cards of a machine: virtio, with several queues and everything that a host offers to offload.
//!
//! They are taps of a network namespace that has QEMU for its only process and ends with it: no other network of
//! the host is touched. Two cables, as in the classic lab:
//!
//! ```text
//! ..:01 client ── outside ..:02      ..:03 inside ── switch ..:04
//! ```

use std::{fs::OpenOptions, path::Path, process::Command};

/// What the cards' hardware addresses begin with; the last byte counts from 1.
pub const MAC: &str = "52:54:00:6c:62:0";
/// Queues of each card. XDP wants one more for each processor; with fewer it shares those that there are.
const QUEUES: [u32; 4] = [2, 4, 2, 2];

/// Opens the RAM disk, which is our child's to read no more once it has a user namespace of its own.
const OPEN: &str = r#"exec 9<"$1"; shift; exec unshare --map-root-user --net -- "$@""#;
/// Where QEMU finds it.
pub const RAM_DISK: &str = "/proc/self/fd/9";
/// Lays the cables, and becomes QEMU.
const LAY: &str = r#"set -e
for cable in 0 1; do ip link add cable$cable type bridge mcast_snooping 0; ip link set cable$cable up; done
for card in 0 1 2 3; do
    ip tuntap add card$card mode tap multi_queue
    ip link set card$card master cable$((card / 2)) up
done
exec "$@"
"#;

/// Whether this host lets us make taps.
pub fn are_possible() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_ok()
}

/// QEMU with the cards, and with the RAM disk at [`RAM_DISK`].
pub fn qemu(program: &Path, ram_disk: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", OPEN, "sh"]).arg(ram_disk).args(["sh", "-c", LAY, "sh"]).arg(program);
    for (card, queues) in QUEUES.iter().enumerate() {
        let tap = format!("tap,id=n{card},ifname=card{card},queues={queues},script=no,downscript=no");
        let vectors = 2 * queues + 2;
        let device = format!("netdev=n{card},mac={MAC}{},mq=on,vectors={vectors},romfile=", card + 1);
        command.args(["-netdev", &tap, "-device", &format!("virtio-net-pci,{device}")]);
    }
    command
}
