//! Which packets belong to a handshake: the rule of `bpf/handshakes.bpf.c`, in user space.
//!
//! In: frames. Out: how many bytes of each to keep. For hosts where the kernel takes no program of ours; and what the kernel's
//! program is tested against.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use analysis::wire::packet::{LinkType, TcpSegment, Transport, decode};
use foldhash::fast::RandomState;
use lru::LruCache;

use crate::seen::payload_at;

/// What passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Ports on which servers of interest listen.
    pub ports: Vec<u16>,
    /// Bytes from the client that pass before the handshake's end is known.
    pub client: u32,
    /// Bytes from the server that pass before the handshake's end is known.
    pub server: u32,
    /// Bytes from a server that pass where the client's first bytes are no TLS, or 0-RTT data: no certificates come.
    pub plain: u32,
    /// Bytes that pass behind the client's first protected record: a certificate of its own, Finished.
    pub client_rest: u32,
    /// Bytes that pass behind what the server had sent by then: a ticket and Finished of TLS 1.2.
    pub server_rest: u32,
    /// The same of TLS 1.3, where nothing of the handshake is left: that the server went on, and when.
    pub server_rest_13: u32,
    /// Connections remembered.
    pub flows: u32,
    /// Connections remembered of which only SYN was seen.
    pub embryos: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ports: vec![443],
            client: 64 << 10,
            // The longest message that common stacks take (GnuTLS, NSS: 128 KB; OpenSSL: 100 KB), and what comes beside it.
            server: 160 << 10,
            plain: 64 << 10,
            client_rest: 24 << 10,
            server_rest: 4 << 10,
            server_rest_13: 512,
            flows: 65_536,
            embryos: 65_536,
        }
    }
}

impl Limits {
    /// Whether a segment's sender is the client; absent if it goes to no port of interest, and comes from none.
    pub fn from_client(&self, segment: &TcpSegment<'_>) -> Option<bool> {
        let wanted = |port: u16| self.ports.contains(&port);
        let (syn, ack) = (segment.flags.syn(), segment.flags.ack());
        let (from, to) = (segment.source().port(), segment.destination().port());
        let (from_wanted, to_wanted) = (wanted(from), wanted(to));
        // Where both ports are wanted, SYN tells who is who; later packets are taken to go to the lower port or come from it.
        let from_client = to_wanted && (!from_wanted || if syn { !ack } else { to <= from });
        (from_client || from_wanted && (ack || !syn)).then_some(from_client)
    }

    /// A bit for each port.
    #[cfg(kernel_filter)]
    pub(crate) fn port_bits(&self) -> [u64; 1024] {
        let mut words = [0; 1024];
        for port in &self.ports {
            words[usize::from(port >> 6)] |= 1_u64 << (port & 63);
        }
        words
    }
}

/// Bytes behind a limit after which sequence numbers may wrap.
const FAR: i32 = 1 << 28;
/// No record begins here.
const NEVER: u32 = u32::MAX;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// TLS 1.2's Finished is shorter with every cipher suite; the ClientHello that answers a HelloRetryRequest is longer.
const FINISHED_12: u32 = 97;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Tuple {
    client: SocketAddr,
    server: SocketAddr,
}

#[derive(Clone, Copy, Debug)]
struct Embryo {
    client_isn: u32,
    server_isn: Option<u32>,
    /// Bytes of data in its SYN (TCP Fast Open, RFC 7413), and where the record behind the one that they begin with begins.
    offered: u32,
    next_record: u32,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    client_isn: u32,
    server_isn: u32,
    client_limit: u32,
    server_limit: u32,
    next_record: u32,
    tight: bool,
    changed: bool,
    early: bool,
    closed: bool,
}

/// What to keep of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    /// So many of the frame's bytes.
    pub keep: usize,
    /// Whether the client sent it.
    pub from_client: bool,
}

/// The rule, and the connections it knows.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    flows: LruCache<Tuple, Flow, RandomState>,
    embryos: LruCache<Tuple, Embryo, RandomState>,
    /// Connections established.
    pub connections: u64,
    /// Of these, those whose SYN was not known.
    pub late: u64,
    /// Packets of interest.
    pub seen: u64,
    /// Of these, handshake packets.
    pub passed: u64,
    /// Of these, SYN and SYN-ACK packets.
    pub syns: u64,
}

