//! The report on one flow: its packets come in, the verdict and the file that proves it come out.
//!
//! Pure: packets in, bytes out. Nothing of what the client and the server say to each other behind the handshake is kept: payload ends
//! where the handshake does, with the header of the record that follows, and 0-RTT data is blanked.

use std::collections::HashMap;
use std::ops::Range;

use analysis::clock::{Instant, Unplaced};
use analysis::tcp::flow::{Side, View};
use analysis::tcp::table::FlowTable;
use analysis::tls::Dialogue;
use analysis::wire::packet::{LinkType, TcpSegment, Transport, decode};
use capture::Captured;
use capture::clock::{Monotonic, WallOffset};
use capture::ends::FlowName;
use capture::evidence::Evidence;
use capture::live::Losses;
use capture::sockets::EventKind;
use explain::judging::Finding;
use explain::record::record;
use records::explained::ExplainedRecord;
use records::lanes::comments;
use records::read::VERDICT_COMMENT;
use settings::words::plural;

use crate::detector::{Detector, PATIENCE, at_edge, over};
use crate::kernel_view::KernelView;
use crate::memory::Packet;
use crate::screen::Isn;
use crate::trigger::{Source, Trigger};

/// A TLS record's header.
const RECORD_HEADER: i64 = 5;

/// What is known of a flow, and the packets that show it.
pub struct FlowReport {
    /// What happened, as `explain` would say it.
    pub record: ExplainedRecord,
    /// The evidence file.
    pub pcapng: Vec<u8>,
}

/// What recorded the packets, and how: it belongs beside them.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// What leads from the packets' times to the wall clock's.
    pub wall_offset: WallOffset,
    /// Names of interfaces, by their places in the configuration.
    pub interfaces: Vec<String>,
    /// Handshake packets that the recorder received.
    pub received: u64,
    /// Handshake packets that it lost.
    pub lost: u64,
    /// How packets were filtered.
    pub filter_at: String,
}

impl Provenance {
    fn interface(&self, number: u16) -> String {
        self.interfaces.get(usize::from(number)).map_or_else(|| format!("interface {number}"), String::clone)
    }
}

/// What a report is made for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose word.
    pub trigger: &'a Trigger,
    /// How many connections in memory that word may mean.
    pub among: usize,
    /// Until when all packets that passed were read: a connection that is not over had no later ones.
    pub until: Option<Instant<Monotonic>>,
}

impl<'a> From<&'a Trigger> for Wanted<'a> {
    fn from(trigger: &'a Trigger) -> Self {
        Self { trigger, among: 1, until: None }
    }
}

/// Makes the report on the packets of a [`connection`]; absent if they are gone or are no TCP.
pub fn flow_report(
    packets: Vec<Packet>,
    wanted: Wanted<'_>,
    detector: &Detector,
    provenance: &Provenance,
    threads: Option<&KernelView>,
) -> Option<FlowReport> {
    let begun = packets.first()?.at;
    let mut packets = on_wall_clock(packets, provenance);
    let (view, unread) = view_of(&packets)?;
    let ended = over(&view);
    let dialogue = view.dialogue();
    for packet in &mut packets {
        confine(packet, &view, &dialogue);
    }
    let ends = view.endpoints;
    let flow = FlowName::of(ends.client, ends.server);
    let mut placed = at_edge(view);
    placed.handshake.edge_host = threads.and_then(|t| t.trace(flow, begun, provenance.wall_offset));
    let last = packets.last()?.at;
    let until = wanted.until.map(|until| provenance.wall_offset.to_wall(until).max(last));
    let watched = until.filter(|_| !ended);
    placed.handshake.watched_until = watched.map(Instant::nanos);
    placed.handshake.under_way = watched.is_some_and(|until| until - last < PATIENCE);
    let judged = detector.opinion(&placed);
    let started = packets.first()?.at;
    let mut finding = Finding { id: 1, started, placed, judged, other_leg: None };
    if provenance.lost > 0 {
        finding.placed.notes.push(format!(
            "the recorder lost {} of {} handshake packets since it began; where that shows in a handshake, no loss is claimed",
            provenance.lost, provenance.received
        ));
    }
    let pieces =
        (unread > 0).then(|| format!("{} of IP packets in it, which are not put together here", plural(unread, "piece")));
    finding.placed.notes.extend(pieces.clone());
    let record = record(&finding, &[]);
    let journal = match &wanted.trigger.source {
        Source::Log(line) => line.entry.as_deref(),
        _ => None,
    };
    let comments = comments(&finding.placed.handshake);
    let mut about = about(&record, wanted, provenance);
    about.extend(pieces);
    about.extend(threads.map(|t| server_side(&t.events(flow, begun), begun)));
    // A vector takes every write.
    let pcapng = write(&packets, &about, journal, &comments, provenance).ok()?;
    Some(FlowReport { record, pcapng })
}

