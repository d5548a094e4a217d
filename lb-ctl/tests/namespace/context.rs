//! Where a packet comes from, as `BPF_PROG_TEST_RUN` is told.

/// `struct xdp_md` (`linux/bpf.h`).
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_interface: u32,
    receive_queue: u32,
    egress_interface: u32,
}

impl Context {
    /// A frame of `length` bytes that came in by `ingress_interface`.
    pub fn of(length: usize, ingress_interface: u32) -> Self {
        let data_end = u32::try_from(length).unwrap();
        Self { data: 0, data_end, data_meta: 0, ingress_interface, receive_queue: 0, egress_interface: 0 }
    }
}
