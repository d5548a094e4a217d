//! Many entries of a map in one system call.

use aya::maps::MapData;
use bytemuck::{Pod, Zeroable};
use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

/// Commands of the bpf system call (`enum bpf_cmd`).
const LOOKUP: libc::c_int = 24;
const UPDATE: libc::c_int = 26;
const DELETE: libc::c_int = 27;

/// The part of `union bpf_attr` that these commands read.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    /// In: room; out: entries.
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

fn call(command: libc::c_int, map: &MapData, attributes: &mut Attributes) -> io::Result<()> {
    attributes.map = map.fd().as_fd().as_raw_fd() as u32;
    // SAFETY: the callers' pointers are to `count` keys and values of the map's sizes.
    let status =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<Attributes>()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn address<T>(of: &[T]) -> u64 {
    of.as_ptr() as u64
}

/// All entries of a hash map that holds at most `most`. An entry that is added or removed meanwhile
/// may be among them or not.
pub fn entries<K: Pod, V: Pod>(map: &MapData, most: u32) -> io::Result<Vec<(K, V)>> {
    let mut keys = vec![K::zeroed(); most as usize];
    let mut values = vec![V::zeroed(); most as usize];
    let mut found = Vec::new();
    let mut position = 0u32;
    loop {
        let mut next = 0u32;
        let mut attributes = Attributes {
            in_batch: if found.is_empty() { 0 } else { &raw const position as u64 },
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: most,
            ..Attributes::default()
        };
        let ended = match call(LOOKUP, map, &mut attributes) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let count = attributes.count as usize;
        found.extend(keys[..count].iter().copied().zip(values[..count].iter().copied()));
        if ended || count == 0 {
            return Ok(found);
        }
        position = next;
    }
}

/// Adds or replaces entries.
pub fn insert<K: Pod, V: Pod>(map: &MapData, entries: &[(K, V)]) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let (keys, values): (Vec<_>, Vec<_>) = entries.iter().copied().unzip();
    let count = entries.len() as u32;
    let mut attributes =
        Attributes { keys: address(&keys), values: address(&values), count, ..Attributes::default() };
    call(UPDATE, map, &mut attributes)
}

/// Removes entries, all of which must be there.
pub fn remove<K: Pod>(map: &MapData, keys: &[K]) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut attributes =
        Attributes { keys: address(keys), count: keys.len() as u32, ..Attributes::default() };
    call(DELETE, map, &mut attributes)
}
