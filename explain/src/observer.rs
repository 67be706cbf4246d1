//! One observer: an interface of a capture, from frames to connections whose handshake is over.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use analysis::clock::{Client, Domain, Instant, Span, Unplaced};
use analysis::conversation::handshake::{Asked, BEAT, TooBig, Tried};
use analysis::conversation::settle::Progress;
use analysis::dns::Lookups;
use analysis::tcp::flow::{Endpoints, Side, View};
use analysis::tcp::table::{FlowTable, Other};
use analysis::wire::fragments::Defragmenter;
use analysis::wire::icmp::IcmpKind;
use analysis::wire::packet::{LinkType, NoSegment, TcpSegment, Transport, Unread, decode, ordinary};
use capture::file::Frame;
use foldhash::HashSet;
use records::explained::{Counts, OTHER_KINDS};

/// Ports where a connection without any data was meant for TLS (IANA service names https, imaps, …).
const TLS_PORTS: [u16; 14] = [443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 5061, 5671, 8443, 8883];
/// A connection without data that lasted less was a port check; longer, and somebody failed to begin.
const PORT_CHECK: Span = Span::from_millis(1_000);
/// Packets between two looks for what is overdue.
const LOOK: u64 = 64;
/// Beats of the capture's pulse remembered: eight seconds of a busy one.
const MOST_BEATS: usize = 4_096;
/// Without any packet for longer, a capture may have been cut.
const LONGEST_PAUSE: Span = Span::from_millis(1_000);
/// Words of the path that are remembered.
const MOST_TOLD: usize = 1_024;
/// Other connections that are looked through for addresses tried in vain.
const MOST_OTHERS: usize = 512;
/// An address is given up sooner.
const LONGEST_TRY: Span = Span::from_millis(130_000);
/// Name lookups remembered.
const MOST_LOOKUPS: usize = 512;
/// Kinds of frames that are not understood and counted each for itself: a hostile capture has more.
const MOST_UNREAD: usize = 64;

/// Whether the capture shows its SYN.
fn begins(view: &View<Unplaced>) -> bool {
    view.syns(Side::Client).next().is_some()
}

/// Whether a connection was meant for TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meant {
    /// It shows some, or was meant for it by its port and what it waited for.
    Tls,
    /// It shows nothing but SYNs here: another observer may have seen a ClientHello that never came.
    Perhaps,
    /// No.
    No,
}

/// A word of the path's on a packet: that it was too big for it, or went nowhere.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant<Unplaced>,
    packet: u64,
    by: IpAddr,
    from: SocketAddr,
    to: SocketAddr,
    /// The number of the packet that is quoted.
    seq: Option<u32>,
    /// The longest IP packet that may pass: as it says, or any that is shorter than the one it quotes.
    most: u32,
}

/// One interface of one capture.
#[derive(Default)]
pub struct Observer {
    table: FlowTable<Unplaced>,
    fragments: Defragmenter<Unplaced>,
    counts: Counts,
    /// Frames that were not understood, by what they were not understood for.
    unread: BTreeMap<Unread, u64>,
    unread_others: u64,
    /// The first frame whose time nobody knows.
    untimed_from: Option<u64>,
    /// Time of the latest frame.
    now: Instant<Unplaced>,
    /// When any frame came, but for those close behind another.
    pulse: VecDeque<Instant<Unplaced>>,
    /// From when on the next frame is a beat.
    next_beat: Instant<Unplaced>,
    /// Who was told lately that a packet was too big.
    too_big: VecDeque<Told>,
    /// And who that it went nowhere.
    unreachable: VecDeque<Told>,
    /// Name lookups, on the client's clock if this observer stands at one.
    lookups: Lookups,
    /// Ports on which TLS was seen.
    tls_ports: HashSet<u16>,
}

impl Observer {
    /// What passed so far.
    pub fn counts(&self) -> Counts {
        let others = (self.unread_others > 0).then(|| (OTHER_KINDS.to_owned(), self.unread_others));
        let not_understood = self.unread.iter().map(|(what, n)| (what.to_string(), *n)).chain(others).collect();
        Counts { not_understood, ..self.counts.clone() }
    }

