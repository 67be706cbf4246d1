//! The two ends' clocks compared, packet by packet. What they differ by means nothing; how that *changes* does (docs/method.md,
//! "Asymmetry and clock steps").
//!
//! For a packet seen at both ends, `edge's time − client's time` is the clocks' difference plus the way out, or minus the way
//! back. So among packets of one direction a larger difference is a longer way out (or a shorter way back), whatever the clocks
//! show; and a clock that is set while the handshake runs moves both directions alike, which no path can do.

use foldhash::HashMap;

use crate::clock::{Client, Domain, Edge, Span};
use crate::tcp::flow::{Seen, Side, View};
use crate::tcp::stamps::Stamps;

/// What no clock shows by itself: jitter of stamps and of the way.
const NOISE: Span = Span::from_millis(2);
/// Less than this is no step that matters.
const LEAST_STEP: Span = Span::from_millis(10);
/// Told by timestamps, less than this is none: daemons that keep clocks right set them by more at once, and slew them by less.
const LEAST_OWN_STEP: Span = Span::from_millis(25);
/// TCP timestamps tick in milliseconds at best, and two of them are compared.
const TICKS: Span = Span::from_millis(6);

/// A leap of a host's own timestamps against its capture's clock that no queue explains: packets wait for a busy radio for a tenth of
/// that, and a capture "at the client" may have been made behind it.
const HOST_STEP: Span = Span::from_millis(500);
/// Time that both ends had and a capture's clock had not: more than jitter in all packets of a handshake.
const LACKING: Span = Span::from_millis(100);
/// By then a SYN without an answer has been repeated; and something for timers that are slow.
const FIRST_TIMEOUT: Span = Span::from_millis(1_200);

/// A packet seen at both ends.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// Who sent it.
    pub from: Side,
    /// Its place in the client's view.
    pub client: usize,
    /// Its place in the edge's view.
    pub edge: usize,
    /// The edge's clock minus the client's.
    pub difference: Span,
}

/// Packets that are surely the same at both ends, in the client's order.
pub fn crossings(client: &View<Client>, edge: &View<Edge>) -> Vec<Crossing> {
    let mut at_edge: HashMap<_, Vec<usize>> = HashMap::default();
    for (i, packet) in edge.packets.iter().enumerate() {
        at_edge.entry(identity(packet)).or_default().push(i);
    }
    let mut seen = HashMap::default();
    for packet in &client.packets {
        *seen.entry(identity(packet)).or_insert(0) += 1;
    }
    let crossing = |(i, packet): (usize, &Seen<Client>)| {
        let name = identity(packet);
        let [other] = at_edge.get(&name)?[..] else { return None };
        (seen[&name] == 1).then(|| Crossing {
            from: packet.from,
            client: i,
            edge: other,
            difference: Span::from_nanos(edge.packets[other].at.nanos().saturating_sub(packet.at.nanos())),
        })
    };
    client.packets.iter().enumerate().filter_map(crossing).collect()
}

type Identity = (Side, u8, i64, i64, Option<i64>, Option<u32>, Option<u16>);

/// What a packet keeps on its way through address translation.
fn identity<D: Domain>(p: &Seen<D>) -> Identity {
    (p.from, p.flags.0, p.start(), p.len(), p.ack(), p.tsval(), p.ip_id())
}

/// A clock that was set while it stamped a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The first packet stamped after it, by its place in the view.
    pub from: usize,
    /// By how much it was set forward.
    pub by: Span,
}

/// Whether one end's capture clock was set, told by the TCP timestamps of both ends: each counts its own host's time, and both
/// disagree with the capture's clock by the same amount from one packet on.
pub fn own_step<D: Domain>(view: &View<D>) -> Option<Step> {
    // Nearly always nothing moved; then nothing needs to be searched.
    let moved = |side| Stamps::usual().spread(view, side).is_some_and(|spread| spread >= LEAST_STEP);
    if !moved(Side::Client) || !moved(Side::Server) {
        return None;
    }
    let (of_client, of_server) = (Stamps::of(view, Side::Client), Stamps::of(view, Side::Server));
    let lag = |p: &Seen<D>| if p.from == Side::Client { of_client.lag(p) } else { of_server.lag(p) };
    let lags: Vec<(Side, Option<i64>)> = view.packets.iter().map(|p| (p.from, lag(p))).collect();
    let least = |range: &[(Side, Option<i64>)], side| range.iter().filter(|(s, _)| *s == side).filter_map(|(_, l)| *l).min();
    let slack = TICKS.max(of_client.tick().max(of_server.tick()).percent(200));
    let step_at = |k: usize| {
        let (before, after) = lags.split_at(k);
        let of = |side| Some(least(after, side)?.saturating_sub(least(before, side)?));
        let by = same(of(Side::Client)?, of(Side::Server)?, slack)?;
        let least = least_step(view.packets[k].at - view.packets[k - 1].at, LEAST_OWN_STEP);
        (by.abs() >= least).then_some(Step { from: k, by })
    };
    let steps: Vec<Step> = (1..lags.len()).filter_map(step_at).collect();
    // Past the true place a forward step still shows, before it a backward one.
    steps.iter().find(|s| s.by > Span::ZERO).or(steps.iter().rfind(|s| s.by < Span::ZERO)).copied()
}

