//! Whose checks an agent follows. Time is an argument; nothing is sent here.
//!
//! In: offers, parts, moments. Out: what to ask for, and checks that are whole. The controller that was heard first is followed until it is
//! silent: two that offer different checks cannot make an agent go back and forth.

use std::time::{Duration, Instant};

use agent::Handout;

use super::message::{Fetch, Offer};
use crate::parts::{Assembly, Head, sha256};

/// Offers come every 30 s; after three that did not, another controller's count.
const SILENT: Duration = Duration::from_secs(90);
/// Parts that do not come are asked for again after this.
const AGAIN: Duration = Duration::from_secs(2);

/// Whom an agent follows.
#[derive(Debug)]
pub(crate) struct Following {
    /// The controller, and when it was last heard.
    of: Option<(String, Instant)>,
    /// The revision that it offers.
    offered: Option<String>,
    /// The revision that is here.
    has: Option<String>,
    coming: Option<Assembly>,
    /// When parts were last asked for.
    asked: Option<Instant>,
}

impl Following {
    /// With the checks of an earlier process, if there are any.
    pub(crate) fn new(has: Option<String>) -> Self {
        Self { of: None, offered: None, has, coming: None, asked: None }
    }

    /// An offer.
    pub(crate) fn offered(&mut self, offer: Offer, now: Instant) {
        let other = self.of.as_ref().is_some_and(|(of, heard)| *of != offer.controller && now - *heard < SILENT);
        if other {
            return;
        }
        self.of = Some((offer.controller, now));
        if self.offered.as_ref() != Some(&offer.sha256) {
            (self.offered, self.coming, self.asked) = (Some(offer.sha256), None, None);
        }
    }

    /// What to ask for now. Who has no checks and heard no offer asks whoever is there.
    pub(crate) fn wanted(&mut self, now: Instant) -> Option<Fetch> {
        let wanted = if self.offered.is_none() { self.has.is_none() } else { self.offered != self.has };
        if !wanted || self.asked.is_some_and(|at| now - at < AGAIN) {
            return None;
        }
        self.asked = Some(now);
        let parts = self.coming.as_mut().map(Assembly::missing).unwrap_or_default();
        Some(Fetch { of: self.of.as_ref().map(|(of, _)| of.clone()), parts })
    }

    /// A part; gives the checks, once all are here.
    pub(crate) fn part(&mut self, head: &Head, bytes: &[u8], now: Instant) -> Option<Handout> {
        if self.offered.is_none() && self.has.is_none() {
            self.offered(Offer { controller: head.from.clone(), sha256: head.sha256.clone() }, now);
            self.asked = Some(now);
        }
        if self.offered == self.has || self.offered.as_ref() != Some(&head.sha256) {
            return None;
        }
        let coming = self.coming.get_or_insert_with(|| Assembly::begin(head));
        if !coming.fits(head) {
            *coming = Assembly::begin(head);
        }
        match coming.add(head, bytes) {
            None => {
                if coming.window_is_over() {
                    // The next window is asked for at once.
                    self.asked = None;
                }
                None
            }
            Some(Err(_)) => {
                self.coming = None;
                None
            }
            Some(Ok(bytes)) => {
                (self.coming, self.asked) = (None, None);
                let handout = Handout { sha256: sha256(&bytes), bytes };
                self.has = Some(handout.sha256.clone());
                Some(handout)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::{PART, Whole, read};

    fn offer(controller: &str, bytes: &[u8]) -> Offer {
        Offer { controller: controller.into(), sha256: sha256(bytes) }
    }

    /// Answers what is asked for; gives what came of it.
    fn served(following: &mut Following, controller: &str, bytes: &[u8], room: usize, now: Instant) -> Option<Handout> {
        let whole = Whole::of(bytes.to_vec());
        while let Some(fetch) = following.wanted(now) {
            for message in whole.messages(controller, "", 0, &fetch.parts, room) {
                let (head, part) = read(&message).expect("a part");
                if let Some(handout) = following.part(&head, part, now) {
                    return Some(handout);
                }
            }
        }
        None
    }

    #[test]
    fn checks_come_once_and_again_when_they_change() {
        let now = Instant::now();
        let mut following = Following::new(None);
        assert_eq!(following.wanted(now), Some(Fetch { of: None, parts: Vec::new() }), "it asks whoever is there");
        assert_eq!(following.wanted(now), None, "not at once again");
        following.offered(offer("ops", b"one"), now);
        let handout = served(&mut following, "ops", b"one", PART, now).expect("they are whole");
        assert_eq!(handout.bytes, b"one");
        following.offered(offer("ops", b"one"), now);
        assert_eq!(following.wanted(now), None, "it has them");
        let long: Vec<u8> = (0..100).collect();
        following.offered(offer("ops", &long), now);
        assert_eq!(served(&mut following, "ops", &long, 3, now).expect("in many windows").bytes, long);
    }

    #[test]
    fn who_is_followed_changes_only_when_he_is_silent() {
        let now = Instant::now();
        let mut following = Following::new(Some(sha256(b"one")));
        following.offered(offer("ops", b"one"), now);
        following.offered(offer("other", b"two"), now + SILENT / 2);
        assert_eq!(following.wanted(now + SILENT / 2), None);
        following.offered(offer("other", b"two"), now + SILENT);
        assert_eq!(following.wanted(now + SILENT), Some(Fetch { of: Some("other".into()), parts: Vec::new() }));
    }

    #[test]
    fn parts_that_nobody_asked_for_change_nothing() {
        let now = Instant::now();
        let mut following = Following::new(Some(sha256(b"one")));
        following.offered(offer("ops", b"one"), now);
        let message = Whole::of(b"two".to_vec()).messages("ops", "", 0, &[], PART).remove(0);
        let (head, part) = read(&message).expect("a part");
        assert_eq!(following.part(&head, part, now), None);
    }
}