impl Gate {
    /// Knows no connection yet.
    pub fn new(limits: Limits) -> Self {
        let table = |most: u32| NonZeroUsize::new(most as usize).unwrap_or(NonZeroUsize::MIN);
        let flows = LruCache::with_hasher(table(limits.flows), RandomState::default());
        let embryos = LruCache::with_hasher(table(limits.embryos), RandomState::default());
        Self { limits, flows, embryos, connections: 0, late: 0, seen: 0, passed: 0, syns: 0 }
    }

    /// Whether and how much of a frame belongs to a handshake. `own`: it leaves this host, by whose address it was sent.
    pub fn push(&mut self, link: LinkType, frame: &[u8], own: bool) -> Option<Pass> {
        let Ok(Transport::Tcp(segment)) = decode(link, frame) else { return None };
        let from_client = self.limits.from_client(&segment)?;
        self.seen += 1;
        let tuple = if from_client {
            Tuple { client: segment.source(), server: segment.destination() }
        } else {
            Tuple { client: segment.destination(), server: segment.source() }
        };
        let payload_at = payload_at(frame, &segment);
        let most = self.judge(&tuple, &segment, from_client, own)?;
        *(if segment.flags.syn() { &mut self.syns } else { &mut self.passed }) += 1;
        let keep = most.map_or(frame.len(), |payload| (payload_at + payload as usize).min(frame.len()));
        Some(Pass { keep, from_client })
    }

    /// How much payload to keep, all if it is not said; nothing at all if absent.
    fn judge(&mut self, tuple: &Tuple, segment: &TcpSegment<'_>, from_client: bool, own: bool) -> Option<Option<u32>> {
        let (syn, ack) = (segment.flags.syn(), segment.flags.ack());
        if syn && !ack {
            return (!own).then(|| self.begin(tuple, segment));
        }
        if syn {
            if self.flows.contains(tuple) {
                return Some(None);
            }
            let embryo = self.embryos.get_mut(tuple)?;
            let taken = segment.ack.wrapping_sub(embryo.client_isn).wrapping_sub(1);
            if taken > embryo.offered {
                return None;
            }
            embryo.server_isn = Some(segment.seq);
            if taken > 0 {
                // A server takes data of a SYN only from whom it knows (RFC 7413), and may answer before the client speaks again.
                let begun = Flow::of(embryo.client_isn, segment.seq, embryo.next_record, &self.limits);
                self.embryos.pop(tuple);
                self.flows.put(*tuple, begun);
                self.connections += 1;
            }
            return Some(None);
        }
        if !self.flows.contains(tuple) {
            if segment.flags.rst() && self.embryos.pop(tuple).is_some() {
                return Some(None);
            }
            if self.is_of_an_old_connection(tuple, segment, from_client) {
                return Some(None);
            }
            let begun = self.establish(tuple, segment, from_client, own)?;
            self.flows.put(*tuple, begun);
            self.connections += 1;
        }
        let flow = self.flows.get_mut(tuple).filter(|f| !f.closed)?;
        let (own_isn, peer_isn) = sides(from_client, flow.client_isn, flow.server_isn);
        let (own_limit, peer_limit) = sides(from_client, flow.client_limit, flow.server_limit);
        let start = segment.seq.wrapping_sub(own_isn).wrapping_sub(1);
        let acked = segment.ack.wrapping_sub(peer_isn).wrapping_sub(1);
        let left = own_limit.wrapping_sub(start).cast_signed();
        let ack_left = if ack { peer_limit.wrapping_sub(acked).cast_signed() } else { 0 };
        // What a client says in its handshake passes however much the server had to say before it: while its records are followed.
        let followed = !flow.tight && !flow.early && flow.next_record != NEVER;
        let ack_left = if from_client && segment.len > 0 && followed && ack_left > -FAR { 0 } else { ack_left };
        if left <= 0 || ack_left < 0 {
            flow.closed |= left < -FAR || ack_left < -FAR;
            return None;
        }
        if from_client && !flow.tight && segment.len > 0 {
            flow.read_records(segment, start, acked, &self.limits);
        }
        Some(Some(segment.len.min(left.unsigned_abs())))
    }

