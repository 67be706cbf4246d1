//! What the crate pcap does not hand out: the socket behind a capture, and which libpcap it is.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
#[cfg(kernel_filter)]
use std::os::fd::{AsRawFd, BorrowedFd};

#[cfg(kernel_filter)]
use pcap::{Active, Capture};

unsafe extern "C" {
    /// pcap_lib_version(3PCAP).
    fn pcap_lib_version() -> *const c_char;
}

/// The libpcap that is linked, in its own words: `1.10.3 (with TPACKET_V3)`.
pub fn libpcap_version() -> &'static str {
    // SAFETY: it takes nothing and gives a string that ends with a zero byte and is never freed.
    let said = unsafe { CStr::from_ptr(pcap_lib_version()) };
    let said = said.to_str().unwrap_or("of unknown version");
    said.strip_prefix("libpcap version ").unwrap_or(said)
}

/// The packet socket that `handle` reads from.
#[cfg(kernel_filter)]
pub(crate) fn of(handle: &Capture<Active>) -> BorrowedFd<'_> {
    // SAFETY: a live Linux capture has an open descriptor, and keeps it open for as long as the handle that the result borrows.
    unsafe { BorrowedFd::borrow_raw(handle.as_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libpcap_says_which_it_is() {
        assert!(libpcap_version().starts_with("1."), "{}", libpcap_version());
    }

    #[cfg(kernel_filter)]
    #[test]
    fn it_is_an_open_descriptor() {
        if !testing::root() {
            return;
        }
        let handle = Capture::from_device("lo").and_then(pcap::Capture::open).expect("root may capture on loopback");
        assert!(of(&handle).try_clone_to_owned().is_ok());
    }
}
