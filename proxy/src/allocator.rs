//! The allocator, and giving back to the system what a crowd has left behind.
//!
//! mimalloc gives freed memory back a second after it was freed, and looks for what is due only when more is freed: when a
//! crowd has left and all is quiet, nobody does. So each worker asks it to, now and then.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives back what the calling thread freed, and what any thread freed more than a second ago.
///
/// Takes about a microsecond when there is nothing, however much is in use: only pages with room are looked at.
#[expect(unsafe_code, reason = "mimalloc's own function, which no crate wraps")]
pub fn give_back() {
    // SAFETY: mi_collect() takes a flag, may be called at any time from any thread, and frees only what nobody has.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
