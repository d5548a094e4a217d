//! A packet in a buffer of the kernel: what both shells do alike. The rest of [`lb_ebpf::Frame`] is theirs.

use super::maps::SCRATCH;
use crate::shell::{self, Context};
use aya_ebpf::helpers::{bpf_csum_diff, bpf_loop};
use bytemuck::Pod;
use core::{arch::asm, ffi::c_void, hint::black_box, intrinsics::is_val_statically_known, ptr};
use lb_ebpf::{Reason, frame::Text};

/// Headers lie within this many bytes; the verifier wants to see a bound.
const REACH: usize = 1023;

/// A packet in a buffer of the kernel.
pub struct Buffer {
    pub context: *mut Context,
    /// Bounds of the linear part. Kept here, because the compiler would load them again after
    /// every store; read again when the kernel moves them.
    start: usize,
    end: usize,
}

impl Buffer {
    #[inline(always)]
    pub fn of(context: *mut Context) -> Self {
        let mut buffer = Self { context, start: 0, end: 0 };
        buffer.measure();
        buffer
    }

    /// Looks where the linear part lies.
    #[inline(always)]
    fn measure(&mut self) {
        // SAFETY: the context is the kernel's, valid while the program runs.
        unsafe {
            self.start = (*self.context).data as usize;
            self.end = (*self.context).data_end as usize;
        }
    }

    /// The result of a helper that may have moved the packet.
    #[inline(always)]
    pub fn moved(&mut self, failed: bool) -> Result<(), Reason> {
        self.measure();
        if failed { Err(Reason::RewriteFailed) } else { Ok(()) }
    }

    /// Bytes in the linear part.
    #[inline(always)]
    pub fn linear(&self) -> usize {
        self.end - self.start
    }

    /// The place of a `T`, if the linear part of the packet holds it.
    #[inline(always)]
    pub fn at<T>(&self, mut offset: usize) -> Option<*mut T> {
        if offset > REACH {
            return None;
        }
        // Changes nothing. Where the compiler knows the offset to be small it drops the comparison;
        // the verifier, which does not know, sees this.
        if !is_val_statically_known(offset) {
            // SAFETY: touches nothing but the register.
            unsafe {
                asm!("{0} &= {mask}", inout(reg) offset, mask = const REACH, options(pure, nomem, nostack))
            };
        }
        let place = self.start + offset;
        (place + size_of::<T>() <= self.end).then_some(place as *mut T)
    }

    /// Copies a `T` out.
    #[inline(always)]
    pub fn read<T: Pod>(&self, offset: usize) -> Option<T> {
        // SAFETY: in bounds. Not aligned, which x86 and arm64 do not mind and the verifier knows;
        // an unaligned read would be compiled to single bytes.
        self.at::<T>(offset).map(|place| unsafe { *place })
    }

    /// Writes a `T` in place.
    #[inline(always)]
    pub fn write<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        let place = self.at::<T>(offset).ok_or(Reason::RewriteFailed)?;
        // SAFETY: as in `read`.
        unsafe { *place = value };
        Ok(())
    }

    /// [`lb_ebpf::Frame::sum`].
    #[inline(always)]
    pub fn sum(&self, offset: usize, end: usize) -> Option<u64> {
        let mut pieces =
            Pieces { context: self.context, offset: offset as u32, end: end as u32, sum: 0, failed: 0 };
        // 64 KiB, the longest IP packet, in pieces.
        let count = (end - offset) as u32 / PIECE + 1;
        // SAFETY: the callback gets the pointer that it expects, and it is valid during the call.
        unsafe {
            bpf_loop(count, add_piece as *mut c_void, ptr::from_mut(&mut pieces).cast(), 0);
        }
        (pieces.failed == 0).then_some(pieces.sum)
    }

    /// [`lb_ebpf::Frame::copy`].
    #[inline(always)]
    pub fn copy(&self, offset: usize, length: usize, text: &mut Text) -> bool {
        if length == 0 {
            return true;
        }
        // The compiler would drop a mask that it knows to be needless; the verifier needs it.
        let length = (black_box(length.min(TEXT) as u32 - 1) & (TEXT as u32 - 1)) + 1;
        // SAFETY: at most as much as `text` holds.
        unsafe { shell::copy(self.context, offset as u32, text.as_mut_ptr().cast(), length) == 0 }
    }
}

/// Bytes of a [`Text`]: a power of two.
const TEXT: usize = size_of::<Text>();

/// Bytes summed at a time: what `bpf_csum_diff` takes at once.
const PIECE: u32 = 512;

struct Pieces {
    context: *mut Context,
    offset: u32,
    end: u32,
    sum: u64,
    failed: u32,
}

/// Adds one piece; 1 ends the loop.
unsafe extern "C" fn add_piece(_index: u32, pieces: *mut c_void) -> i64 {
    // SAFETY: `sum` passes a `Pieces`.
    let pieces = unsafe { &mut *pieces.cast::<Pieces>() };
    let left = pieces.end.wrapping_sub(pieces.offset);
    if left == 0 {
        return 1;
    }
    // The compiler would drop a mask that it knows to be needless; the verifier needs it.
    let length = (black_box(left.min(PIECE) - 1) & (PIECE - 1)) + 1;
    pieces.failed = 1;
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return 1 };
    let words = scratch.cast::<u32>();
    // SAFETY: at most PIECE bytes go into a scratch of four more, and the last word that they fill
    // in part was zeroed before.
    let sum = unsafe {
        *words.add((length / 4) as usize) = 0;
        if shell::copy(pieces.context, pieces.offset, scratch.cast(), length) != 0 {
            return 1;
        }
        bpf_csum_diff(ptr::null_mut(), 0, words, (length + 3) & !3, 0)
    };
    if sum < 0 {
        return 1;
    }
    pieces.failed = 0;
    pieces.sum += sum as u64;
    pieces.offset += length;
    0
}
