//! The program `balancer`.

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The option that says after how many milliseconds freed memory goes back to the system (mimalloc.h, mi_option_t).
const PURGE_DELAY: c_int = 15;
/// Bodies pass in pieces of all sizes. Of what is freed of them the allocator would keep a second's worth.
const PURGE_AFTER_MILLIS: c_long = 10;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

fn main() -> ! {
    // SAFETY: the allocator's own function, called before there is a second thread.
    unsafe { mi_option_set(PURGE_DELAY, PURGE_AFTER_MILLIS) };
    serve::balancer::main()
}
