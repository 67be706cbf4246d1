//! A host's capture between two moments, as a pcapng file in memory.

use agent::{Losses, Pcapng};
use analysis::wire::packet::LinkType;
use capture::evidence::Evidence;
use capture::live::Live;

use crate::Error;

/// `LINKTYPE_ETHERNET`.
const ETHERNET: i32 = 1;

/// Frames captured on `host` since they were last taken.
pub(super) fn take(host: &str, live: &Live) -> Result<Pcapng, Error> {
    if let Some(why) = live.failure() {
        return Err(Error::CaptureEnded { host: host.to_owned(), why });
    }
    let mut bytes = Vec::new();
    let mut write = || -> std::io::Result<()> {
        let mut file = Evidence::begin(&mut bytes, "packets of one batch")?;
        let interface = file.interface("eth0", ETHERNET)?;
        let mut last = 0;
        for frame in live.drain() {
            file.packet(interface, Some(LinkType::Ethernet), &frame, &[])?;
            last = frame.at;
        }
        file.finish(last, &[live.losses()])
    };
    write().map_err(|source| Error::Write { path: format!("the packets of {host}"), source })?;
    Ok(Pcapng(bytes))
}

/// What the capture has lost so far.
pub(super) fn losses(live: &Live) -> Losses {
    let capture::live::Losses { received, dropped, evicted } = live.losses();
    Losses { received, dropped, evicted }
}
