//! What the server's program did with a connection, as the kernel saw it: loads `bpf/sockets.bpf.c` on BTF tracepoints.
//!
//! In: ports. Out: [`Event`]s: a connection was opened, the program read, the program wrote; each with the counters of the thread that did it.

use analysis::clock::{Instant, Span};

use crate::clock::Monotonic;
use crate::ends::FlowName;
use crate::limits::Limits;
use crate::live::Error;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// The connection was established.
    Opened,
    /// The program read from it.
    Read,
    /// The program wrote to it.
    Wrote,
}

/// Something that happened to a connection at the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When.
    pub at: Instant<Monotonic>,
    /// What.
    pub kind: EventKind,
    /// To which connection.
    pub flow: FlowName,
    /// The thread that did it; absent for [`EventKind::Opened`], which the kernel does by itself.
    pub thread: Option<u32>,
    /// The thread's time on a CPU since it began.
    pub cpu: Span,
    /// The thread's time ready to run without a CPU since it began.
    pub run_delay: Span,
}

/// Looks at sockets.
#[cfg(kernel_filter)]
pub struct SocketEvents {
    events: aya::maps::RingBuf<aya::maps::MapData>,
    _ebpf: aya::Ebpf,
}

/// Looks at sockets; in this build nobody can.
#[cfg(not(kernel_filter))]
pub enum SocketEvents {}

#[cfg(kernel_filter)]
impl SocketEvents {
    /// Begins to look.
    ///
    /// # Errors
    /// If the kernel has no BTF, or refuses: it needs CAP_BPF and CAP_PERFMON, and Linux 6.3.
    pub fn attach(limits: &Limits) -> Result<Self, Error> {
        Ok(Self::load(limits)?)
    }

    fn load(limits: &Limits) -> Result<Self, crate::kernel::Error> {
        use aya::programs::{BtfTracePoint, ProgramError};
        const PROGRAM: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sockets.bpf.o"));
        let btf = aya::Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
        let mut ebpf =
            aya::EbpfLoader::new().btf(Some(&btf)).override_global("ports", &limits.port_bits(), true).load(PROGRAM)?;
        for (name, tracepoint) in
            [("opened", "inet_sock_set_state"), ("received", "sock_recv_length"), ("sent", "sock_send_length")]
        {
            let program: &mut BtfTracePoint = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()?;
            program.load(tracepoint, &btf)?;
            program.attach()?;
        }
        Ok(Self { events: crate::kernel::map(&mut ebpf, "events")?, _ebpf: ebpf })
    }

    /// Gives every event that waits to `each`.
    pub fn read(&mut self, each: &mut dyn FnMut(Event)) {
        while let Some(record) = self.events.next() {
            if let Some(event) = parse(&record) {
                each(event);
            }
        }
    }
}

#[cfg(not(kernel_filter))]
impl SocketEvents {
    /// Never begins to look.
    ///
    /// # Errors
    /// Always.
    pub fn attach(_: &Limits) -> Result<Self, Error> {
        Err(Error::Interface("any".into(), "this build has no programs for the kernel: clang was missing".into()))
    }

    /// Nothing to read.
    pub fn read(&mut self, _: &mut dyn FnMut(Event)) {
        match *self {}
    }
}

/// Reads a `struct event` of the source.
#[cfg(kernel_filter)]
fn parse(record: &[u8]) -> Option<Event> {
    use crate::ends::End;
    let long = |at: usize| record.get(at..at + 8).and_then(|b| b.try_into().ok()).map(i64::from_ne_bytes);
    let word = |at: usize| record.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    let short = |at: usize| record.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let ipv6 = word(68)? != 0;
    let end = |at: usize, port: u16| -> Option<End> {
        let address = *record.get(at..)?.first_chunk::<16>()?;
        let mapped = || std::net::Ipv4Addr::new(address[0], address[1], address[2], address[3]).to_ipv6_mapped().octets();
        Some(End::new(if ipv6 { address } else { mapped() }, port.to_be_bytes()))
    };
    let kind = match word(64)? {
        0 => EventKind::Opened,
        1 => EventKind::Read,
        _ => EventKind::Wrote,
    };
    Some(Event {
        at: Instant::from_nanos(long(0)?),
        kind,
        flow: FlowName::of(end(24, short(56)?)?, end(40, short(58)?)?),
        thread: word(60).filter(|_| kind != EventKind::Opened),
        cpu: Span::from_nanos(long(8)?),
        run_delay: Span::from_nanos(long(16)?),
    })
}
