//! The allocator, and how soon it gives memory back to the system.
#![allow(unsafe_code)] // The allocator's options are set by a C call.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// Small allocations of many threads, freed on others: mimalloc keeps the resident memory flat.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's `mi_option_e`, which the bindings leave out.
const PURGE_DELAY: mi_option_t = 15;
/// How long free pages are kept, milliseconds. What a window, a batch or a fetch took is free again soon, and other threads take
/// other pages: with mimalloc's own second, a sixth of the resident memory was such pages. With less than this, pages come and go
/// with every batch, which costs a twentieth of the rate.
const KEPT_MS: std::ffi::c_long = 50;

/// Sets what mimalloc's own defaults are not made for. `MIMALLOC_PURGE_DELAY` in the environment goes before.
pub fn set_up() {
    // SAFETY: sets a number that the allocator reads at each purge; it may be called at any time, from any thread.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::mi_option_get;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: as above.
        let read = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(
            read(),
            1_000,
            "mimalloc's default; where it is another, its options may have been renumbered"
        );
        set_up();
        assert_eq!(read(), KEPT_MS);
    }
}
