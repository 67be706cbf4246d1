//! What each observer saw of a handshake, as lanes to draw and comments to write into an evidence file.

use analysis::clock::{Client, Domain, Instant, Span};
use analysis::conversation::handshake::Handshake;
use analysis::conversation::milestone::{Milestone, Sighting, milestones};

use crate::handshake::{Lane, Mark};

/// A milestone by name, on the client's clock, as the client reported it.
pub type Stamped = (String, Instant<Client>);

/// The lanes of a handshake; `reported` are further observers on the client's clock, `path` its least round trip.
pub fn lanes(handshake: &Handshake, reported: &[(&str, &[Stamped])], path: Option<Span>) -> Vec<Lane> {
    let client = client_wire(handshake);
    let Some(start) = client.iter().map(|s| s.at).min() else { return edge_lane(handshake, 0.0).into_iter().collect() };
    let mut lanes: Vec<Lane> = reported
        .iter()
        .filter(|(_, marks)| !marks.is_empty())
        .map(|(observer, marks)| {
            let mark = |(name, at): &Stamped| Mark { name: name.clone(), ms: (*at - start).millis(), packet: None };
            Lane { observer: (*observer).into(), offset_ms: 0.0, marks: marks.iter().map(mark).collect() }
        })
        .collect();
    lanes.push(Lane { observer: "client wire".into(), offset_ms: 0.0, marks: marks(&client, start) });
    // For drawing only: the edge saw SYN half a round trip after it left.
    let syn = client.iter().find(|s| s.milestone == Milestone::Syn).map_or(start, |s| s.at);
    let half = path.unwrap_or_default().percent(50);
    lanes.extend(edge_lane(handshake, (syn - start + half).millis()));
    lanes
}

fn client_wire(h: &Handshake) -> Vec<Sighting<Client>> {
    let Some(view) = &h.client else { return vec![] };
    let mut seen: Vec<Sighting<Client>> = Vec::new();
    if let Some(lookup) = &h.lookup {
        seen.push(Sighting { milestone: Milestone::DnsStart, at: lookup.start, packet: lookup.start_packet });
        seen.extend(lookup.end().map(|end| Sighting { milestone: Milestone::DnsEnd, at: end.at, packet: end.packet }));
    }
    seen.extend(milestones(view, &h.dialogue));
    seen
}

fn edge_lane(h: &Handshake, offset_ms: f64) -> Option<Lane> {
    let seen = milestones(h.edge.as_ref()?, &h.dialogue);
    let start = seen.iter().map(|s| s.at).min()?;
    let mut marks = marks(&seen, start);
    if let Some(log) = &h.edge_log {
        marks.push(Mark { name: "accepted (edge log)".into(), ms: (log.accepted - start).millis(), packet: None });
    }
    Some(Lane { observer: "edge wire".into(), offset_ms, marks })
}

fn marks<D: Domain>(seen: &[Sighting<D>], start: Instant<D>) -> Vec<Mark> {
    seen.iter().map(|s| Mark { name: s.milestone.name().into(), ms: (s.at - start).millis(), packet: Some(s.packet) }).collect()
}

/// Comments for the evidence file: which milestone passes in which frame, by frame number.
pub fn comments(handshake: &Handshake) -> Vec<(u64, String)> {
    let client =
        handshake.client.iter().flat_map(|v| milestones(v, &handshake.dialogue)).map(|s| (s.packet, s.milestone, "client"));
    let edge = handshake.edge.iter().flat_map(|v| milestones(v, &handshake.dialogue)).map(|s| (s.packet, s.milestone, "edge"));
    let peer = handshake.endpoints.client;
    client.chain(edge).map(|(packet, m, end)| (packet, format!("{} at the {end} ({peer})", m.name()))).collect()
}
