//! The filter's rule: what of a handshake it lets pass (all of it), and that the kernel's program applies the same rule.

use analysis::clock::{Instant, Unplaced};
use analysis::tcp::flow::{Side, View};
use analysis::tcp::table::FlowTable;
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::limits::{Gate, Limits};
use sim::Trial;
use sim::cases::{CASES, Grade, Setup};
use sim::tls::Version;
use whostalled_capture as capture;

/// A trial of each case and version, with the case's number.
fn trials() -> impl Iterator<Item = (u8, Trial)> {
    let setups = (1..=CASES).flat_map(|case| Version::ALL.map(move |version| (case, version)));
    setups.filter_map(|(case, version)| {
        let seed = u64::from(case) * 7 + version as u64;
        let planned = Setup { case, severity: 150, version, grade: Grade::Server, seed }.plan()?;
        Some((case, Trial::run(&planned.plan, seed)))
    })
}

fn every_port() -> Limits {
    Limits { ports: (0..=u16::MAX).collect(), ..Limits::default() }
}

/// The view of every connection, of frames cut as `keep` says.
fn views(frames: &[(i64, Vec<u8>)], mut keep: impl FnMut(&[u8]) -> Option<usize>) -> Vec<View<Unplaced>> {
    let mut table: FlowTable<Unplaced> = FlowTable::default();
    for (i, (at, frame)) in frames.iter().enumerate() {
        let Some(len) = keep(frame) else { continue };
        if let Ok(Transport::Tcp(segment)) = decode(LinkType::Ethernet, &frame[..len]) {
            table.push(Instant::from_nanos(*at), i as u64, &segment);
        }
    }
    let mut views = table.into_views();
    views.iter_mut().for_each(View::close);
    views
}

/// Packet numbers of everything that carries or acknowledges handshake bytes.
fn handshake_packets(view: &View<Unplaced>) -> Vec<u64> {
    let d = view.dialogue();
    let Some(client) = d.client_finished.map(|e| e.end) else { return vec![] };
    let server = d.server_finished.or(d.server_flight).map_or(0, |e| e.end);
    let of = |from: Side, own: i64, peer: i64| {
        let within = move |p: &&analysis::tcp::flow::Seen<Unplaced>| p.start() < own && p.ack().is_none_or(|a| a <= peer);
        view.sent_by(from).filter(within).map(|p| p.packet)
    };
    let mut found: Vec<u64> = of(Side::Client, client, server).chain(of(Side::Server, server, client)).collect();
    found.sort_unstable();
    found
}

#[test]
fn no_handshake_packet_is_missed_whatever_goes_wrong() {
    let (mut handshakes, mut packets) = (0, 0);
    let mut all_missed = Vec::new();
    for (case, trial) in trials() {
        let mut gate = Gate::new(every_port());
        let whole = views(&trial.edge, |frame| Some(frame.len()));
        let passed = views(&trial.edge, |frame| gate.push(LinkType::Ethernet, frame, false).map(|p| p.keep));
        for view in &whole {
            let wanted = handshake_packets(view);
            if wanted.is_empty() {
                continue;
            }
            let Some(other) = passed.iter().find(|v| v.endpoints == view.endpoints) else {
                all_missed.push(format!("case {case}: the connection {:?} does not pass", view.endpoints));
                continue;
            };
            let got: Vec<u64> = other.packets.iter().map(|p| p.packet).collect();
            let missed: Vec<&u64> = wanted.iter().filter(|n| !got.contains(n)).collect();
            let (d, e) = (view.dialogue(), other.dialogue());
            if !missed.is_empty() || (d.server_flight, d.client_finished) != (e.server_flight, e.client_finished) {
                all_missed.push(format!("case {case}: {missed:?} of {:?}", view.endpoints));
            }
            (handshakes, packets) = (handshakes + 1, packets + wanted.len());
        }
    }
    assert!(all_missed.is_empty(), "{all_missed:#?}");
    assert!(handshakes > 300 && packets > 3_000, "{handshakes} handshakes, {packets} packets");
}

