//! What a server that reads the option of `--toa` does, for the test of it: notes the option of each connection that is
//! made to a socket, as the socket's own TCP took it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[path = "../kernel/bare.rs"]
mod bare;

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
        macros::{map, sock_ops},
        maps::HashMap,
        programs::SockOpsContext,
    };

    /// Bytes of a TCP header before its options, and of the longer option, that of IPv6.
    const HEADER: usize = 20;
    const OPTION: usize = 20;
    /// The one of IPv4.
    const SHORT: usize = 8;

    /// What the last acknowledgement of a handshake begins its options with, by the port that it came from.
    #[map]
    static OPTIONS: HashMap<u32, [u8; OPTION]> = HashMap::with_max_entries(64, 0);

    #[sock_ops]
    pub fn reader(context: SockOpsContext) -> u32 {
        if context.op() == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
            // SAFETY: the kernel sets both for this operation, to the header of the packet.
            let (header, end) = unsafe {
                let operation = &*context.ops;
                (
                    operation.__bindgen_anon_3.skb_data as usize,
                    operation.__bindgen_anon_4.skb_data_end as usize,
                )
            };
            let mut option = [0; OPTION];
            let at = header + HEADER;
            // SAFETY: so much of the header is there.
            unsafe {
                if at + OPTION <= end {
                    option = *(at as *const [u8; OPTION]);
                } else if at + SHORT <= end {
                    option[..SHORT].copy_from_slice(&*(at as *const [u8; SHORT]));
                }
            }
            let _ = OPTIONS.insert(&context.remote_port(), &option, 0);
        }
        1
    }
}
