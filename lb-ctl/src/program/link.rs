//! A pinned link, for the one thing that aya does not offer: detaching it now.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// `BPF_OBJ_GET` and `BPF_LINK_DETACH` (`linux/bpf.h`).
const OBJ_GET: libc::c_long = 7;
const LINK_DETACH: libc::c_long = 34;

/// The fields of `union bpf_attr` for both.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    /// A path, for `OBJ_GET`; the link's descriptor, for `LINK_DETACH`.
    first: u64,
    descriptor: u32,
    flags: u32,
}

/// Detaches the link pinned at a path from its interface.
///
/// Removing the pin would do that too, but later: the kernel drops what a pin held in the
/// background, and until then no other program can be attached. A link whose interface is gone is
/// detached already.
pub fn detach(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let link = bpf(OBJ_GET, &Attributes { first: path.as_ptr() as u64, ..Attributes::default() })?;
    // SAFETY: a descriptor that the kernel has just made.
    let link = unsafe { OwnedFd::from_raw_fd(link as i32) };
    bpf(LINK_DETACH, &Attributes { first: link.as_raw_fd() as u64, ..Attributes::default() }).map(drop)
}

fn bpf(command: libc::c_long, attributes: &Attributes) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads the attributes, and the path that they may point to, during the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<Attributes>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
