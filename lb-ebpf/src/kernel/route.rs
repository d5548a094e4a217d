//! Asking the kernel's routing.

use crate::shell::Context;
use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, BPF_FIB_LOOKUP_SRC,
        bpf_fib_lookup as FibLookup,
    },
    helpers::bpf_fib_lookup,
};
use core::{mem::MaybeUninit, ptr};
use lb_common::address::Address;
use lb_ebpf::Route;

const EINVAL: i64 = 22;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A query of the kernel's routing, cleared a word at a time: see [`lb_ebpf::packet::Packet::fill`].
#[inline(always)]
fn zeroed_query() -> FibLookup {
    let mut query = MaybeUninit::<[u64; 8]>::uninit();
    const { assert!(size_of::<FibLookup>() == 64) };
    // SAFETY: within the value; and all zero is a valid value of a C structure of integers.
    unsafe {
        for word in 0..8 {
            query.as_mut_ptr().cast::<u64>().add(word).write_volatile(0);
        }
        query.as_ptr().cast::<FibLookup>().read()
    }
}

/// [`lb_ebpf::Tables::route`], asked through a packet's context.
#[inline(always)]
pub fn ask(
    context: *mut Context,
    interface: u32,
    source: Address,
    destination: Address,
    protocol: u8,
) -> Route {
    let mut query = zeroed_query();
    query.ifindex = interface;
    query.l4_protocol = protocol;
    // Some length, without which a socket buffer's own is held against the interface and no MTU is told.
    query.__bindgen_anon_1.tot_len = 1;
    if destination.is_ipv4() {
        query.family = AF_INET;
        query.__bindgen_anon_3.ipv4_src = source.ipv4();
        query.__bindgen_anon_4.ipv4_dst = destination.ipv4();
    } else {
        query.family = AF_INET6;
        query.__bindgen_anon_3.ipv6_src = bytemuck::cast(source.words);
        query.__bindgen_anon_4.ipv6_dst = bytemuck::cast(destination.words);
    }
    let is_own = source == Address::UNSPECIFIED;
    let ask = |query: &mut FibLookup, flags| {
        // SAFETY: the context is the packet's.
        unsafe { bpf_fib_lookup(context.cast(), ptr::from_mut(query), size_of::<FibLookup>() as i32, flags) }
    };
    let mut answer = ask(&mut query, if is_own { BPF_FIB_LOOKUP_SRC } else { 0 });
    let mut is_told = is_own;
    if is_own && answer == -EINVAL {
        // Before Linux 6.7.
        answer = ask(&mut query, 0);
        is_told = false;
    }
    // SAFETY: all variants of the unions are integers.
    let address = match (is_told, query.family) {
        (false, _) => Address::UNSPECIFIED,
        (true, AF_INET) => Address::from_ipv4(unsafe { query.__bindgen_anon_3.ipv4_src }),
        (true, _) => Address { words: bytemuck::cast(unsafe { query.__bindgen_anon_3.ipv6_src }) },
    };
    match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => Route::Hop {
            interface: query.ifindex,
            destination: query.dmac,
            source: query.smac,
            mtu: unsafe { query.__bindgen_anon_1.mtu_result },
            address,
        },
        BPF_FIB_LKUP_RET_NO_NEIGH => Route::NoNeighbour { interface: query.ifindex, address },
        BPF_FIB_LKUP_RET_NOT_FWDED => Route::Host,
        _ => Route::Other,
    }
}
