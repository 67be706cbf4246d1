//! Which machine this is, as far as timings depend on it.

use std::fs::read_to_string;

use records::compared::Fingerprint;

/// The fingerprint of this machine; `?` for what it does not tell.
pub fn fingerprint() -> Fingerprint {
    let unknown = || "?".to_owned();
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    let release = nix::sys::utsname::uname().ok().map(|names| names.release().to_string_lossy().into_owned());
    Fingerprint {
        cpu: model.unwrap_or_else(unknown),
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        kernel: release.unwrap_or_else(unknown),
    }
}