/// The same, told by the timestamps of `side` alone, on whose host the observer stands: no path lies between the two clocks, so one
/// leap is a set clock. Packets that wait in the host's own queue leave it soon; a leap that stays and is this long did not.
pub fn host_step<D: Domain>(view: &View<D>, side: Side) -> Option<Step> {
    if Stamps::usual().spread(view, side)? < HOST_STEP {
        return None;
    }
    let stamps = Stamps::of(view, side);
    let stamped: Vec<(usize, &Seen<D>)> =
        view.packets.iter().enumerate().filter(|(_, p)| p.from == side && p.tsval().is_some()).collect();
    // What passed between two packets by the capture's clock, and how much more than by the host's.
    let between = |a: &Seen<D>, b: &Seen<D>| Some((b.at - a.at, Span::from_nanos(stamps.lag(b)?.saturating_sub(stamps.lag(a)?))));
    let mut leaps = (1..stamped.len()).filter_map(|k| {
        let (passed, by) = between(stamped[k - 1].1, stamped[k].1)?;
        (by.abs() >= least_step(passed, HOST_STEP)).then_some((k, by))
    });
    let (k, by) = leaps.next().filter(|_| leaps.next().is_none())?;
    // Elsewhere the two run alike.
    let alike = |range: &[(usize, &Seen<D>)]| {
        let ends = range.first().zip(range.last()).and_then(|(a, b)| between(a.1, b.1));
        ends.is_some_and(|(passed, by)| passed > LEAST_STEP && by.fraction_of(passed).abs() < 0.25)
    };
    let (before, after) = stamped.split_at(k);
    let step = Step { from: after[0].0, by };
    (!counted_by_peer(view, side, step) && (alike(before) || alike(after))).then_some(step)
}

/// Whether the peer's timestamps count what a step would take out: then it passed, and the host stood still.
fn counted_by_peer<D: Domain>(view: &View<D>, side: Side, step: Step) -> bool {
    let stamps = Stamps::of(view, side.peer());
    let lags = |range: &[Seen<D>]| -> Vec<i64> {
        range.iter().filter(|p| p.from == side.peer()).filter_map(|p| stamps.lag(p)).collect()
    };
    let (before, after) = view.packets.split_at(step.from);
    let leap =
        lags(before).into_iter().max().zip(lags(after).into_iter().min()).map(|(before, after)| after.saturating_sub(before));
    leap.is_some_and(|leap| leap.abs() < step.by.nanos().abs() / 2)
}

/// What is no step behind a pause: some hosts' timestamps run slower or faster by a few per cent.
fn least_step(pause: Span, least: Span) -> Span {
    least.max(pause.percent(10))
}

/// Whether a SYN waited longer for its answer than any stack waits before it repeats one (RFC 6298, section 2.1), and was not
/// repeated: time that the client did not have, for its clock was set or it stood still.
pub fn waited_in_no_time<D: Domain>(view: &View<D>) -> bool {
    let last = view.syns(Side::Client).last();
    let answer = view.syns(Side::Server).next();
    last.zip(answer).is_some_and(|(syn, answer)| answer.at - syn.at > FIRST_TIMEOUT)
}

