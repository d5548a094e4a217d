//! What is known of drivers, for kernels that do not tell what an interface can do.

use std::{io, net::UdpSocket, os::fd::AsRawFd as _};

/// Drivers that send redirected packets (`ndo_xdp_xmit`) while a program is attached natively.
const SENDS_REDIRECTED: [&str; 20] = [
    "atlantic",
    "bnxt_en",
    "dpaa2-eth",
    "ena",
    "fsl_enetc",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "qede",
    "sfc",
    "st_gmac",
    "tun",
    "virtio_net",
    "vmxnet3",
];

/// Whether the driver of an interface is known to send redirected packets.
pub fn sends_redirected(interface: &str) -> bool {
    name(interface).is_ok_and(|name| SENDS_REDIRECTED.contains(&name.as_str()))
}

/// `struct ethtool_drvinfo` (`linux/ethtool.h`), as far as it is used.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// Name of the driver of an interface. Through an ioctl, because `/sys/class/net` may show those
/// of another network namespace.
fn name(interface: &str) -> io::Result<String> {
    const ETHTOOL_GDRVINFO: u32 = 3;

    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
    // SAFETY: the request points at a DriverInfo that outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let length = info.driver.iter().position(|&byte| byte == 0).unwrap_or(info.driver.len());
    Ok(String::from_utf8_lossy(&info.driver[..length]).into_owned())
}