    /// Takes one frame; gives a connection whose handshake it ended.
    #[inline]
    pub fn push(&mut self, frame: &Frame<'_>) -> Option<Box<View<Unplaced>>> {
        self.counts.packets += 1;
        self.now = frame.at;
        if frame.at >= self.next_beat {
            self.beat();
        }
        if !frame.timed {
            self.counts.untimed += 1;
            self.untimed_from.get_or_insert(frame.number);
        }
        // Borrowed, not moved: what was just written is not read well in other pieces.
        match &frame.link.and_then(|link| ordinary(link, frame.bytes)) {
            Some(segment) => self.segment(frame, segment, &[]),
            None => self.extraordinary(frame),
        }
    }

    fn beat(&mut self) {
        if self.pulse.len() >= MOST_BEATS {
            self.pulse.pop_front();
        }
        self.pulse.push_back(self.now);
        self.next_beat = self.now + BEAT;
    }

    /// The pulse from a moment on: beats come in order, whatever frames do.
    fn beats_since(&self, from: Instant<Unplaced>) -> impl Iterator<Item = &Instant<Unplaced>> {
        self.pulse.range(self.pulse.partition_point(|at| *at < from)..)
    }

    /// The moments in `[from, to]` at which any frame came, those close together taken for one.
    pub fn pulse<D: Domain>(&self, from: Instant<D>, to: Instant<D>) -> Vec<Instant<D>> {
        let within = self.beats_since(Instant::from_nanos(from.nanos())).take_while(|at| at.nanos() <= to.nanos());
        within.map(|at| Instant::from_nanos(at.nanos())).collect()
    }

    /// Until when the capture went on behind a moment, without a pause in which nobody can tell whether it did.
    pub fn went_on(&self, from: Instant<Unplaced>) -> Instant<Unplaced> {
        let behind = self.beats_since(from).chain([&self.now].into_iter().filter(|now| **now >= from));
        behind.fold(from, |last, at| if *at - last <= LONGEST_PAUSE { *at } else { last })
    }

    /// A frame that is not just TCP in IP in Ethernet.
    #[inline(never)]
    fn extraordinary(&mut self, frame: &Frame<'_>) -> Option<Box<View<Unplaced>>> {
        let Some(link) = frame.link else {
            self.counts.unknown_link += 1;
            self.not_understood(Unread::LinkType(frame.link_number));
            return None;
        };
        self.counts.nflog += u64::from(link == LinkType::Nflog);
        match decode(link, frame.bytes) {
            Ok(Transport::Tcp(segment)) => self.segment(frame, &segment, &[]),
            Ok(Transport::Fragment(piece)) => {
                let whole = self.fragments.push(piece, frame.at, frame.number)?;
                let Ok(Transport::Tcp(segment)) = decode(LinkType::RawIp, &whole.packet) else { return None };
                self.segment(frame, &segment, &whole.earlier)
            }
            Ok(Transport::Udp(datagram)) => {
                if datagram.source.port() == 53 || datagram.destination.port() == 53 {
                    let at: Instant<Client> = Instant::from_nanos(frame.at.nanos());
                    self.lookups.push(at, frame.number, datagram.source, datagram.destination, datagram.payload);
                    self.lookups.keep(MOST_LOOKUPS);
                }
                None
            }
            Ok(Transport::Icmp(error)) => {
                self.counts.icmp += 1;
                let refuses = error.kind != IcmpKind::TooBig;
                // What quotes no TCP says nothing of a connection.
                if refuses && error.quoted.seq.is_none() {
                    return None;
                }
                let (from, to) = (error.quoted.source(), error.quoted.destination());
                let shorter = error.quoted.ip_len.saturating_sub(1);
                let most = error.next_hop_mtu.map_or(shorter, |mtu| shorter.min(mtu.into()));
                let (at, packet, by, seq) = (frame.at, frame.number, error.source(), error.quoted.seq);
                let told = Told { at, packet, by, from, to, seq, most };
                let told_so = if refuses { &mut self.unreachable } else { &mut self.too_big };
                if told_so.len() >= MOST_TOLD {
                    told_so.pop_front();
                }
                told_so.push_back(told);
                None
            }
            Err(NoSegment::OtherProtocol) => None,
            Err(NoSegment::NotUnderstood(what)) => {
                self.not_understood(what);
                None
            }
            Err(NoSegment::Incomplete | NoSegment::Malformed(_)) => {
                self.counts.malformed += 1;
                None
            }
        }
    }