#[test]
fn bulk_data_does_not_pass() {
    let trial = Trial::run(&sim::plan::Plan::healthy(Version::Tls13, "edge.test"), 3);
    let mut gate = Gate::new(every_port());
    let mut bytes = [0_usize; 2];
    let download = sim::beside::download(trial.at_edge.0, 0, 20 << 20);
    for (_, frame) in &download {
        bytes[0] += frame.len();
        bytes[1] += gate.push(LinkType::Ethernet, frame, false).map_or(0, |p| p.keep);
    }
    assert!(bytes[1] * 100 < bytes[0], "{bytes:?}");
}

#[test]
fn a_flood_of_syns_establishes_nothing_and_forgets_nobody() {
    let mut gate = Gate::new(Limits { embryos: 1_000, ..every_port() });
    let trial = Trial::run(&sim::plan::Plan::healthy(Version::Tls13, "edge.test"), 3);
    let half = trial.edge.len() / 2;
    let push = |gate: &mut Gate, frames: &[(i64, Vec<u8>)]| {
        frames.iter().filter(|(_, f)| gate.push(LinkType::Ethernet, f, false).is_some()).count()
    };
    let before = push(&mut gate, &trial.edge[..half]);
    let established = gate.connections;
    let server = trial.at_edge.1;
    for port in 1_000..6_000 {
        let mut syn = Vec::new();
        let to = etherparse::PacketBuilder::ethernet2([2; 6], [2; 6]);
        let to = match server.ip() {
            std::net::IpAddr::V4(ip) => to.ipv4([203, 0, 113, 7], ip.octets(), 60),
            std::net::IpAddr::V6(ip) => to.ipv6([7; 16], ip.octets(), 60),
        };
        to.tcp(port, server.port(), u32::from(port) * 77, 64_240).syn().write(&mut syn, &[]).expect("a vector takes every write");
        assert!(gate.push(LinkType::Ethernet, &syn, false).is_some());
    }
    assert_eq!(gate.connections, established, "nobody who only sent SYN is established");
    let after = push(&mut gate, &trial.edge[half..]);
    let mut quiet = Gate::new(every_port());
    assert_eq!(before + after, push(&mut quiet, &trial.edge));
}

/// One connection, packet by packet; bytes count from each end's SYN.
struct Wire {
    port: u16,
}

impl Wire {
    const ISNS: [u32; 2] = [1_000, 0xffff_fff0];

    fn frame(&self, from_client: bool, flags: &str, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
        let (own, peer) = if from_client { (0, 1) } else { (1, 0) };
        let ip = |n: usize| [192, 0, 2, n as u8 + 1];
        let ports = [self.port, 443];
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(ip(own), ip(peer), 60);
        let mut tcp = builder.tcp(ports[own], ports[peer], Self::ISNS[own].wrapping_add(seq), 64_240);
        if flags.contains('S') {
            tcp = tcp.syn();
        }
        if flags.contains('A') {
            tcp = tcp.ack(Self::ISNS[peer].wrapping_add(ack));
        }
        let mut frame = Vec::new();
        tcp.write(&mut frame, payload).expect("a vector takes every write");
        frame
    }
}

/// A record of TLS.
fn record(content: u8, len: usize) -> Vec<u8> {
    let kind = if content == 22 { 1 } else { 9 };
    [&[content, 3, 3, (len >> 8) as u8, len as u8, kind][..], &vec![7; len - 1]].concat()
}

