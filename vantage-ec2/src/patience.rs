//! Calls that are made again. In: a call. Out: its answer, or its last failure; lists with all their pages.

use std::time::Duration;

use crate::clock::Clock;
use crate::cloud::{Cloud, Failed, Instance, Kind, Of, Page, Part, Thing};

/// How often a call is made that may pass later.
const TRIES: u32 = 6;
/// Before the second; each further pause is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// Pages of a list: more are a server that never says its last.
const MOST_PAGES: usize = 1_000;

/// Makes a call again while it may pass, unless we are told to stop: for what can be done twice.
pub fn patiently<T>(clock: &dyn Clock, mut call: impl FnMut() -> Result<T, Failed>) -> Result<T, Failed> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match call() {
            // Told to stop: how it failed until now is its answer.
            Err(failed) if failed.may_pass() && clock.pause(pause).is_ok() => {}
            done => return done,
        }
        pause *= 2;
    }
    call()
}

fn all<T>(
    clock: &dyn Clock,
    region: &str,
    call: &'static str,
    mut page: impl FnMut(Option<&str>) -> Result<Page<T>, Failed>,
) -> Result<Vec<T>, Failed> {
    let (mut all, mut next) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let got: Page<T> = patiently(clock, || page(next.as_deref()))?;
        all.extend(got.items);
        next = got.next;
        if next.is_none() {
            return Ok(all);
        }
    }
    let message = format!("more than {MOST_PAGES} pages");
    Err(Failed { kind: Kind::Unknown, call, region: region.to_owned(), code: "Pages".into(), message })
}

/// All instances of a list.
///
/// # Errors
/// If a page cannot be had.
pub fn instances<C: Cloud>(cloud: &C, clock: &dyn Clock, region: &str, of: &Of) -> Result<Vec<Instance>, Failed> {
    let mut all = all(clock, region, "DescribeInstances", |page| cloud.instances(region, of, page))?;
    // Whatever a filter let through: it may be ended next.
    all.retain(|instance| of.has(&instance.tags));
    Ok(all)
}

/// All volumes or interfaces of a list.
///
/// # Errors
/// If a page cannot be had.
pub fn things<C: Cloud>(cloud: &C, clock: &dyn Clock, region: &str, part: Part, of: &Of) -> Result<Vec<Thing>, Failed> {
    let call = if part == Part::Volume { "DescribeVolumes" } else { "DescribeNetworkInterfaces" };
    let mut all = all(clock, region, call, |page| cloud.things(region, part, of, page))?;
    all.retain(|thing| of.has(&thing.tags));
    Ok(all)
}
