//! What stands between the ends: windows shut, options stripped, resets forged, packets too big, one direction mute.

use etherparse::{Icmpv4Type, PacketHeaders, TransportHeader, icmpv4::DestUnreachableHeader};
use whostalled_sim::habit::{LINUX, WINDOWS};
use whostalled_sim::path::Deed;
use whostalled_sim::plan::{Abort, Aim, Plan, Squeeze};
use whostalled_sim::tls::Version;
use whostalled_sim::{MS, Trial};

use crate::read::{at_client, at_edge, near};
use crate::spoken::bare;

#[test]
fn an_old_connection_answers_syn_and_is_reset() {
    for (habit, again) in [(LINUX, 48.0), (WINDOWS, 1_000.0)] {
        let plan = Plan { old_connection: true, client: habit, ..bare(Version::Tls13) };
        let client = at_client(&Trial::run(&plan, 3));
        near(&client.when(true, |p| p.syn), &[0.0, again]);
        // Its acknowledgement is none of SYN, and the reset bears the number that it expected (RFC 9293, section 3.10.7.3).
        let (_, _, challenge) = client.0.iter().find(|(_, c, _)| !c).expect("it is answered");
        let syn = &client.0[0].2;
        assert!(!challenge.syn && challenge.ack != Some(syn.seq.wrapping_add(1)));
        let (at, _, reset) = client.0.iter().find(|(.., p)| p.rst).expect("it is reset");
        near(&[*at], &[40.0]);
        assert_eq!((Some(reset.seq), reset.ack), (challenge.ack, None));
        near(&client.when(false, |p| p.syn), &[again + 40.0]);
        assert!(client.stream(true).starts_with(&[22, 3]));
    }
}

#[test]
fn a_syn_proxy_answers_with_no_window_until_the_edge_has_answered() {
    let plan = Plan { squeeze: Some(Squeeze::SynProxy(200 * MS)), ..bare(Version::Tls13) };
    let trial = Trial::run(&plan, 3);
    let (client, edge) = (at_client(&trial), at_edge(&trial));
    let answers: Vec<(f64, bool, u16)> =
        client.0.iter().filter(|(_, c, _)| !c).map(|(at, _, p)| (*at, p.syn, p.window)).take(2).collect();
    near(&[answers[0].0, answers[1].0], &[40.0, 280.0]);
    assert_eq!((answers[0].1, answers[0].2, answers[1].1), (true, 0, false));
    assert!(answers[1].2 > 0);
    near(&[client.said(true, &[22, 3])], &[280.0]);
    // The edge hears of it late, and the proxy answers at once for the client.
    near(&edge.when(true, |p| p.syn), &[0.0]);
    near(&edge.when(true, |p| !p.syn && p.payload.is_empty()).into_iter().take(1).collect::<Vec<f64>>(), &[0.5]);
    near(&[edge.said(true, &[22, 3])], &[40.0]);
    // Each capture's numbers fit together, and the server's differ between them.
    for client_says in [true, false] {
        assert_eq!(client.stream(client_says), edge.stream(client_says));
        assert!(client.stream(client_says).len() > 500);
    }
    let isn = |c: &crate::read::Conversation| c.0.iter().find(|(_, c, p)| !c && p.syn).map(|(.., p)| p.seq);
    assert_ne!(isn(&client), isn(&edge));
}

#[test]
fn without_its_scale_a_window_is_a_few_bytes() {
    let mut plan = Plan { squeeze: Some(Squeeze::Unscaled), buffers: [None, Some(64_000)], ..bare(Version::Tls12) };
    plan.manner.client_certificate = true;
    let trial = Trial::run(&plan, 3);
    let (client, edge) = (at_client(&trial), at_edge(&trial));
    let offered = |c: &crate::read::Conversation| c.0.iter().find(|(_, c, p)| !c && p.syn).map(|(.., p)| p.scaled);
    assert_eq!((offered(&client), offered(&edge)), (Some(false), Some(true)));
    // ClientHello goes by the window of SYN-ACK, which is never scaled; behind it nothing is larger than the window, and what is no full
    // segment waits for the timer, a round trip and 200 ms (RFC 9293, section 3.8.6.2.1), until the rest fits.
    let pieces: Vec<(f64, usize)> = client.data(true).map(|(at, p)| (at, p.payload.len())).skip(1).collect();
    assert!(pieces.iter().all(|(_, len)| *len <= 500), "{pieces:?}");
    near(&pieces.iter().take(3).map(|(at, _)| *at).collect::<Vec<f64>>(), &[320.0, 600.0, 640.0]);
    assert_eq!(client.stream(true), edge.stream(true));
}

