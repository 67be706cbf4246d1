//! What captures saw between two moments, as a pcapng file in memory.

use agent::{Losses, Pcapng};
use analysis::clock::Instant;
use analysis::wire::packet::LinkType;
use capture::Captured;
use capture::evidence::Evidence;
use capture::live::Live;

use crate::Error;

/// Frames captured on `host` by these captures since they were last taken, as far as `keep` wants them; each capture goes by the name of
/// its interface.
///
/// # Errors
/// If a capture has ended by itself.
pub fn take(host: &str, captures: &[(&str, &Live)], keep: &dyn Fn(LinkType, &Captured) -> bool) -> Result<Pcapng, Error> {
    for (_, live) in captures {
        if let Some(why) = live.failure() {
            return Err(Error::CaptureEnded { host: host.to_owned(), why });
        }
    }
    let mut bytes = Vec::new();
    let mut write = || -> std::io::Result<()> {
        let mut file = Evidence::begin(&mut bytes, "packets of one batch")?;
        let (mut last, mut lost) = (Instant::from_nanos(0), Vec::new());
        for (name, live) in captures {
            let Some(link) = live.link() else { continue };
            let interface = file.interface(name, link.number())?;
            for frame in live.drain().iter().filter(|frame| keep(link, frame)) {
                file.packet(interface, Some(link), frame, &[])?;
                last = frame.at.max(last);
            }
            lost.push(live.losses());
        }
        file.finish(last, &lost)
    };
    write().map_err(|source| Error::Write { path: format!("the packets of {host}"), source })?;
    Ok(Pcapng(bytes))
}

/// What these captures have lost so far.
pub fn losses<'a>(captures: impl IntoIterator<Item = &'a Live>) -> Losses {
    let mut sum = Losses::default();
    for capture::live::Losses { received, dropped, evicted } in captures.into_iter().map(Live::losses) {
        sum.received += received;
        sum.dropped += dropped;
        sum.evicted += evicted;
    }
    sum
}
