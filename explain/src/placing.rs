//! Which observer of a connection stood at which end, and how that is known.
//!
//! In: a [`Group`]. Out: a [`Placed`] handshake, whose views lie on the clock of the end they were taken at. One connection can
//! leave it open (a server slow to answer SYN looks far away); then the other connections of the same observer speak for it.

use std::net::IpAddr;

use analysis::clock::{Client, Edge, Instant, Span, Unplaced};
use analysis::conversation::handshake::Handshake;
use analysis::doubt::offset::{Apart, lacks_time};
use analysis::doubt::standpoint::{Standpoint, distance_from_client, legs, standpoint};
use analysis::doubt::straight::{Straight, straight, straight_pair};
use analysis::tcp::flow::{Side, View};
use foldhash::HashMap;
use records::explained::SeenFrom;
use smallvec::SmallVec;

use crate::ended::ended_first;
use crate::how::{How, Known};
use crate::joining::Group;

/// So many connections of an observer must agree before they speak for another.
const LEAST_WITNESSES: u64 = 3;

/// An observer, its view, where it stands and how that is known.
type Stood = (usize, Box<View<Unplaced>>, Standpoint, How);

/// Paths of which it is remembered how far the clocks were apart.
const MOST_PATHS: usize = 10_000;

/// A handshake with its views at their ends.
pub struct Placed {
    /// Which ends it was seen from.
    pub seen: SeenFrom,
    /// How that is known.
    pub how: Known,
    /// For [`SeenFrom::BothEnds`], [`SeenFrom::ClientEnd`] and [`SeenFrom::EdgeEnd`], the handshake.
    pub handshake: Box<Handshake>,
    /// For [`SeenFrom::Between`] and [`SeenFrom::Unknown`], the same view taken for the client's end; `handshake` has it at the edge's.
    /// For [`SeenFrom::BothEnds`], the same with the other capture's clock set straight, where either may have been set.
    pub otherwise: Option<Box<Handshake>>,
    /// The observer of the client's view.
    pub client_observer: Option<usize>,
    /// The observer of the edge's view.
    pub edge_observer: Option<usize>,
    /// Whoever alone saw it, at neither end as far as is known.
    pub elsewhere: Option<usize>,
    /// More about the evidence.
    pub notes: Vec<String>,
}

impl Placed {
    /// Lets go of the bytes of the streams, which have been read ([`Handshake::forget_bytes`]).
    pub fn forget_bytes(&mut self) {
        self.handshake.forget_bytes();
        if let Some(otherwise) = &mut self.otherwise {
            otherwise.forget_bytes();
        }
    }

    /// Lets go of the packets, when what they tell has been read and nobody will look at them ([`Handshake::forget_packets`]).
    pub fn forget_packets(&mut self) {
        self.handshake.forget_packets();
        if let Some(otherwise) = &mut self.otherwise {
            otherwise.forget_packets();
        }
    }
}

/// Knows where observers stand.
#[derive(Default)]
pub struct Placing {
    /// What the user says of an observer.
    stated: HashMap<usize, Standpoint>,
    /// How far the clocks of two observers were apart lately, by path.
    apart: HashMap<(usize, usize, IpAddr, IpAddr), Apart>,
    /// What its connections said so far.
    witnesses: HashMap<usize, HashMap<Standpoint, u64>>,
}

impl Placing {
    /// Fixes where an observer stands.
    pub fn state(&mut self, observer: usize, standpoint: Standpoint) {
        self.stated.insert(observer, standpoint);
    }

    /// What the user says of an observer.
    pub fn stated(&self, observer: usize) -> Option<Standpoint> {
        self.stated.get(&observer).copied()
    }

    /// What the connections of an observer say about where it stands, most frequent first.
    pub fn witnesses(&self, observer: usize) -> Vec<(Standpoint, u64)> {
        let mut found: Vec<_> = self.witnesses.get(&observer).into_iter().flatten().map(|(s, n)| (*s, *n)).collect();
        found.sort_by_key(|(s, n)| (std::cmp::Reverse(*n), *s));
        found
    }

