//! The socket behind a libpcap capture.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use pcap::{Active, Capture};

/// The packet socket that `handle` reads from.
pub(crate) fn of(handle: &Capture<Active>) -> BorrowedFd<'_> {
    // SAFETY: a live Linux capture has an open descriptor, and keeps it open for as long as the handle that the result borrows.
    unsafe { BorrowedFd::borrow_raw(handle.as_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_open_descriptor() {
        if !testing::root() {
            return;
        }
        let handle = Capture::from_device("lo").and_then(pcap::Capture::open).expect("root may capture on loopback");
        assert!(of(&handle).try_clone_to_owned().is_ok());
    }
}