/// A handshake by TCP Fast Open: the server answers before the client speaks again; or it does not take the data.
fn fast_open(port: u16, taken: bool) -> Vec<Vec<u8>> {
    let (wire, hello) = (Wire { port }, record(22, 295));
    let mut frames = vec![wire.frame(true, "S", 0, 0, &hello)];
    if taken {
        frames.push(wire.frame(false, "SA", 0, 301, &[]));
        frames.push(wire.frame(false, "A", 1, 301, &record(22, 895)));
        frames.push(wire.frame(true, "A", 301, 901, &[]));
    } else {
        frames.push(wire.frame(false, "SA", 0, 1, &[]));
        frames.push(wire.frame(true, "A", 1, 1, &hello));
        frames.push(wire.frame(false, "A", 1, 301, &record(22, 895)));
    }
    frames.push(wire.frame(true, "A", 301, 901, &record(23, 75)));
    frames.push(wire.frame(false, "A", 901, 381, &record(23, 95)));
    frames
}

/// A handshake with so much of the server's in it, in pieces that need no segmentation.
fn with_flight(port: u16, bytes: u32) -> Vec<Vec<u8>> {
    let wire = Wire { port };
    let mut frames =
        vec![wire.frame(true, "S", 0, 0, &[]), wire.frame(false, "SA", 0, 1, &[]), wire.frame(true, "A", 1, 1, &record(22, 295))];
    for at in (0..bytes).step_by(1_000) {
        frames.push(wire.frame(false, "A", at + 1, 301, &[8; 1_000]));
        frames.push(wire.frame(true, "A", 301, at + 1_001, &[]));
    }
    frames.push(wire.frame(true, "A", 301, bytes + 1, &record(23, 75)));
    frames.push(wire.frame(false, "A", bytes + 1, 381, &record(23, 95)));
    frames
}

fn passing(gate: &mut Gate, frames: &[Vec<u8>]) -> usize {
    frames.iter().filter(|frame| gate.push(LinkType::Ethernet, frame, false).is_some()).count()
}

#[test]
fn a_handshake_that_begins_in_its_syn_passes_and_what_follows_does_not() {
    for taken in [true, false] {
        let (mut gate, frames) = (Gate::new(Limits::default()), fast_open(40_000, taken));
        assert_eq!(passing(&mut gate, &frames), frames.len(), "{taken}");
        assert_eq!((gate.connections, gate.late), (1, 0));
        let later = Wire { port: 40_000 }.frame(false, "A", 900 + 20_000, 381, &[9; 1_000]);
        assert_eq!(passing(&mut gate, &[later]), 0, "{taken}: where the handshake ends is known");
    }
    // What acknowledges more than was offered is not this server's answer.
    let (mut gate, wire) = (Gate::new(Limits::default()), Wire { port: 40_001 });
    let frames = [wire.frame(true, "S", 0, 0, &record(22, 295)), wire.frame(false, "SA", 0, 302, &[])];
    assert_eq!(passing(&mut gate, &frames), 1);
}

#[test]
fn a_long_flight_passes_and_of_one_without_an_end_what_the_client_says() {
    let (mut gate, frames) = (Gate::new(Limits::default()), with_flight(40_000, 130_000));
    assert_eq!(passing(&mut gate, &frames), frames.len());
    let frames = with_flight(40_001, 400_000);
    let (last, before) = frames.split_last_chunk::<2>().map(|(before, last)| (last, before)).expect("there are more");
    assert!(passing(&mut gate, before) < before.len(), "memory is not for that");
    assert_eq!(passing(&mut gate, last), 2, "the client finished, and was answered");
}

#[test]
fn who_speaks_no_tls_passes_no_more_than_ever() {
    let (mut gate, wire) = (Gate::new(Limits::default()), Wire { port: 40_000 });
    let mut frames = vec![wire.frame(true, "S", 0, 0, &[]), wire.frame(false, "SA", 0, 1, &[])];
    frames.push(wire.frame(true, "A", 1, 1, b"GET / HTTP/1.0\r\n\r\n"));
    frames.extend((0..400).map(|n| wire.frame(false, "A", n * 1_000 + 1, 19, &[8; 1_000])));
    assert_eq!(passing(&mut gate, &frames), 3 + 66);
    assert_eq!(passing(&mut gate, &uploaded(&wire, 400_001)), 0, "what its client sends behind that is no handshake");
}

