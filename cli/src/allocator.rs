//! The allocator: reading captures makes and drops many small things. Unsafe code: handing the allocator's own interface to Rust.
//!
//! mimalloc by its own calls and not by the crate of that name, which asks for an alignment each time: that is a slower way
//! through the allocator, and whatever mimalloc gives lies at multiples of a word anyway.
#![allow(unsafe_code, reason = "the allocator's own interface")]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_collect, mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

#[global_allocator]
static ALLOCATOR: Mimalloc = Mimalloc;

struct Mimalloc;

/// Whether all that mimalloc gives is aligned for this layout: it is to a word, whatever the size.
fn plain(layout: Layout) -> bool {
    layout.align() <= size_of::<usize>()
}

// SAFETY: mimalloc gives memory of the size asked for, aligned to a word or as asked for, that nobody else has until it is
// freed, or null; all its calls may free what any of its others gave. None of them unwinds.
unsafe impl GlobalAlloc for Mimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two will do.
        unsafe { if plain(layout) { mi_malloc(layout.size()) } else { mi_malloc_aligned(layout.size(), layout.align()) }.cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { if plain(layout) { mi_zalloc(layout.size()) } else { mi_zalloc_aligned(layout.size(), layout.align()) }.cast() }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let at = at.cast();
        // SAFETY: the caller vouches that `at` came from here.
        unsafe { if plain(layout) { mi_realloc(at, size) } else { mi_realloc_aligned(at, size, layout.align()) }.cast() }
    }

    unsafe fn dealloc(&self, at: *mut u8, _: Layout) {
        // SAFETY: the caller vouches that `at` came from here.
        unsafe { mi_free(at.cast()) }
    }
}

/// Makes do with small pages: huge ones hold twice the memory, and reading captures is no quicker for them. Not for a program
/// that starts others, which would inherit it.
pub fn small_pages() {
    // Where the kernel has none, there is nothing to switch off.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// Gives memory that this thread has freed back to the system: for a program that needed much once, and little from now on.
pub fn give_back() {
    // SAFETY: it may be called at any time; it touches nothing but pages in which nothing lies.
    unsafe { mi_collect(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_zeroed_and_keeps_what_it_holds() {
        for align in [1, 2, 8, 16, 64, 4096] {
            for size in [1, 7, 8, 24, 100, 1_025, 5_000, 3 << 20] {
                let layout = Layout::from_size_align(size, align).expect("a layout");
                // SAFETY: the layout has a size; what is read and written lies within what was given, and it is freed once.
                unsafe {
                    let zeroed = ALLOCATOR.alloc_zeroed(layout);
                    assert!(!zeroed.is_null() && (zeroed as usize).is_multiple_of(align), "{size} bytes at multiples of {align}");
                    assert!((0..size).all(|i| *zeroed.add(i) == 0));
                    zeroed.write_bytes(0xa5, size);
                    let grown = ALLOCATOR.realloc(zeroed, layout, 3 * size);
                    assert!(
                        !grown.is_null() && (grown as usize).is_multiple_of(align),
                        "{size} bytes more at multiples of {align}"
                    );
                    assert!((0..size).all(|i| *grown.add(i) == 0xa5));
                    ALLOCATOR.dealloc(grown, Layout::from_size_align(3 * size, align).expect("a layout"));
                }
            }
        }
    }

    /// Resident pages of this process.
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").expect("procfs is there");
        text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number")
    }

    #[test]
    fn what_is_free_is_given_back() {
        let before = resident();
        let many: Vec<Box<[u8; 100]>> = (0..400_000).map(|i| Box::new([i as u8; 100])).collect();
        let with = resident();
        assert!(with > before + 8_000, "{before} pages, then {with}");
        drop(many);
        super::give_back();
        let after = resident();
        // Other tests of this program run meanwhile and take some, too.
        assert!(after < before + (with - before) / 2, "{before} pages, {with} with much, {after} after");
    }
}