    /// Puts a group's views at their ends; `went_on` is until when an observer's capture went on behind a moment.
    pub fn place(&mut self, group: Group, went_on: impl Fn(usize, Instant<Unplaced>) -> Instant<Unplaced>) -> Placed {
        let mut views: SmallVec<[Stood; 2]> = group
            .views
            .into_iter()
            .map(|(observer, mut view)| {
                view.close();
                let (at, how) = self.of(observer, &view);
                (observer, view, at, how)
            })
            .collect();
        views.sort_by_key(|(_, view, at, _)| (*at == Standpoint::Edge, distance_from_client(view)));
        let mut notes = Vec::new();
        if views.len() > 2 {
            notes.push(format!("{} observers saw this connection; the two nearest its ends are used", views.len()));
        }
        if let [(_, client, Standpoint::Unknown, _), .., (_, edge, Standpoint::Unknown, _)] = &views[..]
            && far_apart(client, edge)
        {
            let last = views.len() - 1;
            (views[0].2, views[0].3) = (Standpoint::Client, How::Nearer);
            (views[last].2, views[last].3) = (Standpoint::Edge, How::Nearer);
        }
        let last = (views.len() > 1).then(|| views.pop()).flatten();
        views.truncate(1);
        let Some(first) = views.pop() else { unreachable!("a group has at least one view") };
        if let (observer, view, Standpoint::Both, how) = first {
            notes.extend(last.map(|(_, _, at, _)| unused(at)));
            return both(observer, *view, how, notes);
        }
        let ended = match (&first, &last) {
            ((c, client, Standpoint::Client, _), Some((e, edge, Standpoint::Edge, _))) => {
                let until = |o: usize, view: &View<Unplaced>| view.last_at().map_or(Instant::default(), |at| went_on(o, at));
                ended_first([client, edge], [until(*c, client), until(*e, edge)])
            }
            _ => None,
        };
        match (first, last) {
            ((_, _, Standpoint::Client, _), Some((e, edge, Standpoint::Edge, how))) if ended == Some(Side::Client) => {
                notes.push("the capture at the client ended before the handshake did; it is not used".to_owned());
                alone(e, *edge, Standpoint::Edge, how, notes)
            }
            ((c, client, Standpoint::Client, how), Some((_, _, Standpoint::Edge, _))) if ended == Some(Side::Server) => {
                notes.push("the capture at the edge ended before the handshake did; it is not used".to_owned());
                alone(c, *client, Standpoint::Client, how, notes)
            }
            ((c, client, Standpoint::Client, how), Some((e, edge, Standpoint::Edge, edge_how))) => {
                let (client, edge) = (client.on_clock_of::<Client>(), edge.on_clock_of::<Edge>());
                let path = (c, e, edge.endpoints.client.ip(), edge.endpoints.server.ip());
                let Straight { handshake, otherwise, apart, notes: of_clocks } =
                    straight_pair(client, edge, self.apart.get(&path).copied());
                notes.extend(of_clocks.iter().map(ToString::to_string));
                if self.apart.len() >= MOST_PATHS {
                    self.apart.clear();
                }
                self.apart.extend(apart.map(|apart| (path, apart)));
                Placed {
                    seen: SeenFrom::BothEnds,
                    how: Known::Ends { client: how, edge: edge_how },
                    handshake,
                    otherwise,
                    client_observer: Some(c),
                    edge_observer: Some(e),
                    elsewhere: None,
                    notes,
                }
            }
            ((c, client, Standpoint::Client, how), other) => {
                notes.extend(other.map(|(_, _, at, _)| unused(at)));
                alone(c, *client, Standpoint::Client, how, notes)
            }
            (first, Some((e, edge, Standpoint::Edge, how))) => {
                notes.push(unused(first.2));
                alone(e, *edge, Standpoint::Edge, how, notes)
            }
            ((o, view, at, how), other) => {
                notes.extend(other.map(|(_, _, at, _)| unused(at)));
                alone(o, *view, at, how, notes)
            }
        }
    }