#[test]
fn what_a_client_sends_early_passes_no_more_than_ever() {
    let (mut gate, wire) = (Gate::new(Limits::default()), Wire { port: 40_000 });
    let mut frames = vec![wire.frame(true, "S", 0, 0, &[]), wire.frame(false, "SA", 0, 1, &[])];
    frames.push(wire.frame(true, "A", 1, 1, &[record(22, 295), record(23, 495)].concat()));
    frames.extend((0..400).map(|n| wire.frame(false, "A", n * 1_000 + 1, 801, &[8; 1_000])));
    passing(&mut gate, &frames);
    let upload = (0..20).map(|n| wire.frame(true, "A", 801 + n * 1_000, 400_001, &record(23, 995))).collect::<Vec<_>>();
    assert_eq!(passing(&mut gate, &upload), 0);
}

/// What a client sends once it has had so much.
fn uploaded(wire: &Wire, had: u32) -> Vec<Vec<u8>> {
    (0..20).map(|n| wire.frame(true, "A", 19 + n * 1_000, had, &[7; 1_000])).collect()
}

#[test]
fn what_the_edge_begins_itself_is_no_clients_with_its_syn_or_without() {
    let (mut gate, frames) = (Gate::new(Limits::default()), with_flight(40_000, 3_000));
    for without in 0..=1 {
        let mut pass = |frame: &Vec<u8>, own| gate.push(LinkType::Ethernet, frame, own).is_some();
        // Its answers are addressed to us: they come in.
        let passed = frames.iter().enumerate().skip(without * 2).filter(|(i, frame)| pass(frame, i % 2 == 0)).count();
        assert_eq!(passed, 0);
    }
    assert_eq!((gate.connections, gate.late), (0, 0));
}

#[test]
fn no_damaged_frame_is_too_strange() {
    let mut rng = fastrand::Rng::with_seed(7);
    let frames: Vec<Vec<u8>> = trials().take(20).flat_map(|(_, t)| t.edge).map(|(_, f)| f).collect();
    let mut gate = Gate::new(Limits { flows: 50, embryos: 50, ..every_port() });
    for _ in 0..20_000 {
        let mut frame = frames[rng.usize(0..frames.len())].clone();
        for _ in 0..rng.usize(0..4) {
            let at = rng.usize(0..frame.len().min(120));
            frame[at] = rng.u8(..);
        }
        frame.truncate(rng.usize(0..=frame.len()));
        if let Some(pass) = gate.push(LinkType::Ethernet, &frame, rng.bool()) {
            assert!(pass.keep <= frame.len());
        }
    }
}

#[cfg(not(kernel_filter))]
#[test]
fn the_kernels_programs_were_built() {
    testing::skipped(testing::Need::Bpf, "this build has no programs for the kernel (clang), so nothing was compared with them");
}

#[cfg(kernel_filter)]
mod in_kernel {
    use analysis::clock::Span;
    use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
    use capture::ends::{End, FlowName};
    use capture::file::Reader;
    use capture::kernel::KernelFilter;
    use capture::seen::{Frame, Seen};

    use super::*;

    /// `BPF_PROG_TEST_RUN` takes no more than fits a page with its headroom.
    const MOST_FRAME: usize = 3_000;