    fn not_understood(&mut self, what: Unread) {
        if self.unread.len() < MOST_UNREAD || self.unread.contains_key(&what) {
            *self.unread.entry(what).or_default() += 1;
        } else {
            self.unread_others += 1;
        }
    }

    /// Takes a segment, of which pieces came in the frames `earlier` too.
    fn segment(&mut self, frame: &Frame<'_>, segment: &TcpSegment<'_>, earlier: &[u64]) -> Option<Box<View<Unplaced>>> {
        self.counts.tcp += 1;
        let slot = self.table.push(frame.at, frame.number, segment)?;
        if !earlier.is_empty() {
            self.table.note_pieces(slot, frame.number, earlier.to_vec());
        }
        match self.table.view(slot)?.progress() {
            Progress::Going => None,
            Progress::Over => self.table.take(slot),
            Progress::NotTls => {
                let view = self.table.take(slot)?;
                self.dismiss(&view);
                None
            }
        }
    }

    /// Time of the latest frame.
    pub fn now(&self) -> Instant<Unplaced> {
        self.now
    }

    /// The name lookups that passed.
    pub fn lookups(&mut self) -> &mut Lookups {
        &mut self.lookups
    }

    /// When and in which frames an end of a connection was told that its packets are too big.
    pub fn too_big(&self, ends: Endpoints, client: bool) -> Vec<TooBig> {
        let (from, to) = if client { (ends.client, ends.server) } else { (ends.server, ends.client) };
        self.too_big
            .iter()
            .filter(|t| (t.from, t.to) == (from, to))
            .map(|t| TooBig { at: t.at.nanos(), packet: t.packet, most: t.most })
            .collect()
    }

    /// When the client of a connection was told last that its SYN of this number went nowhere, in which frame, and by whom.
    pub fn unreachable(&self, ends: Endpoints, isn: u32) -> Option<(Instant<Unplaced>, u64, IpAddr)> {
        let of_it = |t: &&Told| (t.from, t.to, t.seq) == (ends.client, ends.server, Some(isn));
        let told = self.unreachable.iter().rfind(of_it)?;
        Some((told.at, told.packet, told.by))
    }

    /// The addresses that a client tried on the same port between its lookup and its connection, and that did not answer, or too late to be
    /// used: each until the next one. What it tried before that lookup belongs to an earlier journey.
    pub fn tried(&self, client: IpAddr, server: SocketAddr, [asked, connected]: [Instant<Client>; 2]) -> Vec<Tried> {
        let since = asked.max(connected - LONGEST_TRY);
        let other = |other: &Other<Unplaced>| {
            let ends = other.endpoints;
            // The other family's address is the same host's: this observer stands at it.
            let same_host = ends.client.ip() == client || ends.client.is_ipv4() != client.is_ipv4();
            same_host
                && ends.server.port() == server.port()
                && ends.server.ip() != server.ip()
                && other.answered.is_none_or(|at| !other.used && at.nanos() > connected.nanos())
                && other.from.nanos() < connected.nanos()
        };
        let lately = self.table.others_since(Instant::from_nanos(since.nanos())).take(MOST_OTHERS);
        let mut found: Vec<Tried> = lately
            .filter(other)
            .map(|o| Tried {
                server: o.endpoints.server,
                from: Instant::from_nanos(o.from.nanos()),
                to: connected,
                packet: o.packets[0],
            })
            .collect();
        found.sort_by_key(|t| t.from);
        for i in 1..found.len() {
            found[i - 1].to = found[i].from;
        }
        found
    }

