use analysis::judging::vocabulary::Kind;

use super::*;

fn endpoints(client: [u8; 4], server: [u8; 4]) -> Endpoints {
    Endpoints { client: SocketAddr::from((client, 40_000)), server: SocketAddr::from((server, 443)) }
}

fn culprit(owner: Owner) -> Culprit {
    Culprit { owner, kind: None::<Kind>, excess: Span::from_millis(30), error: Span::ZERO }
}

/// Who is named of those who look guilty on one leg of a proxy.
fn named(leg: Leg, primary: Owner, second: Option<Owner>) -> Vec<Owner> {
    let excess = Span::from_millis(60);
    let mut judgement = Judgement {
        verdict: Verdict::Culprit { primary: culprit(primary), second: second.map(culprit) },
        excess,
        floor: policy::LEAST_EFFECT,
        parts: vec![],
        candidates: EnumSet::empty(),
        missing: EnumSet::empty(),
    };
    doubt_beyond_proxy(&mut judgement, leg);
    match judgement.verdict {
        Verdict::Culprit { primary, second } => [Some(primary), second].into_iter().flatten().map(|c| c.owner).collect(),
        Verdict::Inconclusive { candidates, missing, .. } => {
            assert!(candidates.contains(primary) && missing == Missing::OtherLeg, "{candidates:?} {missing:?}");
            vec![]
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_proxy_is_the_server_of_one_leg_and_the_client_of_the_other() {
    let (front, back) = (endpoints([10, 0, 0, 1], [10, 0, 0, 9]), endpoints([10, 0, 0, 9], [10, 0, 1, 1]));
    assert_eq!((Leg::of(front, back), Leg::of(back, front)), (Leg::Front, Leg::Back));
    assert_eq!(Leg::of(front, back).turned(), Leg::of(back, front));
    // A proxy with an address to either side.
    let back = endpoints([10, 0, 1, 9], [10, 0, 1, 1]);
    assert_eq!((Leg::of(front, back), Leg::of(back, front)), (Leg::Either, Leg::Either));
}

#[test]
fn what_lies_beyond_a_proxy_is_not_convicted_and_what_does_not_is() {
    use Owner::{Client, Edge, EdgeApp, Path};
    let nobody = Vec::<Owner>::new();
    assert_eq!([named(Leg::Front, Edge, None), named(Leg::Front, EdgeApp, None)], [nobody.clone(), nobody.clone()]);
    assert_eq!(named(Leg::Front, Client, None), [Client]);
    assert_eq!(named(Leg::Back, Client, None), nobody);
    assert_eq!(named(Leg::Back, Edge, None), [Edge]);
    assert_eq!([named(Leg::Either, Client, None), named(Leg::Either, Edge, None)], [nobody.clone(), nobody.clone()]);
    // Of two, whoever is on this side.
    assert_eq!((named(Leg::Back, Edge, Some(Client)), named(Leg::Front, Path, Some(Edge))), (vec![Edge], vec![Path]));
    assert_eq!(named(Leg::Back, Client, Some(Edge)), [Edge]);
    assert_eq!(named(Leg::Either, Client, Some(Edge)), nobody);
}
