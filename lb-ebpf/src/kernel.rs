//! The kernel's side of the two traits, and the timer.

pub mod frame;
pub mod globals;
pub mod maps;
mod route;
pub mod steps;
pub mod sweep;
pub mod tables;
pub mod trace;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Unreachable: the verifier refuses a program that could get here.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
