//! Waits that a receiver makes its peer spend: its buffer is full, because its program does not read (RFC 9293 section 3.8.6.1).

use crate::clock::{Domain, Instant, Span};
use crate::flow::{Seen, Side, View};

/// Shorter ones are none.
const AT_ONCE: Span = Span::from_millis(1);

/// A stretch in which `side` could not send, its peer's window being closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed<'a, D> {
    /// The last data sent before it closed.
    pub sent: &'a Seen<D>,
    /// The packet that closed it.
    pub shut: &'a Seen<D>,
    /// The packet that opened it, or the last one seen.
    pub opened: &'a Seen<D>,
}

/// The closed windows that `side` met within `[from, to]`.
pub(crate) fn closed_windows<'a, D: Domain>(
    view: &'a View<D>,
    side: Side,
    from: Instant<D>,
    to: Instant<D>,
) -> Vec<Closed<'a, D>> {
    if to - from <= AT_ONCE {
        return Vec::new(); // too short for a wait
    }
    let mut found = Vec::new();
    let mut shut = None::<&Seen<D>>;
    let told = |p: &&Seen<D>| p.flags.ack() && !p.flags.rst() && p.at <= to;
    let mut last = None;
    for packet in view.sent_by(side.peer()).filter(told) {
        last = Some(packet);
        match (packet.window, shut) {
            (0, None) => shut = Some(packet),
            (0, Some(_)) | (_, None) => {}
            (_, Some(shutting)) => {
                found.push((shutting, packet));
                shut = None;
            }
        }
    }
    found.extend(shut.zip(last));
    let closed = |(shut, opened): (&'a Seen<D>, &'a Seen<D>)| {
        let sent = view.sent_by(side).rfind(|p| !p.is_empty() && p.at <= shut.at)?;
        (opened.at >= from && opened.at - shut.at.max(from) > AT_ONCE).then_some(Closed { sent, shut, opened })
    };
    found.into_iter().filter_map(closed).collect()
}
