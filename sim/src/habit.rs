//! What differs between TCP stacks and matters here.
//!
//! Sources: Linux `net/ipv4/tcp_*.c`, RFC 6298 (retransmission timer), RFC 8985 (RACK-TLP), RFC 2883 (D-SACK), RFC 7323
//! (timestamps), Microsoft's and Apple's documented defaults. Where a stack differs between releases, what most hosts run.

use crate::MS;

/// How a stack fills the IPv4 identification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpId {
    /// Counts this connection's packets (Linux).
    PerConnection,
    /// Counts all packets of the host (Windows).
    PerHost,
    /// Always zero, since nothing may be fragmented (macOS, RFC 6864).
    Zero,
}

/// A stack's ways.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Habit {
    /// Its name.
    pub name: &'static str,
    /// TTL or hop limit of what it sends.
    pub ttl: u8,
    /// Whether it offers TCP timestamps.
    pub timestamps: bool,
    /// How long one tick of them takes.
    pub tick: i64,
    /// See [`IpId`].
    pub ip_id: IpId,
    /// Packets a second that its other connections send: a counter of the host's counts them too.
    pub others: i64,
    /// Segments acknowledged at once when a connection is young.
    pub quick_acks: u32,
    /// How long an acknowledgement may wait.
    pub delayed_ack: i64,
    /// Least retransmission timeout.
    pub least_rto: i64,
    /// Retransmission timeout before anything was measured.
    pub first_rto: i64,
    /// Whether it sends loss probes.
    pub loss_probe: bool,
    /// How long a probe waits beyond two round trips for the acknowledgement of a single segment, which may be put off.
    pub probe_slack: i64,
    /// Whether it tells of data that came twice.
    pub dsack: bool,
    /// Initial congestion window in segments.
    pub initial_window: usize,
    /// Whether it sends SYN again at once when an old connection answered.
    pub hasty_syn: bool,
    /// Whether Nagle's algorithm looks at the last small segment only (Minshall), not at all data.
    pub minshall: bool,
}

/// Linux since 4.x.
pub const LINUX: Habit = Habit {
    name: "linux",
    ttl: 64,
    timestamps: true,
    tick: MS,
    ip_id: IpId::PerConnection,
    others: 0,
    quick_acks: 16,
    delayed_ack: 40 * MS,
    least_rto: 200 * MS,
    first_rto: 1_000 * MS,
    loss_probe: true,
    probe_slack: 200 * MS,
    dsack: true,
    initial_window: 10,
    hasty_syn: true,
    minshall: true,
};

/// Linux before 4.13: its timestamps count the ticks of a 250 Hz timer.
pub const OLD_LINUX: Habit = Habit { name: "linux before 4.13", tick: 4 * MS, ..LINUX };

/// Windows 10 and later: no timestamps unless asked for.
pub const WINDOWS: Habit = Habit {
    name: "windows",
    ttl: 128,
    timestamps: false,
    tick: MS,
    ip_id: IpId::PerHost,
    others: 0,
    quick_acks: 0,
    delayed_ack: 40 * MS,
    least_rto: 300 * MS,
    first_rto: 1_000 * MS,
    loss_probe: true,
    probe_slack: 300 * MS,
    dsack: true,
    initial_window: 10,
    hasty_syn: false,
    minshall: false,
};

/// The same, asked for timestamps.
pub const WINDOWS_STAMPED: Habit = Habit { name: "windows, timestamps on", timestamps: true, ..WINDOWS };

/// macOS and iOS.
pub const MACOS: Habit = Habit {
    name: "macos",
    ttl: 64,
    timestamps: true,
    tick: MS,
    ip_id: IpId::Zero,
    others: 0,
    quick_acks: 8,
    delayed_ack: 100 * MS,
    least_rto: 230 * MS,
    first_rto: 1_000 * MS,
    loss_probe: false,
    probe_slack: 230 * MS,
    dsack: true,
    initial_window: 10,
    hasty_syn: false,
    minshall: false,
};
