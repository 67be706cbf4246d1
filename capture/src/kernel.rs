//! The in-kernel filter: loads `bpf/handshakes.bpf.c`, attaches it, reads what it passes and what it counts.
//!
//! In: an interface and [`Limits`]. Out: handshake packets, by one of two attachments of the same program: at tc, where bulk data costs
//! a lookup and nothing is copied, or on the socket of a libpcap capture. Neither can change or drop a packet.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use analysis::clock::{Instant, Span};
use analysis::wire::packet::{Flags, LinkType};
use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::tc::{NlOptions, SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, SocketFilter, TcAttachType, tc};
use aya::{Ebpf, EbpfLoader};

use crate::clock::{Monotonic, monotonic};
use crate::ends::{End, FlowName};
use crate::limits::Limits;
use crate::seen::{Counters, Frame, Seen};

/// Bytes of a record before its frame; `struct record` in the source.
const RECORD_HEADER: usize = 72;
/// CPUs stamp packets before they hand them over: so much later ones may come first.
const OUT_OF_ORDER: Span = Span::from_millis(1);
const PROGRAM: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/handshakes.bpf.o"));

/// Why the kernel does not filter for us.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refused the program or a map.
    #[error("the kernel refused the programs: {0} (it needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and Linux 5.8 or later)")]
    Load(#[from] aya::EbpfError),
    /// It refused a program.
    #[error("the kernel refused a program (it needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN): {0}")]
    Program(#[from] ProgramError),
    /// It refused access to a map.
    #[error("a program's maps: {0}")]
    Map(#[from] aya::maps::MapError),
    /// It refused the attachment.
    #[error("attaching to {interface}: {why} (it needs CAP_NET_ADMIN in the namespace of the interface)")]
    Attach {
        /// The interface.
        interface: String,
        /// By both ways tried.
        why: String,
    },
}

/// The filter, loaded.
pub struct KernelFilter {
    ebpf: Ebpf,
    link: LinkType,
    packets: RingBuf<MapData>,
    syns: RingBuf<MapData>,
    counted: PerCpuArray<MapData, [u64; 7]>,
    own: HashMap<MapData, [u8; 16], u8>,
    attached: Vec<Attached>,
    /// A SYN packet that was read and is not given yet; empty if there is none.
    syn: Vec<u8>,
}

/// The programs at one interface.
struct Attached {
    interface: String,
    links: Vec<(&'static str, SchedClassifierLinkId)>,
}

impl KernelFilter {
    /// Loads the programs for interfaces whose frames begin as `link` says.
    ///
    /// # Errors
    /// If the kernel refuses them.
    pub fn load(limits: &Limits, link: LinkType) -> Result<Self, Error> {
        let link_header: u32 = if link == LinkType::Ethernet { 14 } else { 0 };
        let secret: [u64; 2] = std::array::from_fn(|word| RandomState::new().hash_one(word));
        let mut ebpf = EbpfLoader::new()
            .override_global("link_header", &link_header, true)
            .override_global("ports", &limits.port_bits(), true)
            .override_global("secret", &secret, true)
            .override_global("client_limit", &limits.client, true)
            .override_global("server_limit", &limits.server, true)
            .override_global("plain_limit", &limits.plain, true)
            .override_global("client_rest", &limits.client_rest, true)
            .override_global("server_rest", &limits.server_rest, true)
            .override_global("server_rest_13", &limits.server_rest_13, true)
            .map_max_entries("flows", limits.flows)
            .map_max_entries("embryos", limits.embryos)
            .load(PROGRAM)?;
        // A program is tied to its maps when it is loaded, by file descriptors that must still be open then.
        for name in ["ingress", "egress"] {
            classifier(&mut ebpf, name)?.load()?;
        }
        program::<SocketFilter>(&mut ebpf, "filter")?.load()?;
        let (packets, syns, counted) = (map(&mut ebpf, "packets")?, map(&mut ebpf, "syns")?, map(&mut ebpf, "counted")?);
        let own = map(&mut ebpf, "own")?;
        Ok(Self { ebpf, link, packets, syns, counted, own, attached: Vec::new(), syn: Vec::new() })
    }

    /// How the frames begin that the programs read.
    pub fn link(&self) -> LinkType {
        self.link
    }

    /// Tells the programs which addresses are this host's: what they begin is no client's connection.
    ///
    /// # Errors
    /// If the kernel refuses, as it does where there are too many.
    pub fn own(&mut self, addresses: impl Iterator<Item = IpAddr>) -> Result<(), Error> {
        let new: HashSet<[u8; 16]> = addresses.map(octets).collect();
        let gone: Vec<[u8; 16]> = self.own.keys().flatten().filter(|address| !new.contains(address)).collect();
        for address in gone {
            self.own.remove(&address)?;
        }
        for address in new {
            self.own.insert(address, 1, 0)?;
        }
        Ok(())
    }

    /// Hangs the programs at `interface`, of the calling thread's network namespace: by tcx (Linux 6.6 and later), else by a clsact
    /// queueing discipline.
    ///
    /// # Errors
    /// If neither tcx nor clsact takes them.
    pub fn attach(&mut self, interface: &str) -> Result<(), Error> {
        let tcx = [LinkOrder::first(), LinkOrder::last()].map(TcAttachOptions::TcxOrder);
        let refused = match self.attach_both(interface, tcx) {
            Ok(links) => {
                self.attached.push(Attached { interface: interface.to_owned(), links });
                return Ok(());
            }
            Err(error) => chain(&error),
        };
        // It may be there already: then adding it fails, and attaching works all the same.
        let _ = tc::qdisc_add_clsact(interface);
        let clsact = [NlOptions::default(), NlOptions::default()].map(TcAttachOptions::Netlink);
        let links = self.attach_both(interface, clsact).map_err(|error| Error::Attach {
            interface: interface.to_owned(),
            why: format!("tcx: {refused}; clsact: {}", chain(&error)),
        })?;
        self.attached.push(Attached { interface: interface.to_owned(), links });
        Ok(())
    }

    fn attach_both(
        &mut self,
        interface: &str,
        [first, last]: [TcAttachOptions; 2],
    ) -> Result<Vec<(&'static str, SchedClassifierLinkId)>, ProgramError> {
        let ways = [("ingress", TcAttachType::Ingress, first), ("egress", TcAttachType::Egress, last)];
        let mut links = Vec::new();
        for (name, way, options) in ways {
            let program = classifier(&mut self.ebpf, name)?;
            match program.attach_with_options(interface, way, options) {
                Ok(link) => links.push((name, link)),
                Err(error) => {
                    self.detach_links(links);
                    return Err(error);
                }
            }
        }
        Ok(links)
    }

    /// Takes the programs off `interface`, where they may be gone already.
    pub fn detach(&mut self, interface: &str) {
        let gone: Vec<_> = self.attached.extract_if(.., |a| a.interface == interface).collect();
        gone.into_iter().for_each(|a| self.detach_links(a.links));
    }

    fn detach_links(&mut self, links: Vec<(&'static str, SchedClassifierLinkId)>) {
        for (name, link) in links {
            if let Ok(program) = classifier(&mut self.ebpf, name) {
                let _ = program.detach(link); // an interface that is gone took its programs with it
            }
        }
    }

    /// Whether the programs still hang at `interface`: somebody else may have taken them off. Asked by putting each where it is: a
    /// link that is dead refuses. (To list what hangs there would need CAP_SYS_ADMIN.)
    pub fn attached(&mut self, interface: &str) -> bool {
        let Some(place) = self.attached.iter().position(|a| a.interface == interface) else { return false };
        let mut attached = self.attached.remove(place);
        let put = |ebpf: &mut Ebpf, name, link| {
            let program = classifier(ebpf, name)?;
            let link = program.take_link(link)?;
            program.attach_to_link(link).map(|link| (name, link))
        };
        // A link that was taken out and refused is closed; one that hangs while another is gone must go too.
        let (put, gone): (Vec<_>, Vec<_>) =
            attached.links.drain(..).map(|(name, link)| put(&mut self.ebpf, name, link)).partition(Result::is_ok);
        let links = put.into_iter().flatten().collect();
        if gone.is_empty() {
            self.attached.push(Attached { links, ..attached });
            return true;
        }
        self.detach_links(links);
        false
    }

    /// Hangs the program on a packet socket: it then receives handshake packets only, cut to their handshake bytes.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn attach_to_socket(&mut self, socket: BorrowedFd<'_>) -> Result<(), Error> {
        program::<SocketFilter>(&mut self.ebpf, "filter")?.attach(socket)?;
        Ok(())
    }

    /// Gives every packet that waits to `each`, and until when none is left. SYN packets wait elsewhere: each comes before what passed
    /// after it, and behind what passed before it, for a port may be used again meanwhile.
    pub fn read(&mut self, each: &mut dyn FnMut(Seen<'_>)) -> Instant<Monotonic> {
        let Self { packets, syns, link, syn, .. } = self;
        let mut begin = |until: Instant<Monotonic>, each: &mut dyn FnMut(Seen<'_>)| {
            loop {
                if syn.is_empty() {
                    let Some(record) = syns.next() else { return };
                    syn.extend_from_slice(&record);
                }
                let seen = parse(syn, *link);
                if seen.as_ref().is_some_and(|seen| seen.frame.at > until) {
                    return;
                }
                seen.into_iter().for_each(&mut *each);
                syn.clear();
            }
        };
        loop {
            let (before, mut any) = (monotonic(), false);
            while let Some(record) = packets.next() {
                any = true;
                if let Some(seen) = parse(&record, *link) {
                    begin(seen.frame.at + OUT_OF_ORDER, each);
                    each(seen);
                }
            }
            if !any {
                begin(before, each);
                return before;
            }
        }
    }

    /// What becomes readable when so much waits that it should be read soon.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.packets.as_fd(), self.syns.as_fd()]
    }

    /// What the programs counted.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn counters(&self) -> Result<Counters, Error> {
        let each = self.counted.get(&0, 0)?;
        let sums = each.iter().fold([0; 7], |sums: [u64; 7], cpu| std::array::from_fn(|i| sums[i] + cpu[i]));
        let [seen, passed, syns, lost, syns_lost, connections, late] = sums;
        Ok(Counters { seen, passed, syns, lost, syns_lost, connections, late })
    }

    /// One of the tc programs (`ingress`, `egress`), for tests that run it over packets of their own.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier, ProgramError> {
        classifier(&mut self.ebpf, name)
    }
}

/// An address as the programs know it.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Takes a map of a loaded object.
pub(crate) fn map<T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, Error> {
    let map = ebpf.take_map(name).ok_or_else(|| aya::maps::MapError::InvalidName { name: name.into() })?;
    Ok(map.try_into()?)
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, ProgramError> {
    program(ebpf, name)
}

/// Reads a `struct record` of the source.
fn parse(record: &[u8], link: LinkType) -> Option<Seen<'_>> {
    let (header, bytes) = record.split_first_chunk::<RECORD_HEADER>()?;
    let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let bytes = bytes.get(..word(12) as usize)?;
    let end = |address: usize, port: usize| -> Option<End> {
        Some(End::new(*header[address..].first_chunk()?, [header[port], header[port + 1]]))
    };
    let (client, server) = (end(36, 68)?, end(52, 70)?);
    let (payload_len, payload_at) = (word(20), u16::from_ne_bytes([header[32], header[33]]));
    let payload = bytes.get(usize::from(payload_at)..).unwrap_or_default();
    Some(Seen {
        frame: Frame {
            at: Instant::from_nanos(i64::from_ne_bytes(*header.first_chunk()?)),
            wire_len: word(8),
            interface: word(16),
            outgoing: header[35] & 1 != 0,
            link,
            bytes,
        },
        flow: FlowName::of(client, server),
        client,
        server,
        from_client: header[35] & 2 != 0,
        flags: Flags(header[34]),
        seq: word(24),
        ack: word(28),
        payload_len,
        payload: &payload[..payload.len().min(payload_len as usize)], // a short frame is padded
    })
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |e| e.source()).fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}