    /// What `host` asked others in `[from, to]`, answers included. What nobody answered lasts until the host went on.
    pub fn asked<D: Domain>(&mut self, host: IpAddr, from: Instant<D>, to: Instant<D>) -> Vec<Asked<D>> {
        let own = |other: &Other<Unplaced>| other.endpoints.client.ip() == host;
        let until = |other: &Other<Unplaced>| match other.to {
            Some(at) => Some(at.nanos()).filter(|at| *at <= to.nanos()),
            None => (other.answered.is_none() && other.from.nanos() < to.nanos()).then_some(to.nanos()),
        };
        let connections = self.table.others_since(Instant::from_nanos(from.nanos())).filter(own).filter_map(|other| {
            let packets = other.packets;
            let [from, to] = [other.from.nanos(), until(&other)?].map(Instant::from_nanos);
            Some(Asked { from, to, packets, answered: other.to.is_some() })
        });
        let mut asked: Vec<Asked<D>> = connections.collect();
        let within = [from, to].map(|at| Instant::from_nanos(at.nanos()));
        let questions = self.lookups().unanswered(host, within);
        asked.extend(questions.map(|(at, packet)| {
            let from = Instant::from_nanos(at.nanos());
            Asked { from, to, packets: [packet; 2], answered: false }
        }));
        asked
    }

    /// A connection in which nothing happened for long, or that must go because memory is short.
    #[inline(always)]
    pub fn overdue(&mut self) -> Option<Box<View<Unplaced>>> {
        // A look at the oldest costs as much as a lookup: now and then is often enough.
        if self.counts.packets.is_multiple_of(LOOK) { self.table.overdue(self.now) } else { None }
    }

    /// The same by the time that another observer's frames have reached.
    pub fn overdue_at(&mut self, now: Instant<Unplaced>) -> Option<Box<View<Unplaced>>> {
        self.table.overdue(now)
    }

    /// What is left at the end of the capture.
    pub fn finish(&mut self) -> impl Iterator<Item = Box<View<Unplaced>>> + use<> {
        std::mem::take(&mut self.table).into_boxed_views()
    }

    /// Whether a connection that is over was a TLS handshake, or meant to be one; else it is counted and forgotten.
    pub fn meant(&mut self, view: &View<Unplaced>) -> Meant {
        let meant = self.meant_for_tls(view);
        // Without times, every handshake would be a quick one.
        let untimed = |from: u64| view.packets.iter().any(|p| p.packet >= from);
        if meant == Meant::Tls && self.untimed_from.is_some_and(untimed) {
            self.counts.untimed_handshakes += 1;
            return Meant::No;
        }
        meant
    }

    fn meant_for_tls(&mut self, view: &View<Unplaced>) -> Meant {
        let port = view.endpoints.server.port();
        if [Side::Client, Side::Server].iter().any(|side| view.half(*side).records.start().is_some()) {
            self.tls_ports.insert(port);
            return Meant::Tls;
        }
        // Its beginning never passed: a Hello too large for the way, or a capture that missed it.
        let beheaded = view.half(Side::Client).stream.has_holes() && !view.half(Side::Client).stream.known(0, 1);
        let cut = |side: Side| view.half(side).stream.has_holes() && view.half(side).stream.captured() == 0;
        if TLS_PORTS.contains(&port) && (cut(Side::Client) && cut(Side::Server) || beheaded && begins(view)) {
            return Meant::Tls; // headers only, or the rest of a handshake
        }
        let silent = view.packets.iter().all(|p| p.is_empty()) && begins(view);
        if silent && (TLS_PORTS.contains(&port) || self.tls_ports.contains(&port)) {
            let closed = view.packets.iter().any(|p| p.flags.fin() || p.flags.rst());
            let first = view.packets.first().map_or(self.now, |p| p.at);
            // One that nobody closed goes on as long as the capture does.
            let until = view.last_at().filter(|_| closed).unwrap_or(self.now);
            let connected = view.syns(Side::Server).next().is_some();
            // A spare connection, that its client closed without a word: nobody waited for anything on it.
            let unused = view.sent_by(Side::Client).any(|p| (p.flags.fin() || p.flags.rst()) && p.start() == 0);
            if connected && unused {
                self.counts.port_checks += 1;
                return Meant::Perhaps;
            }
            if until - first >= PORT_CHECK || !connected {
                return Meant::Tls;
            }
            self.counts.port_checks += u64::from(closed);
            return Meant::Perhaps;
        }
        let client = &view.half(Side::Client).stream;
        if silent || begins(view) && !client.known(0, 1) {
            return Meant::Perhaps; // its first byte never came
        }
        self.dismiss(view);
        Meant::No
    }

    fn dismiss(&mut self, view: &View<Unplaced>) {
        if view.late_tls() {
            self.counts.late += 1;
        } else {
            self.counts.not_tls += 1;
        }
    }
}
