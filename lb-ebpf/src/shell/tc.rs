//! tc: a packet in a socket buffer.
//!
//! The buffer says what is to be done about the transport checksum: nothing, fill in the sum of a packet whose
//! sender left it open, or compare it with a sum that the network card took. So packets are changed by
//! helpers that keep all three right.

use crate::kernel::frame::Buffer;
use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_GRE,
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR,
        BPF_F_RECOMPUTE_CSUM, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::{
        bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_head, bpf_skb_change_tail,
        bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
    },
};
use bytemuck::Pod;
use core::{ffi::c_void, ptr};
use lb_common::tunnel::kind;
use lb_ebpf::{
    Frame, Reason,
    arrival::ROUTER,
    checksum::{Change, fold},
    frame::Text,
    wire::ethernet::{self, Ethernet},
};

/// What the kernel hands to a program.
pub type Context = __sk_buff;

/// Bytes from the start of a packet that lie in the linear part of its buffer: more than the longest headers
/// of an ICMP error with those that it quotes.
const HEADERS: u32 = 256;

/// Brings the headers into the linear part: a driver may have left them in a page.
#[inline(always)]
pub fn pull_headers(context: *mut Context) {
    // SAFETY: the context is the packet's, here and below.
    unsafe {
        let wanted = if (*context).len < HEADERS { (*context).len } else { HEADERS };
        if (*context).data_end - (*context).data < wanted {
            // What is missing after a failure counts as truncated.
            let _ = bpf_skb_pull_data(context, wanted);
        }
    }
}

/// Puts an Ethernet header in front of a packet that has come without one; whether there was room for it. A
/// packet that stays here keeps it, where the kernel does not look any more.
///
/// It is addressed to a virtual router, which is always meant to be this machine.
#[inline(always)]
pub fn add_header(context: *mut Context) -> bool {
    let [first, second, third] = ROUTER;
    // SAFETY: the context is the packet's.
    unsafe {
        let kind = (*context).protocol as u16;
        let header = Ethernet { destination: [first, second, third], source: [0; 3], kind };
        let length = ethernet::LENGTH as u32;
        bpf_skb_change_head(context, length, 0) == 0
            && bpf_skb_store_bytes(context, 0, ptr::from_ref(&header).cast(), length, 0) == 0
    }
}

/// Copies bytes of a packet; 0, or an error.
#[inline(always)]
pub unsafe fn copy(context: *mut Context, offset: u32, to: *mut c_void, length: u32) -> i64 {
    // SAFETY: the caller's.
    unsafe { bpf_skb_load_bytes(context.cast(), offset, to, length) }
}

impl Frame for Buffer {
    #[inline(always)]
    fn load<T: Pod>(&self, offset: usize) -> Option<T> {
        self.read(offset)
    }

    #[inline(always)]
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        let (from, length) = (ptr::from_ref(&value).cast(), size_of::<T>() as u32);
        // The card's sum begins after the Ethernet header.
        let flags = if offset < ethernet::LENGTH { 0 } else { BPF_F_RECOMPUTE_CSUM as u64 };
        let failed = unsafe { bpf_skb_store_bytes(self.context, offset as u32, from, length, flags) } != 0;
        self.moved(failed)
    }

    #[inline(always)]
    fn store_even<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        // Without a call: the kernel has seen to it that the buffer is this packet's alone.
        self.write(offset, value)
    }

    #[inline(always)]
    fn correct(&mut self, place: usize, pseudo: Change, own: Change, is_udp: bool) -> Result<(), Reason> {
        let zero = if is_udp { BPF_F_MARK_MANGLED_0 as u64 } else { 0 };
        let (place, own) = (place as u32, fold(own.0));
        // Both are zero in one's complement: a backend's port is most often the service's.
        let is_same = own == 0 || own == 0xffff;
        let failed = unsafe {
            let pseudo = fold(pseudo.0) as u64;
            bpf_l4_csum_replace(self.context, place, 0, pseudo, BPF_F_PSEUDO_HDR as u64 | zero) != 0
                || !is_same && bpf_l4_csum_replace(self.context, place, 0, own as u64, zero) != 0
        };
        self.moved(failed)
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        end <= self.linear() || end as u32 <= unsafe { (*self.context).len }
    }

    #[inline(always)]
    fn sum(&self, offset: usize, end: usize) -> Option<u64> {
        self.sum(offset, end)
    }

    #[inline(always)]
    fn copy(&self, offset: usize, length: usize, text: &mut Text) -> bool {
        self.copy(offset, length, text)
    }

    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> Result<(), Reason> {
        let flags = BPF_F_ADJ_ROOM_FIXED_GSO as u64;
        let failed = unsafe { bpf_skb_adjust_room(self.context, bytes as i32, BPF_ADJ_ROOM_MAC, flags) } != 0;
        self.moved(failed)
    }

    #[inline(always)]
    fn encapsulate(&mut self, bytes: usize, is_ipv4: bool, kind: u8) -> Result<(), Reason> {
        let network = if is_ipv4 { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 };
        let transport = match kind {
            kind::GUE => BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
            kind::GRE => BPF_F_ADJ_ROOM_ENCAP_L4_GRE,
            _ => 0,
        };
        let flags = (BPF_F_ADJ_ROOM_FIXED_GSO | network | transport) as u64;
        let failed = unsafe { bpf_skb_adjust_room(self.context, bytes as i32, BPF_ADJ_ROOM_MAC, flags) } != 0;
        // The kernel notes one tunnel, and none behind a tag in the bytes. It is there all the same.
        if failed { self.grow(bytes) } else { self.moved(false) }
    }

    #[inline(always)]
    fn shrink(&mut self, bytes: usize) -> Result<(), Reason> {
        let flags = BPF_F_ADJ_ROOM_FIXED_GSO as u64;
        let less = -(bytes as i32);
        let failed = unsafe { bpf_skb_adjust_room(self.context, less, BPF_ADJ_ROOM_MAC, flags) } != 0;
        self.moved(failed)
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Result<(), Reason> {
        if unsafe { (*self.context).len } <= length as u32 {
            return Ok(());
        }
        let failed = unsafe { bpf_skb_change_tail(self.context, length as u32, 0) } != 0;
        self.moved(failed)
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        unsafe { (*self.context).ifindex }
    }

    #[inline(always)]
    fn mark(&self) -> u32 {
        unsafe { (*self.context).mark }
    }

    #[inline(always)]
    fn may_be_partial(&self) -> bool {
        // The buffer knows: `correct` leaves such a checksum as it is, but for the addresses.
        false
    }

    #[inline(always)]
    fn keeps_buffer(&self) -> bool {
        true
    }

    #[inline(always)]
    fn segment(&self) -> Option<u32> {
        Some(unsafe { (*self.context).gso_size })
    }

    #[inline(always)]
    fn has_tag(&self) -> bool {
        unsafe { (*self.context).vlan_present != 0 }
    }
}
