//! XDP: a frame in the driver's buffer.

use crate::kernel::{frame::Buffer, globals};
use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
};
use bytemuck::Pod;
use core::ffi::c_void;
use lb_ebpf::{Frame, Reason, frame::Text};

/// What the kernel hands to a program.
pub type Context = xdp_md;

/// Copies bytes of a packet that may span several buffers; 0, or an error.
#[inline(always)]
pub unsafe fn copy(context: *mut Context, offset: u32, to: *mut c_void, length: u32) -> i64 {
    // SAFETY: the caller's.
    unsafe { bpf_xdp_load_bytes(context, offset, to, length) }
}

impl Frame for Buffer {
    #[inline(always)]
    fn load<T: Pod>(&self, offset: usize) -> Option<T> {
        self.read(offset)
    }

    #[inline(always)]
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        self.write(offset, value)
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        // Only a frame of several buffers is longer than its linear part.
        end <= self.linear() || end as u64 <= unsafe { bpf_xdp_get_buff_len(self.context) }
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
        let failed = unsafe { bpf_xdp_adjust_head(self.context, -(bytes as i32)) } != 0;
        self.moved(failed)
    }

    #[inline(always)]
    fn shrink(&mut self, bytes: usize) -> Result<(), Reason> {
        let failed = unsafe { bpf_xdp_adjust_head(self.context, bytes as i32) } != 0;
        self.moved(failed)
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Result<(), Reason> {
        let present = unsafe { bpf_xdp_get_buff_len(self.context) } as usize;
        if present <= length {
            return Ok(());
        }
        let failed = unsafe { bpf_xdp_adjust_tail(self.context, length as i32 - present as i32) } != 0;
        self.moved(failed)
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        unsafe { (*self.context).ingress_ifindex }
    }

    #[inline(always)]
    fn may_be_partial(&self) -> bool {
        globals::PARTIAL.load() != 0
    }

    #[inline(always)]
    fn keeps_buffer(&self) -> bool {
        globals::GENERIC.load() != 0
    }

    #[inline(always)]
    fn segment(&self) -> Option<u32> {
        // The buffer of generic XDP knows, but does not tell.
        if self.keeps_buffer() { None } else { Some(0) }
    }
}
