//! The ends of a batch, asked: made ready, let go, collected, and their clocks compared before and after. No packet is looked at here but
//! for the keys of its connection.
//!
//! Several vantages are asked at the same time, and their clients start at one moment, each told on its own clock. One alone starts at once.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use agent::{Bundle, Go, Plan, Ready};
use analysis::clock::Span;
use analysis::doubt::one_way::Bounds;
use analysis::key::Key;
use jiff::Timestamp;
use vantage::{Ahead, Error, Vantage};

use super::{Member, Order};

/// From the moment that the last vantage is ready to the start of all: time for the word to reach each of them.
const AHEAD_OF_START: Duration = Duration::from_millis(500);

/// A clock, against the controller's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Compared {
    /// It is the controller's own, as far as a vantage can tell that.
    Same,
    /// Between these bounds, from the plan to the bundle.
    Within(Bounds),
    /// It was set meanwhile.
    Set,
}

impl Compared {
    /// How far off the comparison may be, either way.
    pub(super) fn error(self) -> Option<Span> {
        match self {
            Self::Same => Some(Span::ZERO),
            Self::Within(Bounds { least, most }) => Some(Span::from_nanos((most - least).nanos() / 2)),
            Self::Set => None,
        }
    }

    fn bounds(self) -> Option<Bounds> {
        match self {
            Self::Same => Some(Bounds::around(Span::ZERO, Span::ZERO)),
            Self::Within(bounds) => Some(bounds),
            Self::Set => None,
        }
    }

    /// How far `other` is ahead of this one; absent if either was set.
    pub(super) fn to(self, other: Self) -> Option<Bounds> {
        Some(self.bounds()?.to(other.bounds()?))
    }
}

/// What a vantage gave.
pub(super) struct Told {
    /// What its capture had lost before.
    pub(super) lost_before: u64,
    pub(super) bundle: Bundle,
    /// Absent where nothing is known of it.
    pub(super) clock: Option<Compared>,
}

/// What whoever watches at the target gave.
pub(super) struct Watched {
    pub(super) lost_before: u64,
    pub(super) bundle: Bundle,
    /// As before.
    pub(super) clock: Option<Compared>,
}

struct Waiting {
    ready: Ready,
    clock: Option<(Ahead, Instant)>,
}

/// Makes one end ready.
fn prepare(end: &mut dyn Vantage, plan: &Plan, stop: &AtomicBool) -> Result<Waiting, Error> {
    let ready = end.prepare(plan, stop)?;
    let clock = end.compare(stop)?.map(|ahead| (ahead, Instant::now()));
    Ok(Waiting { ready, clock })
}

/// Compares its clock once more; absent where nothing is known of it.
fn again(end: &mut dyn Vantage, before: Option<(Ahead, Instant)>, stop: &AtomicBool) -> Result<Option<Compared>, Error> {
    let Some((before, then)) = before else { return Ok(end.shares_clock().then_some(Compared::Same)) };
    let bounds = |ahead: Ahead| Bounds::around(ahead.by, ahead.error);
    let Some(after) = end.compare(stop)? else { return Ok(None) };
    let apart = Span::from_nanos(i64::try_from(then.elapsed().as_nanos()).unwrap_or(i64::MAX));
    Ok(Some(bounds(before).through(bounds(after), apart).map_or(Compared::Set, Compared::Within)))
}

/// Whoever watches at the target, made ready.
pub(super) struct Edge<'a, 'v> {
    end: &'a mut (dyn Vantage + 'v),
    waiting: Waiting,
}

impl<'a, 'v> Edge<'a, 'v> {
    pub(super) fn prepare(end: &'a mut (dyn Vantage + 'v), batch: u64, stop: &AtomicBool) -> Result<Self, Error> {
        let waiting = prepare(end, &Plan { batch, clients: None, load: None }, stop)?;
        end.go(Go { at: None }, stop)?;
        Ok(Self { end, waiting })
    }

    /// What it saw of the connections with these keys, and perhaps of others.
    pub(super) fn collect(self, keys: Vec<Key>, stop: &AtomicBool) -> Result<Watched, Error> {
        let Self { end, waiting: Waiting { ready, clock } } = self;
        end.look_for(keys);
        let bundle = end.collect(stop)?;
        let clock = again(end, clock, stop)?;
        Ok(Watched { lost_before: ready.losses.lost(), bundle, clock })
    }
}

/// Asks all vantages at the same time; what each gave, in their order.
pub(super) fn ask(members: &mut [Member<'_, '_>], stop: &AtomicBool) -> Vec<Result<Told, Error>> {
    let nothing = members.iter().map(|_| ()).collect();
    let waiting = each(members, nothing, |Member { vantage, order, .. }, ()| {
        let Order { batch, clients, load } = order;
        let plan = Plan { batch: *batch, clients: Some(clients.clone()), load: *load };
        prepare(&mut **vantage, &plan, stop)
    });
    let together = members.len() > 1;
    let start = SystemTime::now() + AHEAD_OF_START;
    each(members, waiting, |Member { vantage, .. }, waiting| {
        let Waiting { ready, clock } = waiting?;
        let ahead = clock.map_or(Span::ZERO, |(ahead, _)| ahead.by);
        let at = if together { at(start, ahead) } else { None };
        vantage.go(Go { at }, stop)?;
        let bundle = vantage.collect(stop)?;
        let clock = again(&mut **vantage, clock, stop)?;
        Ok(Told { lost_before: ready.losses.lost(), bundle, clock })
    })
}

/// A moment on a clock that is so much ahead.
fn at(start: SystemTime, ahead: Span) -> Option<Timestamp> {
    let moment = Timestamp::try_from(start).ok()?;
    moment.checked_add(jiff::SignedDuration::from_nanos(ahead.nanos())).ok()
}

/// Does the same with each, at the same time.
fn each<A: Send, T: Send>(
    members: &mut [Member<'_, '_>],
    with: Vec<A>,
    work: impl Fn(&mut Member<'_, '_>, A) -> T + Sync,
) -> Vec<T> {
    let pairs = members.iter_mut().zip(with);
    if pairs.len() == 1 {
        return pairs.map(|(member, with)| work(member, with)).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = pairs.map(|(member, with)| scope.spawn(move || work(member, with))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