/// Whether the capture's clock is no clock at all (packets stamped when a mirror passed them on): both ends' own timestamps count time
/// that it did not. A path may hold packets of one direction and let them go together; not those of both.
pub fn lacks_time<D: Domain>(view: &View<D>) -> bool {
    let whole = view.packets.first().zip(view.packets.last()).map_or(Span::ZERO, |(first, last)| last.at - first.at);
    let lacking = |side| {
        let stamps = Stamps::of(view, side);
        let mut stamped = view.sent_by(side).filter(|p| p.tsval().is_some());
        let Some(first) = stamped.next() else { return false };
        let begun = stamps.lag(first);
        let (mut last, mut ended, mut lacking) = (first, begun, Span::ZERO);
        for p in stamped {
            let lag = stamps.lag(p);
            lacking += Span::from_nanos(ended.zip(lag).map_or(0, |(a, b)| a.saturating_sub(b))).at_least_zero();
            (last, ended) = (p, lag);
        }
        // Stamps of another unit count something else.
        let counted = begun.zip(ended).map_or(Span::ZERO, |(a, b)| last.at - first.at + Span::from_nanos(a.saturating_sub(b)));
        lacking >= LACKING && counted <= whole.percent(200)
    };
    lacking(Side::Client) && lacking(Side::Server)
}

/// How far two captures' clocks are apart by the shortest way out and the shortest way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Apart {
    out: i64,
    back: i64,
}

impl Apart {
    /// By how much one of the clocks was set between two handshakes of the same two hosts, if one was.
    pub fn moved_to(self, later: Self) -> Option<Span> {
        same(later.out.saturating_sub(self.out), later.back.saturating_sub(self.back), NOISE)
    }
}

/// How far the clocks were apart at the end of a handshake, for the next one over the same path.
pub fn apart(crossings: &[Crossing]) -> Option<Apart> {
    Some(Apart { out: shortest(crossings, Side::Client)?, back: shortest(crossings, Side::Server)? })
}

/// By the shortest way: least out, most back.
fn shortest(range: &[Crossing], side: Side) -> Option<i64> {
    let differences = range.iter().filter(|c| c.from == side).map(|c| c.difference.nanos());
    if side == Side::Client { differences.min() } else { differences.max() }
}

/// Where the difference of two captures' clocks changed for both directions alike: by place in `crossings`. `earlier` is how far
/// they were apart in an earlier handshake over the same path.
pub fn step_between(crossings: &[Crossing], earlier: Option<Apart>) -> Option<Step> {
    let known = |side| earlier.map(|e| if side == Side::Client { e.out } else { e.back });
    // The one packet before a step may be slow itself: what was shortest before counts with it.
    let nearer = |side, a: Option<i64>, b: Option<i64>| match (a, b) {
        (Some(a), Some(b)) => Some(if side == Side::Client { a.min(b) } else { a.max(b) }),
        (a, b) => a.or(b),
    };
    let step = |k: usize| {
        let (before, after) = crossings.split_at(k);
        let change = |side| Some(shortest(after, side)?.saturating_sub(nearer(side, shortest(before, side), known(side))?));
        same(change(Side::Client)?, change(Side::Server)?, NOISE).map(|by| Step { from: k, by })
    };
    // It shows a little before or behind its place as well; there, two packets of one direction lie furthest apart.
    let leap = |k: usize| {
        let here = crossings[k];
        let last = crossings[..k].iter().rfind(|c| c.from == here.from).map(|c| c.difference.nanos());
        last.or(known(here.from)).map_or(0, |last| here.difference.nanos().abs_diff(last))
    };
    (1..crossings.len()).filter_map(step).max_by_key(|step| (leap(step.from), std::cmp::Reverse(step.from)))
}

fn same(a: i64, b: i64, slack: Span) -> Option<Span> {
    let step = a.signum() == b.signum() && a.unsigned_abs().min(b.unsigned_abs()) >= LEAST_STEP.nanos().unsigned_abs();
    let alike = a.abs_diff(b) <= slack.nanos().unsigned_abs().max(a.unsigned_abs() / 50);
    (step && alike).then(|| Span::from_nanos(i64::midpoint(a, b)))
}

/// Takes a step out: what was stamped after it is stamped as if the clock had not been set.
pub fn take_out<D: Domain>(view: &mut View<D>, step: Step) {
    for packet in view.packets.iter_mut().skip(step.from) {
        packet.at = packet.at - step.by;
    }
}

/// Whether a capture's clock ran backwards between two packets.
pub fn runs_backwards<D: Domain>(view: &View<D>) -> bool {
    view.packets.windows(2).any(|pair| pair[1].at - pair[0].at < Span::ZERO - LEAST_STEP)
}