#[test]
fn a_near_middlebox_resets_with_a_neighbours_ttl() {
    for (abort, ttl) in [(Abort::NearMiddlebox, 63), (Abort::Middlebox, 255 - 11)] {
        let trial = Trial::run(&Plan { abort: Some(abort), ..bare(Version::Tls13) }, 3);
        for (conversation, from_client) in [(at_client(&trial), false), (at_edge(&trial), true)] {
            let resets: Vec<u8> =
                conversation.0.iter().filter(|(_, c, p)| *c == from_client && p.rst).map(|(.., p)| p.ttl).collect();
            assert_eq!(resets, [ttl]);
        }
    }
}

#[test]
fn one_name_or_one_piece_never_arrives_and_all_else_does() {
    let mut plan = bare(Version::Tls13);
    plan.manner.name = "blocked.test".into();
    plan.out.push((Aim::Hello, Deed::Drop(99)));
    (plan.before, plan.before_name, plan.again) = (2, Some("other.test"), 1);
    let trial = Trial::run(&plan, 3);
    let holds = |frames: &crate::read::Frames, name: &[u8]| {
        crate::read::tcp(frames).iter().filter(|p| p.payload.windows(name.len()).any(|w| w == name)).count()
    };
    assert_eq!((holds(&trial.client, b"other.test"), holds(&trial.edge, b"other.test")), (2, 2));
    assert!(holds(&trial.client, b"blocked.test") > 6);
    assert_eq!(holds(&trial.edge, b"blocked.test"), 0);
    assert!(!at_edge(&trial).when(true, |p| !p.syn && p.payload.is_empty()).is_empty(), "the connection stood");

    let mut plan = bare(Version::Tls13);
    plan.manner.hello_len = 1_790;
    plan.out.push((Aim::Hello, Deed::Drop(99)));
    let trial = Trial::run(&plan, 3);
    let sizes: Vec<usize> = at_edge(&trial).data(true).map(|(_, p)| p.payload.len()).collect();
    assert!(!sizes.is_empty() && sizes.iter().all(|len| *len == 1_448), "{sizes:?}");
    assert!(at_client(&trial).data(true).filter(|(_, p)| p.payload.len() < 1_448).count() > 4);
}

#[test]
fn a_jumbo_packet_leaves_whole_and_never_arrives() {
    let mut plan = Plan { jumbo: Some(8_960), ..bare(Version::Tls13) };
    plan.back.push((Aim::LongerThan(1_500), Deed::Drop(99)));
    let trial = Trial::run(&plan, 3);
    let edge = at_edge(&trial);
    assert_eq!(edge.0[0].2.mss, Some(8_960));
    let sizes: Vec<usize> = edge.data(false).map(|(_, p)| p.payload.len()).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|len| *len > 1_500 && *len == sizes[0]), "{sizes:?}");
    assert_eq!(at_client(&trial).data(false).count(), 0);
}

#[test]
fn a_router_says_what_is_too_big_and_the_edge_goes_on() {
    let mut plan = Plan { too_big: Some(1_400), ..bare(Version::Tls13) };
    plan.back.push((Aim::LongerThan(1_400), Deed::Drop(99)));
    let trial = Trial::run(&plan, 3);
    let edge = at_edge(&trial);
    let first = edge.data(false).next().expect("it answers").1.clone();
    let told: Vec<(i64, u16, Vec<u8>)> = trial
        .edge
        .iter()
        .filter_map(|(at, frame)| {
            let headers = PacketHeaders::from_ethernet_slice(frame).expect("it is a frame");
            let Some(TransportHeader::Icmpv4(icmp)) = headers.transport else { return None };
            let Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded { next_hop_mtu }) = icmp.icmp_type
            else {
                panic!("another ICMP");
            };
            Some((*at, next_hop_mtu, headers.payload.slice().to_vec()))
        })
        .collect();
    assert!(told.len() >= 2 && told.iter().all(|(_, mtu, _)| *mtu == 1_400));
    assert_eq!(told[0].0 - first.at, 20 * MS, "half of the way there, and back");
    // It quotes the header and the first eight bytes: ports and number.
    assert_eq!(told[0].2.len(), 28);
    assert_eq!(told[0].2[24..28], first.seq.to_be_bytes());
    let again = edge.data(false).filter(|(_, p)| p.seq == first.seq && p.payload.len() == first.payload.len()).count();
    assert!(again > 2, "it goes on with the same size");
}

