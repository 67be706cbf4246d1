//! The allocator: reading captures makes and drops many small things. Unsafe code: asking it to give back what is free.
#![allow(unsafe_code, reason = "the allocator's own interface")]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that this thread has freed back to the system: for a program that needed much once, and little from now on.
pub fn give_back() {
    // SAFETY: it may be called at any time; it touches nothing but pages in which nothing lies.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[cfg(test)]
mod tests {
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
        assert!(after < before + (with - before) / 4, "{before} pages, {with} with much, {after} after");
    }
}