    /// Ethernet frames of the captures in a folder, small enough to be handed to the kernel.
    fn frames_below(folder: &std::path::Path) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for entry in std::fs::read_dir(folder).expect("the folder opens") {
            let path = entry.expect("the folder reads").path();
            let Ok(mut reader) = Reader::open(&path, None) else { continue };
            while let Ok(Some(frame)) = reader.next_frame() {
                if frame.link == Some(LinkType::Ethernet) && (14..MOST_FRAME).contains(&frame.bytes.len()) {
                    frames.push(frame.bytes.to_vec());
                }
            }
        }
        frames
    }

    /// Whether TCP is not what lies right behind the first IP header.
    fn tunnelled(frame: &[u8]) -> bool {
        let mut at = 12;
        while matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
            at += 4;
        }
        match frame.get(at..at + 2) {
            Some([0x08, 0x00]) => frame.get(at + 2 + 9) != Some(&6),
            Some([0x86, 0xdd]) => matches!(frame.get(at + 2 + 6), Some(4 | 17 | 41 | 47)),
            _ => true,
        }
    }

    /// What is told of a packet that passed: how much of which, whose it is, what it is.
    #[derive(PartialEq, Debug)]
    struct Told {
        frame: usize,
        bytes: usize,
        ends: (End, End, FlowName),
        from_client: bool,
        flags: u8,
        numbers: (u32, u32),
        payload: (u32, usize),
    }

    fn told(frame: usize, seen: &Seen<'_>) -> Told {
        let (ends, payload) = ((seen.client, seen.server, seen.flow), (seen.payload_len, seen.payload.len()));
        Told {
            frame,
            bytes: seen.frame.bytes.len(),
            ends,
            from_client: seen.from_client,
            flags: seen.flags.0,
            numbers: (seen.seq, seen.ack),
            payload,
        }
    }

    /// Runs the tc program over frames; gives what passed.
    fn kernel(frames: &[Vec<u8>]) -> Vec<Told> {
        // We are root: a refusal is a program that the verifier does not believe.
        let mut filter = KernelFilter::load(&every_port(), LinkType::Ethernet).expect("the kernel takes it");
        let mut passed = Vec::new();
        for (i, frame) in frames.iter().enumerate() {
            let program: &mut SchedClassifier = filter.classifier("ingress").expect("it loads");
            let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
            let said = program.test_run(options).expect("the kernel runs it").return_value;
            assert_eq!(said, u32::MAX, "it never decides on a packet's fate");
            filter.read(&mut |seen| passed.push(told(i, &seen)));
        }
        passed
    }

    /// That both let the same pass, of which there is some; how many frames that is.
    fn compare(frames: &[Vec<u8>]) -> usize {
        let kernel = kernel(frames);
        let mut gate = Gate::new(every_port());
        let link = LinkType::Ethernet;
        let mut user = Vec::new();
        for (i, bytes) in frames.iter().enumerate() {
            let Some(pass) = gate.push(link, bytes, false) else { continue };
            let Ok(Transport::Tcp(segment)) = decode(link, bytes) else { continue };
            let at = Instant::from_nanos(0);
            let frame = Frame { at, wire_len: bytes.len() as u32, interface: 0, outgoing: false, link, bytes };
            user.push(told(i, &Seen::decoded(frame, &segment, pass.from_client, pass.keep)));
        }
        let differ = user.iter().zip(&kernel).find(|(u, k)| u != k);
        assert!(user.len() == kernel.len() && differ.is_none(), "{} and {} pass; {differ:?}", user.len(), kernel.len());
        assert!(!user.is_empty(), "nothing of {} frames passes: nothing was compared", frames.len());
        user.len()
    }

    #[test]
    fn the_kernels_program_applies_the_same_rule() {
        if !testing::root() {
            return;
        }
        let bulk = sim::beside::download("198.51.100.77:40000".parse().expect("an address"), 0, 2 << 20);
        let simulated: Vec<Vec<u8>> =
            trials().flat_map(|(_, t)| t.edge).chain(bulk).map(|(_, f)| f).filter(|f| f.len() < MOST_FRAME).collect();
        let passed = compare(&simulated);
        assert!(passed < simulated.len(), "bulk data passed: {passed} of {}", simulated.len());
    }

    #[test]
    fn it_does_so_with_fast_open_and_with_long_flights() {
        if !testing::root() {
            return;
        }
        let handshakes =
            [fast_open(40_000, true), fast_open(40_001, false), with_flight(40_002, 130_000), with_flight(40_003, 400_000)];
        compare(&handshakes.concat());
    }

    /// A reader that comes late finds a whole connection, and the SYN of another by the same port, in two buffers.
    #[test]
    fn a_syn_is_given_where_it_belongs_in_time() {
        if !testing::root() {
            return;
        }
        let mut filter = KernelFilter::load(&Limits::default(), LinkType::Ethernet).expect("the kernel takes it");
        let mut expected = Vec::new();
        for port in [40_000, 40_001, 40_002] {
            for frame in with_flight(port, 2_000) {
                let program = filter.classifier("ingress").expect("it loads");
                program.test_run(TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() }).expect("the kernel runs it");
                expected.push(frame);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let mut given = Vec::new();
        filter.read(&mut |seen| given.push(seen.frame.bytes.to_vec()));
        let differs = given.iter().zip(&expected).position(|(given, sent)| !sent.starts_with(given));
        assert_eq!((given.len(), differs), (expected.len(), None));
    }

    /// What leaves by an interface is the edge's own where it has an address of this host; on the way to a server behind it, it is not.
    #[test]
    fn whose_connection_leaves_is_told_by_its_address() {
        if !testing::root() {
            return;
        }
        // Loopback is a case of its own: another interface, of a network that nobody else sees.
        let passing = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("we are root");
            let veth = ["link", "add", "fil0", "type", "veth", "peer", "name", "fil1"];
            assert!(std::process::Command::new("ip").args(veth).status().expect("ip is there").success());
            let number = nix::net::if_::if_nametoindex("fil0").expect("it was made");
            let mut context = [0; 192]; // struct __sk_buff
            context[40..44].copy_from_slice(&number.to_ne_bytes());
            let mut filter = KernelFilter::load(&Limits::default(), LinkType::Ethernet).expect("the kernel takes it");
            let passing = |filter: &mut KernelFilter, frames: &[Vec<u8>]| {
                for frame in frames {
                    let program = filter.classifier("egress").expect("it loads");
                    let options = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() };
                    program.test_run(options).expect("the kernel runs it");
                }
                let mut passed = 0;
                filter.read(&mut |_| passed += 1);
                passed
            };
            let (ours, others) = (with_flight(40_000, 2_000), with_flight(40_001, 2_000));
            let client = "192.0.2.1".parse().expect("an address");
            filter.own([client].into_iter()).expect("there is room");
            let own = passing(&mut filter, &ours) + passing(&mut filter, &ours[2..]);
            filter.own(["192.0.2.9".parse().expect("an address")].into_iter()).expect("there is room");
            (own, passing(&mut filter, &others), others.len())
        });
        let (own, of_others, sent) = passing.join().expect("it ran");
        assert_eq!((own, of_others), (0, sent));
    }

    #[test]
    fn it_does_so_on_captures_that_nobody_here_made() {
        if !testing::root() {
            return;
        }
        let Some(corpus) = testing::captures(testing::Need::Corpus) else { return };
        // What is within tunnels only user space sees.
        let frames: Vec<Vec<u8>> = frames_below(&corpus).into_iter().filter(|f| !tunnelled(f)).collect();
        let passed = compare(&frames);
        assert!(passed > 1_000, "{passed} of {} packets passed", frames.len());
    }

    /// A server on loopback, its address, and limits for its port; none where the kernel would not let us look.
    fn on_loopback() -> Option<(std::net::TcpListener, std::net::SocketAddr, Limits)> {
        if !testing::root() {
            return None;
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let server = listener.local_addr().expect("it is bound");
        Some((listener, server, Limits { ports: vec![server.port()], ..Limits::default() }))
    }

    #[test]
    fn at_an_interface_it_passes_the_beginning_of_a_connection_and_nothing_else() {
        let Some((listener, server, limits)) = on_loopback() else { return };
        let mut filter = KernelFilter::load(&limits, LinkType::Ethernet).expect("the kernel takes it");
        filter.attach("lo").expect("loopback takes it");
        assert!(filter.attached("lo") && filter.attached("lo"));
        let served = std::thread::spawn(move || {
            let (mut server, _) = listener.accept().expect("a client comes");
            std::io::copy(&mut server, &mut std::io::sink()).expect("the client ends it")
        });
        let mut client = std::net::TcpStream::connect(server).expect("the server listens");
        std::io::Write::write_all(&mut client, &vec![0x16; 4 << 20]).expect("the server reads");
        drop(client);
        assert_eq!(served.join().expect("it served"), 4 << 20);
        let (mut syns, mut bytes, mut last) = (0, 0, Instant::MIN);
        filter.read(&mut |seen| {
            syns += u32::from(seen.syn());
            bytes += seen.frame.bytes.len();
            last = seen.frame.at;
        });
        let counted = filter.counters().expect("the maps are ours");
        // Loopback shows each packet leaving and coming; it counts only as it comes.
        assert_eq!((syns, counted.connections, counted.late), (2, 1, 0), "{counted:?}");
        assert!(last > Instant::from_nanos(0) && bytes > 64 << 10 && bytes < 512 << 10, "{bytes} bytes passed");
        filter.detach("lo");
        assert!(!filter.attached("lo"));
    }

    /// On loopback a connection begins and ends while somebody reads: what it began with must still come first.
    #[test]
    fn a_connection_is_given_in_order_while_others_begin() {
        let Some((listener, server, limits)) = on_loopback() else { return };
        let mut filter = KernelFilter::load(&limits, LinkType::Ethernet).expect("the kernel takes it");
        filter.attach("lo").expect("loopback takes it");
        std::thread::spawn(move || listener.incoming().flatten().for_each(drop));
        let storm = std::thread::spawn(move || (0..3_000).for_each(|_| drop(std::net::TcpStream::connect(server))));
        let (mut begun, mut packets, mut headless) = (std::collections::HashSet::new(), 0, 0);
        let mut over = false;
        while !over {
            over = storm.is_finished(); // and then once more
            filter.read(&mut |seen| {
                let Ok(Transport::Tcp(segment)) = decode(seen.frame.link, seen.frame.bytes) else { return };
                let client = if segment.destination() == server { segment.source() } else { segment.destination() };
                packets += 1;
                if seen.syn() {
                    begun.insert(client);
                } else {
                    headless += u32::from(!begun.contains(&client));
                }
            });
        }
        assert!(begun.len() > 1_000, "{} connections", begun.len());
        assert_eq!(headless, 0, "of {packets} packets so many came before their connection's SYN");
    }

    #[test]
    fn reads_and_writes_of_a_server_are_told_with_their_thread() {
        use std::io::{Read, Write};
        let Some((listener, server, limits)) = on_loopback() else { return };
        let mut events = capture::sockets::SocketEvents::attach(&limits).expect("the kernel takes it");
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client comes");
            // The kernel adds up a thread's time when it leaves its CPU: one that finds all there at once has none yet.
            std::thread::sleep(std::time::Duration::from_millis(2));
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).expect("the client speaks");
            stream.write_all(&hello).expect("the client listens");
            nix::unistd::gettid().as_raw().unsigned_abs()
        });
        let mut client = std::net::TcpStream::connect(server).expect("the server listens");
        client.write_all(b"hello").expect("the server reads");
        client.read_exact(&mut [0; 5]).expect("the server answers");
        let thread = served.join().expect("it served");
        let mut told = Vec::new();
        events.read(&mut |event| told.push(event));
        use capture::sockets::EventKind;
        let own = FlowName::of(client.local_addr().expect("it is connected"), server);
        let events: Vec<(EventKind, Option<u32>)> = told.iter().filter(|e| e.flow == own).map(|e| (e.kind, e.thread)).collect();
        assert_eq!(
            events,
            [(EventKind::Opened, None), (EventKind::Read, Some(thread)), (EventKind::Wrote, Some(thread))],
            "{told:?}"
        );
        assert!(told.windows(2).all(|pair| pair[0].at <= pair[1].at) && told.iter().any(|e| e.cpu > Span::ZERO), "{told:?}");
    }
}