/// Packets of many flows as one file, unjudged.
///
/// # Errors
/// Never: a vector takes every write.
pub fn bundle(packets: Vec<Packet>, provenance: &Provenance) -> std::io::Result<Vec<u8>> {
    let mut packets = on_wall_clock(packets, provenance);
    // By flow and the number of its SYN: a port may be used again, and each connection's bytes count from its own.
    let mut syns: HashMap<FlowName, u32> = HashMap::new();
    let mut connections: HashMap<(FlowName, Option<u32>), Vec<usize>> = HashMap::new();
    for (i, packet) in packets.iter().enumerate() {
        if let Some(segment) = segment(packet) {
            let flow = FlowName::of(segment.source(), segment.destination());
            if segment.flags.syn() && !segment.flags.ack() {
                syns.insert(flow, segment.seq);
            }
            connections.entry((flow, syns.get(&flow).copied())).or_default().push(i);
        }
    }
    for places in connections.into_values() {
        let own: Vec<Packet<Unplaced>> = places.iter().map(|i| packets[*i].clone()).collect();
        let Some((view, _)) = view_of(&own) else { continue };
        let dialogue = view.dialogue();
        places.into_iter().for_each(|i| confine(&mut packets[i], &view, &dialogue));
    }
    let about = [format!("handshake packets in memory, not judged; {}", filtered(provenance))];
    write(&packets, &about, None, &[], provenance)
}

fn filtered(provenance: &Provenance) -> String {
    format!(
        "recorded at the edge, filtered by {}; {} of {} handshake packets lost so far",
        provenance.filter_at, provenance.lost, provenance.received
    )
}

/// A port may be used again: of a flow's packets, those of the connection whose client began with this number; of one whose SYN nobody
/// kept, those before any SYN.
pub fn connection(mut packets: Vec<Packet>, isn: Isn) -> Vec<Packet> {
    let syn = |packet: &Packet| segment(packet).filter(|s| s.flags.syn() && !s.flags.ack()).map(|s| s.seq);
    let first = packets.iter().position(|p| isn.is_some() && syn(p) == isn).unwrap_or(0);
    packets.drain(..first);
    let end = packets.iter().position(|p| syn(p).is_some_and(|other| isn != Some(other)));
    packets.truncate(end.unwrap_or(packets.len()));
    packets
}

fn on_wall_clock(packets: Vec<Packet>, provenance: &Provenance) -> Vec<Packet<Unplaced>> {
    packets.into_iter().map(|packet| packet.on_wall_clock(provenance.wall_offset)).collect()
}

fn segment<D>(packet: &Packet<D>) -> Option<TcpSegment<'_>> {
    match decode(packet.link, &packet.bytes) {
        Ok(Transport::Tcp(segment)) => Some(segment),
        _ => None,
    }
}

/// The connection, its packets numbered as the file will number them; and how many of them are none that can be read, as the first
/// piece of one that was cut on its way.
fn view_of(packets: &[Packet<Unplaced>]) -> Option<(View<Unplaced>, u64)> {
    let mut table: FlowTable<Unplaced> = FlowTable::default();
    let mut unread = 0;
    for (number, packet) in (1..).zip(packets) {
        match segment(packet) {
            Some(segment) => drop(table.push(packet.at, number, &segment)),
            None => unread += 1,
        }
    }
    let mut view = table.into_views().into_iter().next()?;
    view.close();
    Some((view, unread))
}

/// Takes out of a packet what lies behind the handshake, or is 0-RTT data.
fn confine(packet: &mut Packet<Unplaced>, view: &View<Unplaced>, dialogue: &Dialogue) {
    let Some(seen) = segment(packet) else { return };
    let from = if seen.source() == view.endpoints.client { Side::Client } else { Side::Server };
    let payload_at = (seen.payload.as_ptr() as usize).wrapping_sub(packet.bytes.as_ptr() as usize).min(packet.bytes.len());
    let Some(isn) = view.isn(from) else { return packet.bytes.truncate(payload_at) };
    let start = i64::from(seen.seq.wrapping_sub(isn.wrapping_add(1)).cast_signed());
    let place = |offset: i64| payload_at + usize::try_from(offset - start).unwrap_or(0);
    let bytes = packet.bytes.len();
    if let Some(Range { start: blank, end }) = early_data(from, dialogue) {
        packet.bytes[place(blank).min(bytes)..place(end).min(bytes)].fill(0);
    }
    if let Some(end) = handshake_end(from, dialogue) {
        packet.bytes.truncate(place(end).max(payload_at));
    }
}

