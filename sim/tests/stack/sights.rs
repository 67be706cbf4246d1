//! How captures see: copies, clocks, order, one file; and the same connection under other names.

use whostalled_sim::plan::Plan;
use whostalled_sim::tap::Copies;
use whostalled_sim::tls::Version;
use whostalled_sim::{MS, Trial};

use crate::read::{Frames, Seen, at_client, at_edge, near, tcp};
use crate::spoken::bare;

fn times(frames: &Frames) -> Vec<i64> {
    frames.iter().map(|(at, _)| *at).collect()
}

#[test]
fn each_packet_is_seen_as_often_as_the_capture_stands_in_its_way() {
    let plain = tcp(&Trial::run(&bare(Version::Tls13), 3).edge);
    let run = |copies: Copies| {
        let mut plan = bare(Version::Tls13);
        plan.edge_tap.copies = copies;
        tcp(&Trial::run(&plan, 3).edge)
    };
    let same = |a: &Seen, b: &Seen| (a.seq, a.ip_id, a.stamp, &a.payload) == (b.seq, b.ip_id, b.stamp, &b.payload);
    let thrice = run(Copies::Any(3));
    assert_eq!(thrice.len(), 3 * plain.len());
    for p in &plain {
        let sights: Vec<&Seen> =
            thrice.iter().filter(|t| same(t, p) && t.ack == p.ack && t.from == p.from && t.window == p.window).collect();
        assert!(sights.len() >= 3 && sights[0].ttl == p.ttl && sights[2].at - sights[0].at <= MS / 50, "{p:?}");
    }
    let mirrored = run(Copies::Mirror);
    assert_eq!(mirrored.len(), 2 * plain.len());
    assert!(plain.iter().all(|p| mirrored.iter().any(|m| same(m, p) && m.ttl == p.ttl - 1)));
    let inside = "172.17.0.2:8443".parse().expect("an address");
    let translated = run(Copies::Translated(inside));
    assert_eq!(translated.len(), 2 * plain.len());
    // Inwards the outer name comes first, outwards the inner one.
    let order = |from_client: bool| {
        let of = translated.iter().filter(move |p| (p.from.port() == 443 || p.from == inside) != from_client && p.syn);
        of.map(|p| p.from == inside || p.to == inside).collect::<Vec<bool>>()
    };
    assert_eq!((order(true), order(false)), (vec![false, true], vec![true, false]));
}

#[test]
fn a_coarse_clock_shows_whole_ticks() {
    let mut plan = bare(Version::Tls13);
    plan.edge_tap.tick = 15_625_000;
    let (fine, coarse) = (Trial::run(&bare(Version::Tls13), 3), Trial::run(&plan, 3));
    assert_eq!(fine.client, coarse.client);
    for (exact, shown) in times(&fine.edge).into_iter().zip(times(&coarse.edge)) {
        assert!(shown % 15_625_000 == 0 && (0..15_625_000).contains(&(exact - shown)));
    }
}

#[test]
fn one_stamp_is_garbage_and_neighbours_change_places() {
    let fine = Trial::run(&bare(Version::Tls13), 3);
    let mut plan = bare(Version::Tls13);
    plan.edge_tap.garbage = Some(0);
    let garbage = Trial::run(&plan, 3);
    let wrong: Vec<usize> = (0..fine.edge.len()).filter(|i| fine.edge[*i] != garbage.edge[*i]).collect();
    assert_eq!(wrong, [fine.edge.len() / 2]);
    assert_eq!(garbage.edge[wrong[0]], (0, fine.edge[wrong[0]].1.clone()));
    let mut plan = bare(Version::Tls13);
    plan.client_tap.stirred = true;
    let mut stirred = Trial::run(&plan, 3).client;
    assert_ne!(stirred, fine.client);
    stirred.sort_by_key(|(at, _)| *at);
    assert_eq!(times(&stirred), times(&fine.client), "right times, in another order");
}

#[test]
fn one_file_holds_both_captures_in_order_of_their_stamps() {
    let mut plan = Plan { one_file: true, ..bare(Version::Tls13) };
    plan.edge_tap.offset = 5 * MS;
    let trial = Trial::run(&plan, 3);
    let both = trial.one_file.as_ref().expect("it is wanted");
    assert_eq!(both.len(), trial.client.len() + trial.edge.len());
    assert!(times(both).is_sorted());
    let syns: Vec<i64> = tcp(both).iter().filter(|p| p.syn && p.ack.is_none()).map(|p| p.at).collect();
    assert_eq!(syns[1] - syns[0], 25 * MS);
    assert!(Trial::run(&bare(Version::Tls13), 3).one_file.is_none());
}

#[test]
fn a_translator_between_families_changes_addresses_and_nothing_else() {
    let trial = Trial::run(&Plan { nat64: true, ipv6: true, ..bare(Version::Tls13) }, 3);
    assert!(trial.at_client.1.to_string().starts_with("[64:ff9b::") && trial.at_edge.1.is_ipv4());
    let (client, edge) = (at_client(&trial), at_edge(&trial));
    assert_eq!(client.0.len(), edge.0.len());
    for from_client in [true, false] {
        assert_eq!(client.stream(from_client), edge.stream(from_client));
        let seqs = |c: &crate::read::Conversation| {
            let mut seqs: Vec<u32> = c.0.iter().filter(|(_, f, _)| *f == from_client).map(|(.., p)| p.seq).collect();
            seqs.sort_unstable();
            seqs
        };
        assert_eq!(seqs(&client), seqs(&edge));
    }
}

#[test]
fn rewritten_numbers_fit_together_at_each_end() {
    let trial = Trial::run(&Plan { renumbered: true, ..bare(Version::Tls13) }, 3);
    let (client, edge) = (at_client(&trial), at_edge(&trial));
    for from_client in [true, false] {
        assert_eq!(client.stream(from_client), edge.stream(from_client));
        let isn = |c: &crate::read::Conversation| c.0.iter().find(|(_, f, p)| *f == from_client && p.syn).map(|(.., p)| p.seq);
        assert_ne!(isn(&client), isn(&edge));
    }
    // What is acknowledged first is the SYN of that capture.
    for conversation in [&client, &edge] {
        let syn = conversation.0[0].2.seq;
        assert_eq!(conversation.0[1].2.ack, Some(syn.wrapping_add(1)));
    }
}

#[test]
fn a_proxy_says_who_the_client_is_before_the_first_byte() {
    let trial = Trial::run(&Plan { proxy: true, proxy_header: true, ..bare(Version::Tls13) }, 3);
    let (client, edge) = (at_client(&trial), at_edge(&trial));
    let header = format!("PROXY TCP4 {} {} {} 443\r\n", trial.at_client.0.ip(), trial.at_client.1.ip(), trial.at_client.0.port());
    assert_eq!(edge.stream(true), [header.as_bytes(), &client.stream(true)].concat());
    assert_eq!(edge.stream(false), client.stream(false));
    near(&[client.said(true, &[22, 3])], &[40.0]);
}