    fn begin(&mut self, tuple: &Tuple, segment: &TcpSegment<'_>) -> Option<u32> {
        if self.flows.get(tuple).is_some_and(|flow| flow.client_isn == segment.seq) {
            return None;
        }
        self.flows.pop(tuple); // the port is used again
        if self.embryos.get(tuple).is_none_or(|e| e.client_isn != segment.seq) {
            self.embryos.put(*tuple, Embryo::of(segment));
        }
        None
    }

    /// A SYN that is answered by a bare acknowledgement: the server still holds a connection of the same addresses and ports (RFC 5961,
    /// section 4).
    fn is_of_an_old_connection(&self, tuple: &Tuple, segment: &TcpSegment<'_>, from_client: bool) -> bool {
        let bare = !from_client && segment.flags.ack() && segment.len == 0;
        bare && self.embryos.peek(tuple).is_some_and(|embryo| embryo.server_isn.is_none())
    }

    /// Whoever knows the server's number has had its SYN-ACK; and a ClientHello tells by itself that a connection begins.
    fn establish(&mut self, tuple: &Tuple, segment: &TcpSegment<'_>, from_client: bool, own: bool) -> Option<Flow> {
        let (client_isn, server_isn, next_record) = match self.embryos.get(tuple).copied() {
            Some(Embryo { client_isn, server_isn, next_record, .. }) => {
                let server_isn = server_isn.filter(|_| from_client && segment.flags.ack())?;
                if segment.ack.wrapping_sub(server_isn).wrapping_sub(1) > self.limits.server {
                    return None;
                }
                self.embryos.pop(tuple);
                (client_isn, server_isn, next_record)
            }
            None => {
                let hello = matches!(segment.payload, [HANDSHAKE, 3, _, _, _, 1, ..]);
                if !from_client || !hello || own {
                    return None;
                }
                self.late += 1;
                (segment.seq.wrapping_sub(1), segment.ack.wrapping_sub(1), 0)
            }
        };
        Some(Flow::of(client_isn, server_isn, next_record, &self.limits))
    }
}

impl Embryo {
    fn of(syn: &TcpSegment<'_>) -> Self {
        let next_record = match syn.payload.first_chunk() {
            Some(header) if header[0] == HANDSHAKE => record(header).map_or(NEVER, |len| 5 + len),
            Some(_) => NEVER,
            None => 0,
        };
        Self { client_isn: syn.seq, server_isn: None, offered: syn.len, next_record }
    }
}

/// How many bytes of a record follow its header; absent if that is none of TLS.
fn record([content, major, _, high, low]: &[u8; 5]) -> Option<u32> {
    let len = u32::from(*high) << 8 | u32::from(*low);
    ((CHANGE_CIPHER_SPEC..=24).contains(content) && *major == 3 && len <= 16_640).then_some(len)
}

impl Flow {
    fn of(client_isn: u32, server_isn: u32, next_record: u32, limits: &Limits) -> Self {
        Self {
            client_isn,
            server_isn,
            client_limit: limits.client,
            server_limit: limits.server,
            next_record,
            tight: false,
            changed: false,
            early: false,
            closed: false,
        }
    }

    fn read_records(&mut self, segment: &TcpSegment<'_>, start: u32, acked: u32, limits: &Limits) {
        let end = start.wrapping_add(segment.len);
        for _ in 0..8 {
            let at = self.next_record;
            if at < start || at.saturating_add(5) > end {
                return;
            }
            let Some(header) = segment.payload.get((at - start) as usize..).and_then(|b| b.first_chunk()) else { return };
            let content = &header[0];
            let Some(len) = record(header) else {
                (self.next_record, self.server_limit) = (NEVER, limits.plain);
                return;
            };
            if *content == APPLICATION_DATA && acked == 0 {
                (self.early, self.server_limit) = (true, limits.plain);
            }
            let protected = *content == APPLICATION_DATA && !self.early;
            if protected || *content == HANDSHAKE && self.changed && len < FINISHED_12 {
                let rest = if protected { limits.server_rest_13 } else { limits.server_rest };
                (self.client_limit, self.server_limit) = (at + limits.client_rest, acked.wrapping_add(rest));
                self.tight = true;
                return;
            }
            self.changed = *content == CHANGE_CIPHER_SPEC;
            self.next_record = at + 5 + len;
        }
    }
}

fn sides<T>(from_client: bool, client: T, server: T) -> (T, T) {
    if from_client { (client, server) } else { (server, client) }
}
