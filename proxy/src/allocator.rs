//! The allocator, and giving back to the system what a crowd has left behind.
//!
//! mimalloc by its plain entry points: the crate of that name goes through the ones for aligned memory, which nearly nobody
//! needs and which cost twice as much for blocks of more than 1 KiB. It gives freed memory back a second after it was freed,
//! and looks for what is due only when more is freed: when a crowd has left and all is quiet, nobody does. So each worker
//! asks it to, now and then.

#![expect(unsafe_code, reason = "the allocator's own functions")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use libmimalloc_sys::{
    mi_collect, mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

struct Allocator;

/// What every block of that size is aligned to (`MI_MAX_ALIGN_SIZE` in mimalloc/types.h; smaller blocks to their size).
const ALIGN: usize = 16;

const fn is_plain(layout: Layout) -> bool {
    layout.align() <= ALIGN && layout.align() <= layout.size()
}

// SAFETY: mimalloc's blocks do not overlap, live until they are freed, may be freed by any thread, and are as large as was
// asked for; their alignment is checked by `is_plain`, and asked for where that does not hold. Null means that there is none.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_plain(layout) {
            // SAFETY: may be called with any size.
            unsafe { mi_malloc(layout.size()).cast() }
        } else {
            // SAFETY: the alignment is a power of two, as Layout says.
            unsafe { mi_malloc_aligned(layout.size(), layout.align()).cast() }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_plain(layout) {
            // SAFETY: as in `alloc`.
            unsafe { mi_zalloc(layout.size()).cast() }
        } else {
            // SAFETY: as in `alloc`.
            unsafe { mi_zalloc_aligned(layout.size(), layout.align()).cast() }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALIGN && layout.align() <= size {
            // SAFETY: the caller has the block from us.
            unsafe { mi_realloc(block.cast(), size).cast() }
        } else {
            // SAFETY: the same; the alignment is a power of two.
            unsafe { mi_realloc_aligned(block.cast(), size, layout.align()).cast() }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller has the block from us, and does not use it any more.
        unsafe { mi_free(block.cast()) }
    }
}

/// Clients that are a crowd when they leave: of HTTP/2, each may have had a hundred streams.
const CROWD: usize = 4;
/// Looks after which those who left are not expected back.
const QUIET_LOOKS: u32 = 10;

/// What is remembered of the clients that were connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crowd {
    /// The most there were since a crowd left last.
    most: usize,
    /// For how many looks no more than half of them have been here.
    quiet_looks: u32,
}

thread_local! {
    static CROWD_SEEN: Cell<Crowd> = const { Cell::new(Crowd::NOBODY) };
}

impl Crowd {
    const NOBODY: Self = Self {
        most: 0,
        quiet_looks: 0,
    };

    /// What is remembered after a look that finds `open` clients, and whether a crowd has left for good.
    fn look(self, open: usize) -> (Self, bool) {
        let Self { most, quiet_looks } = self;
        if most < CROWD || open > most / 2 {
            let most = most.max(open);
            return (Self { most, quiet_looks: 0 }, false);
        }
        if quiet_looks < QUIET_LOOKS {
            let quiet_looks = quiet_looks + 1;
            return (Self { most, quiet_looks }, false);
        }
        (
            Self {
                most: open,
                ..Self::NOBODY
            },
            true,
        )
    }
}

/// Gives back what the calling thread freed, and what any thread freed more than a second ago; `open` is how many clients
/// are connected.
///
/// Takes about a microsecond when there is nothing, however much is in use: only pages with room are looked at. When a crowd
/// has left, all pages of the thread are looked at once, for what other threads have freed in them.
pub fn give_back(open: usize) {
    let (crowd, has_left) = CROWD_SEEN.get().look(open);
    CROWD_SEEN.set(crowd);
    // SAFETY: mi_collect() takes a flag, may be called at any time from any thread, and frees only what nobody has.
    unsafe { mi_collect(has_left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which looks a crowd was found to have left, when each of these numbers of clients is seen so many times.
    fn left(seen: &[(usize, u32)]) -> Vec<u32> {
        let (mut crowd, mut look, mut left) = (Crowd::NOBODY, 0, Vec::new());
        for (open, times) in seen {
            for _ in 0..*times {
                let has_left;
                (crowd, has_left) = crowd.look(*open);
                look += 1;
                left.extend(has_left.then_some(look));
            }
        }
        left
    }

    #[test]
    fn a_crowd_has_left_when_half_of_it_is_gone_for_eleven_looks_and_it_leaves_once() {
        for (seen, expected) in [
            (&[(3, 5), (0, 50)][..], vec![]),
            (&[(4, 1), (0, 50)], vec![12]),
            (&[(100, 1), (51, 50)], vec![]),
            (&[(100, 1), (50, 50)], vec![12]),
            // Who comes back in between is expected again.
            (&[(100, 1), (10, 10), (60, 1), (10, 10)], vec![]),
            (&[(100, 1), (10, 10), (60, 1), (10, 11)], vec![23]),
            // Those who stayed are the crowd that may leave next.
            (&[(100, 1), (40, 11), (3, 11)], vec![12, 23]),
        ] {
            assert_eq!(left(seen), expected, "{seen:?}");
        }
    }
}
