//! What the micro-benchmark measures with, and against.
//!
//! The kernel repeats a program on one buffer without restoring it, so a program that rewrites its packet would see its own
//! output the second time. `restore` writes the packet anew, changes its flow if asked, and calls the program
//! under test. `floor` in that place is the cost of all this.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        Global,
        bindings::xdp_action::{XDP_ABORTED, XDP_TX},
        btf_maps::Array,
        helpers::bpf_redirect,
        macros::{btf_map, map, xdp},
        maps::ProgramArray,
        programs::XdpContext,
    };

    /// Words of the packet that are restored: 80 bytes.
    const WORDS: usize = 10;

    /// The packet, and how its flow is changed.
    #[repr(C)]
    pub struct Pattern {
        pub packet: [u64; WORDS],
        /// Flows to rotate through, a power of two; 0 for one.
        pub flows: u32,
        /// Offset of 16 bits of the source address.
        pub address: u32,
        /// Offset of the source port.
        pub port: u32,
        /// Packets so far.
        pub count: u32,
    }

    #[btf_map]
    static PATTERN: Array<Pattern, 1> = Array::new();
    #[map]
    static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);
    /// Where `redirect` sends.
    #[unsafe(no_mangle)]
    static EGRESS: Global<u32> = Global::new(0);

    #[xdp(frags)]
    pub fn restore(context: XdpContext) -> u32 {
        let (start, end) = (context.data(), context.data_end());
        let Some(pattern) = PATTERN.get_ptr_mut(0) else { return XDP_ABORTED };
        if start + WORDS * 8 > end {
            return XDP_ABORTED;
        }
        // SAFETY: in bounds; one CPU.
        unsafe {
            for index in 0..WORDS {
                *(start as *mut u64).add(index) = (*pattern).packet[index];
            }
            let (flows, address, port) =
                ((*pattern).flows, (*pattern).address as usize, (*pattern).port as usize);
            if flows != 0 && address <= 64 && port <= 64 {
                // An odd factor: every flow comes once before one comes twice, and neighbours are far apart.
                let flow = (*pattern).count.wrapping_mul(0x9e37_79b1) & (flows - 1);
                (*pattern).count = (*pattern).count.wrapping_add(1);
                let (address, port) = (start + address, start + port);
                // The compiler knows that both are in bounds; the verifier has to be shown.
                let end = core::hint::black_box(end);
                if address + 2 > end || port + 2 > end {
                    return XDP_ABORTED;
                }
                *(address as *mut u16) = (flow >> 14) as u16;
                *(port as *mut u16) = ((flow as u16 & 0x3fff) + 1024).to_be();
            }
            let _ = TARGET.tail_call(&context, 0);
        }
        XDP_ABORTED
    }

    #[xdp(frags)]
    pub fn floor(_context: XdpContext) -> u32 {
        XDP_TX
    }

    #[xdp(frags)]
    pub fn redirect(_context: XdpContext) -> u32 {
        // SAFETY: takes any number.
        unsafe { bpf_redirect(EGRESS.load(), 0) as u32 }
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
