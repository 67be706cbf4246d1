//! What `--version` says: how this binary is built, and what it can therefore do.

use std::fmt::Write;

/// Who builds what is handed out says which commit that is; another build does not know, and asking git each time would build anew with
/// every commit.
const REVISION: Option<&str> = option_env!("WHOSTALLED_REVISION");

/// The answer to `--version`, after the name.
pub fn long() -> String {
    let mut out = env!("CARGO_PKG_VERSION").to_owned();
    let linked = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    let revision = REVISION.unwrap_or("not recorded (make dist records it)");
    let _ = write!(out, "\nrevision          {revision}");
    let (profile, target, rustc) = (env!("WHOSTALLED_PROFILE"), env!("WHOSTALLED_TARGET"), env!("WHOSTALLED_RUSTC"));
    let _ = write!(out, "\nbuilt             profile {profile}, {target}, {linked}, {rustc}");
    let filter = if recorder::HAS_KERNEL_FILTER {
        "in the kernel (eBPF, where the host permits it), else by libpcap"
    } else {
        "by libpcap alone: built without clang"
    };
    let _ = write!(out, "\npackets filtered  {filter}");
    let _ = write!(out, "\nlibpcap           {}", recorder::libpcap_version());
    let own = if cfg!(feature = "bundled-sqlite") { "built in" } else { "the host's" };
    let _ = write!(out, "\nSQLite            {}, {own}", alerting::sqlite_version());
    let native = if cfg!(feature = "native-histograms") { "yes" } else { "no: built without the feature `native-histograms`" };
    let _ = write!(out, "\nnative histograms {native}");
    let fleet = if cfg!(feature = "fleet") { "yes" } else { "no: built without the feature `fleet`" };
    let _ = write!(out, "\nfleet (NATS)      {fleet}");
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_says_how_it_was_built() {
        let said = super::long();
        assert_eq!(said.lines().count(), 8, "{said}");
        let tests_are_debug = said.contains("profile debug,") || said.contains("profile release,");
        assert!(tests_are_debug && said.contains(std::env::consts::ARCH), "{said}");
        let libpcap = said.lines().find(|line| line.starts_with("libpcap ")).expect("a line");
        assert!(libpcap.contains("1."), "{libpcap}");
    }
}