/// Offset behind the last byte of a direction that may be kept; absent while the handshake goes on.
fn handshake_end(from: Side, d: &Dialogue) -> Option<i64> {
    if !d.is_tls() {
        return Some(0);
    }
    let end = match from {
        Side::Client => d.client_finished.or(d.client_alert),
        Side::Server => d.client_finished.and(d.server_finished.or(d.server_flight)).or(d.server_alert),
    };
    end.map(|extent| extent.end + RECORD_HEADER)
}

/// Where the client's data before Finished lies.
fn early_data(from: Side, d: &Dialogue) -> Option<Range<i64>> {
    let hello = d.client_hello.filter(|_| from == Side::Client && d.early_data_offered)?;
    let end = d.client_finished.map_or(i64::MAX, |e| e.start);
    (hello.end + RECORD_HEADER < end).then_some(hello.end + RECORD_HEADER..end)
}

/// "the server's program, since the first packet: established at 20.1 ms, read at 40.3 ms, wrote at 41.0 ms".
fn server_side(events: &[(EventKind, Instant<Monotonic>)], begun: Instant<Monotonic>) -> String {
    let word = |kind| match kind {
        EventKind::Opened => "established",
        EventKind::Read => "read",
        EventKind::Wrote => "wrote",
    };
    let each: Vec<String> =
        events.iter().map(|(kind, at)| format!("{} at {:.1} ms", word(*kind), (*at - begun).millis())).collect();
    let said = if each.is_empty() { "nothing was seen of it".to_owned() } else { each.join(", ") };
    format!("the server's program, since the first packet: {said}")
}

/// What to say at the beginning of a file.
fn about(record: &ExplainedRecord, wanted: Wanted<'_>, provenance: &Provenance) -> Vec<String> {
    let sentence = record.judged.as_ref().map(|j| &j.sentence).or(record.not_judged.as_ref());
    let mut about =
        vec![format!("whostalled: {}: {}", record.label(), sentence.map_or("", String::as_str)), filtered(provenance)];
    about.push(match &wanted.trigger.source {
        Source::Log(line) => format!("trigger: {}", line.text),
        Source::Detector => "trigger: the recorder's own detector".into(),
        Source::Asked => "trigger: asked for".into(),
    });
    if wanted.among > 1 {
        let many = wanted.among;
        about.push(format!(
            "{many} connections of this client's end are in memory, and the trigger does not say which: this is the latest"
        ));
    }
    about.extend(
        record.judged.as_ref().and_then(|j| serde_json::to_string(j).ok()).map(|json| format!("{VERDICT_COMMENT}{json}")),
    );
    about
}

fn write(
    packets: &[Packet<Unplaced>],
    about: &[String],
    journal: Option<&[u8]>,
    comments: &[(u64, String)],
    provenance: &Provenance,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut evidence = Evidence::begin_with(&mut bytes, about)?;
    let mut interfaces: Vec<(u16, LinkType)> = packets.iter().map(|p| (p.interface, p.link)).collect();
    interfaces.sort_unstable_by_key(|(number, link)| (*number, *link as u32));
    interfaces.dedup();
    for (number, link) in &interfaces {
        evidence.interface(&provenance.interface(*number), link.number())?;
    }
    if let Some(entry) = journal {
        evidence.journal(entry)?;
    }
    for (number, packet) in (1_u64..).zip(packets) {
        let said: Vec<String> = comments.iter().filter(|(n, _)| *n == number).map(|(_, c)| c.clone()).collect();
        let interface = interfaces.iter().position(|i| *i == (packet.interface, packet.link)).unwrap_or(0);
        let (bytes, outgoing) = (packet.bytes.clone(), Some(packet.outgoing));
        let captured = Captured { at: packet.at, wire_len: packet.wire_len, outgoing, bytes };
        evidence.packet(interface, Some(packet.link), &captured, &said)?;
    }
    // What was lost nobody knows by interface: it is said once.
    let mut losses = vec![Losses::default(); interfaces.len()];
    if let Some(all) = losses.first_mut() {
        *all = Losses { received: provenance.received, dropped: provenance.lost, evicted: 0 };
    }
    evidence.finish(packets.last().map(|p| p.at).unwrap_or_default(), &losses)?;
    Ok(bytes)
}
