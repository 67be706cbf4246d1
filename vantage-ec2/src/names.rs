//! Names of hosts in a static binary: as in `lab/src/sys.rs`, which is no part of this workspace (docs/decisions/0045).
#![allow(unsafe_code, reason = "glibc's own interface, without which a static binary loads plugins of another glibc")]

/// In a static binary, has names looked up in files and by DNS alone, whatever `/etc/nsswitch.conf` says. To be called before the first lookup.
/// Elsewhere it does nothing.
pub(crate) fn without_plugins() {
    #[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
    for (database, ways) in [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")] {
        // SAFETY: both are strings that end with a zero byte and live for ever; glibc copies what it keeps, and no lookup has begun.
        unsafe { __nss_configure_lookup(database.as_ptr(), ways.as_ptr()) };
    }
}

#[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
unsafe extern "C" {
    /// `nss.h`: the ways by which one database is looked up, instead of those of `/etc/nsswitch.conf`.
    fn __nss_configure_lookup(database: *const std::ffi::c_char, ways: *const std::ffi::c_char) -> std::ffi::c_int;
}
