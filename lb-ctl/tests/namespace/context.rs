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

/// `struct __sk_buff` (`linux/bpf.h`), of which the kernel takes a few fields.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SocketBuffer {
    before: [u32; 2],
    mark: u32,
    behind: [u32; 6],
    arrival: u32,
    interface: u32,
    between: [u32; 30],
    segments: u32,
    bound_socket: [u32; 2],
    segment_size: u32,
}

const _: () = assert!(std::mem::offset_of!(SocketBuffer, arrival) == 36);
const _: () = assert!(std::mem::offset_of!(SocketBuffer, segments) == 164);
const _: () = assert!(std::mem::offset_of!(SocketBuffer, segment_size) == 176);

impl SocketBuffer {
    /// A frame of `length` bytes that came in by `interface`, and is cut into segments of so many bytes of
    /// data where it leaves; 0 where it is not.
    pub fn of(length: usize, interface: u32, segment_size: u32) -> Self {
        let segments = u32::try_from(length).unwrap().checked_div(segment_size).map_or(0, |count| count + 1);
        Self { arrival: interface, interface, segments, segment_size, ..bytemuck::Zeroable::zeroed() }
    }

    /// The same with a firewall mark.
    pub fn marked(self, mark: u32) -> Self {
        Self { mark, ..self }
    }
}