#[test]
fn a_mute_direction_carries_nothing_for_a_while() {
    let mut plan = bare(Version::Tls13);
    plan.out.push((Aim::BehindFlight, Deed::Mute(700 * MS)));
    let trial = Trial::run(&plan, 3);
    let (client, edge) = (at_client(&trial), at_edge(&trial));
    // The flight comes at 80 ms; what leaves from then on until 780 ms never comes.
    assert!(client.when(true, |_| true).iter().filter(|at| (79.0..780.0).contains(*at)).count() > 3);
    let came = edge.when(true, |_| true);
    assert!(came.iter().all(|at| *at < 41.0 || *at >= 780.0), "{came:?}");
    assert!(edge.stream(true).len() > 600, "it ends well");
    assert!(
        edge.data(false).filter(|(at, _)| *at < 780.0).count() > edge.stream(false).len() / 1_448,
        "the edge repeats its flight"
    );
}

#[test]
fn a_paced_flight_goes_on_segment_by_segment() {
    let mut plan = Plan { paced: true, ..bare(Version::Tls13) };
    plan.manner.certificate_len = 24_000;
    let paced = at_edge(&Trial::run(&plan, 3)).when(false, |p| p.payload.len() > 1_000);
    // Linux paces nothing of the first ten; the window opens a round trip later, and the rest leaves one by one.
    assert!(paced[..10].iter().all(|at| (at - 40.0).abs() < 0.1), "{paced:?}");
    let rest = &paced[10..];
    assert!(rest.len() >= 6 && rest[0] > 79.0 && rest.windows(2).all(|two| two[1] - two[0] > 0.4), "{paced:?}");
    plan.paced = false;
    let burst = at_edge(&Trial::run(&plan, 3)).when(false, |p| p.payload.len() > 1_000);
    // The last one is the answer to the request, a round trip behind.
    assert!(burst[10..burst.len() - 1].iter().all(|at| (at - 80.0).abs() < 0.1), "{burst:?}");
}

#[test]
fn a_small_receive_window_is_never_overrun() {
    let mut plan = Plan { buffers: [Some(12_288), None], ..bare(Version::Tls13) };
    plan.manner.certificate_len = 24_000;
    let edge = at_edge(&Trial::run(&plan, 3));
    let mut acknowledged = 0;
    let mut most = 0;
    let isn = edge.0.iter().find(|(_, c, p)| !c && p.syn).map_or(0, |(.., p)| p.seq);
    for (_, client, p) in &edge.0 {
        match client {
            true => acknowledged = p.ack.map_or(acknowledged, |a| a.wrapping_sub(isn)),
            false => most = most.max((p.seq.wrapping_sub(isn) + p.payload.len() as u32).saturating_sub(acknowledged)),
        }
    }
    assert!((10_000..=12_288).contains(&most), "{most}");
}

#[test]
fn records_written_one_by_one_wait_by_minshalls_rule() {
    let mut plan = Plan { edge_nagle: true, ..bare(Version::Tls13) };
    (plan.manner.split_records, plan.manner.early_ticket) = (true, true);
    let held = at_edge(&Trial::run(&plan, 3));
    let left: Vec<f64> = held.data(false).map(|(at, _)| at).collect();
    // The first small one leaves, the next small one when that is acknowledged.
    assert!((left[0] - 40.0).abs() < 0.1 && left.iter().any(|at| (at - 80.0).abs() < 1.0), "{left:?}");
    plan.edge_nagle = false;
    let free = at_edge(&Trial::run(&plan, 3));
    let small = free.data(false).filter(|(at, _)| (at - 40.0).abs() < 0.1).count();
    assert!(small >= 6, "each record by itself, and all at once: {small}");
    assert_eq!(held.stream(false).len(), free.stream(false).len());
}