    fn of(&mut self, observer: usize, view: &View<Unplaced>) -> (Standpoint, How) {
        if let Some(stated) = self.stated.get(&observer) {
            return (*stated, How::Stated);
        }
        let own = standpoint(view);
        if own != Standpoint::Unknown {
            *self.witnesses.entry(observer).or_default().entry(own).or_default() += 1;
            return (own, How::seen(view));
        }
        let witnesses = self.witnesses(observer);
        let all: u64 = witnesses.iter().map(|(_, n)| n).sum();
        match witnesses.first() {
            Some((most, n)) if all >= LEAST_WITNESSES && n * 3 >= all * 2 => (*most, How::AsOthers { of: *n, all }),
            _ => (Standpoint::Unknown, How::Unknown),
        }
    }
}

/// Whether two observers of one connection stand on a short way's two ends, not at one of them both.
fn far_apart(client: &View<Unplaced>, edge: &View<Unplaced>) -> bool {
    let whole = [client, edge].into_iter().flat_map(|v| [legs(v).client, legs(v).server]).flatten().max().unwrap_or_default();
    distance_from_client(edge) - distance_from_client(client) > whole.percent(60).max(Span::from_micros(20))
}

fn unused(at: Standpoint) -> String {
    format!(
        "another capture of this connection, made {}, is not used",
        match at {
            Standpoint::Client => "at the client too",
            Standpoint::Edge => "at the edge too",
            Standpoint::Both => "at both ends",
            Standpoint::Between => "between the ends",
            Standpoint::Unknown => "at an unknown place",
        }
    )
}

/// One observer at both ends: its one clock is both ends' clock.
fn both(observer: usize, view: View<Unplaced>, how: How, notes: Vec<String>) -> Placed {
    let edge = view.clone().on_clock_of::<Edge>();
    let garbage = view.mended.garbage > 0 || lacks_time(&view);
    let mut handshake = Box::new(Handshake::of(Some(view.on_clock_of::<Client>()), Some(edge)));
    handshake.clock_in_doubt = garbage;
    Placed {
        seen: SeenFrom::BothEnds,
        how: Known::AtBoth(how),
        handshake,
        otherwise: None,
        client_observer: Some(observer),
        edge_observer: Some(observer),
        elsewhere: None,
        notes,
    }
}

fn alone(observer: usize, view: View<Unplaced>, at: Standpoint, how: How, mut notes: Vec<String>) -> Placed {
    let own = match at {
        Standpoint::Client => Some(Side::Client),
        Standpoint::Edge => Some(Side::Server),
        Standpoint::Between | Standpoint::Both | Standpoint::Unknown => None,
    };
    let (view, of_clock) = straight(view, own);
    let doubt = of_clock.iter().any(|note| note.is_doubt());
    notes.extend(of_clock.iter().map(ToString::to_string));
    let with_doubt = |h: Handshake| {
        let mut h = Box::new(h);
        h.clock_in_doubt = doubt;
        h
    };
    let at_client = |v: View<Unplaced>| with_doubt(Handshake::of(Some(v.on_clock_of::<Client>()), None));
    let at_edge = |v: View<Unplaced>| with_doubt(Handshake::of(None, Some(v.on_clock_of::<Edge>())));
    let (seen, handshake, otherwise) = match at {
        Standpoint::Client => (SeenFrom::ClientEnd, at_client(view), None),
        Standpoint::Edge => (SeenFrom::EdgeEnd, at_edge(view), None),
        Standpoint::Between => (SeenFrom::Between, at_edge(view.clone()), Some(at_client(view))),
        Standpoint::Unknown | Standpoint::Both => (SeenFrom::Unknown, at_edge(view.clone()), Some(at_client(view))),
    };
    let client_observer = (at == Standpoint::Client).then_some(observer);
    let edge_observer = (at == Standpoint::Edge).then_some(observer);
    let elsewhere = (client_observer.is_none() && edge_observer.is_none()).then_some(observer);
    Placed { seen, how: Known::Of(how), handshake, otherwise, client_observer, edge_observer, elsewhere, notes }
}
