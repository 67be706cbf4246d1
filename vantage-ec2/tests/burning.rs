//! Burning launch credits by the model's clock, whose 37.5 minutes pass at once: what is shown, what it costs, and how it ends early. What the
//! instance does meanwhile is in `src/user_data.rs`, for a second of this host's time. Nothing has burned real credits.

mod common;

use std::cell::RefCell;

use common::{Process, asked, heard, settings, up};
use fake::model::Model;
use provider::{Ask, Caps, Fault, Line, Request, Wrong};
use vantage_ec2::tags::RUN;

const BEGIN: u64 = 1_795_795_200;

fn order(seconds: u64, more: &serde_json::Value) -> Request {
    let caps = Caps { instances: 4, hours: 3.0, usd: 1.0 };
    up("run-b", 2, BEGIN + seconds, caps, settings(more))
}

fn burn() -> Request {
    order(7_200, &serde_json::json!({"burn": true}))
}

/// Minutes burned, of how many, and the words.
fn burned(line: &Line) -> Option<(f64, f64, &str)> {
    match line {
        Line::Progress { what, done: Some(done), of: Some(of) } if what.starts_with("burning") => Some((*done, *of, what)),
        _ => None,
    }
}

#[test]
fn it_is_shown_each_minute_how_far_it_is_and_what_it_costs() {
    let model = RefCell::new(Model::new(BEGIN));
    let lines = asked(&Process::new(&model, None, None), burn());
    assert_eq!(lines.last(), Some(&Line::Done), "{lines:?}");
    let shown: Vec<_> = lines.iter().filter_map(burned).collect();
    // Each minute takes a second more, for the look at the instances.
    assert!((36..=39).contains(&shown.len()), "{}: {shown:?}", shown.len());
    assert!(shown.windows(2).all(|two| two[0].0 < two[1].0), "it goes on: {shown:?}");
    let (first, last) = (shown[0], shown[shown.len() - 1]);
    assert_eq!((first.0, first.1), (0.0, 37.5));
    assert_eq!((last.0, last.1), (37.5, 37.5));
    // Two of them at $0.0597 an hour (price.rs), for 37.5 minutes.
    assert!(
        first.2.ends_with("($0.000 so far of $0.075)") && last.2.ends_with("($0.075 so far of $0.075)"),
        "{first:?} {last:?}"
    );
    let at = |wanted: fn(&Line) -> bool| lines.iter().position(wanted).expect("there is one");
    let last_burned = lines.iter().rposition(|line| burned(line).is_some()).expect("there is one");
    assert!(at(|line| matches!(line, Line::Price { .. })) < at(|line| burned(line).is_some()), "the price comes first");
    assert!(last_burned < at(|line| matches!(line, Line::Vantage(_))), "nothing is of use before it has burned");
}

#[test]
fn it_ends_when_told_to_stop_and_nothing_is_left() {
    let model = RefCell::new(Model::new(BEGIN));
    let lines = asked(&Process::stopped_then(&model, BEGIN + 600), burn());
    let Some(Line::Failed(Wrong { fault, left, .. })) = lines.last() else { panic!("{lines:?}") };
    assert_eq!((*fault, left.len()), (Fault::Interrupted, 0));
    let furthest = lines.iter().filter_map(burned).map(|(done, ..)| done).fold(0.0, f64::max);
    assert!((8.0..10.0).contains(&furthest), "{furthest} minutes");
    let model = model.borrow();
    assert!(model.there(RUN, "run-b").is_empty() && model.now() < BEGIN + 900, "{:?}", model.there(RUN, "run-b"));
}

#[test]
fn it_is_given_up_where_an_instance_ends_meanwhile() {
    let model = RefCell::new(Model::new(BEGIN));
    let process = Process::new(&model, None, None);
    let lines = heard(&process, burn(), &mut |line| {
        if burned(line).is_some_and(|(done, ..)| done > 5.0) {
            let first = model.borrow().instances.keys().next().cloned().expect("it was launched");
            model.borrow_mut().shut_down(&first);
        }
    });
    let Some(Line::Failed(wrong)) = lines.last() else { panic!("{lines:?}") };
    assert!(wrong.fault == Fault::Cloud && wrong.what.contains("while it burns its credits"), "{wrong}");
    assert!(model.borrow().now() < BEGIN + 900 && model.borrow().there(RUN, "run-b").is_empty());
}

#[test]
fn what_cannot_burn_is_refused_before_it_costs() {
    for (seconds, more, words) in [
        (7_200, serde_json::json!({"burn": true, "type": "t3.medium"}), "no launch credits"),
        (2_400, serde_json::json!({"burn": true}), "ask for 48 min at least"),
    ] {
        let model = RefCell::new(Model::new(BEGIN));
        let lines = asked(&Process::new(&model, None, None), order(seconds, &more));
        let Some(Line::Failed(wrong)) = lines.last() else { panic!("{lines:?}") };
        assert!(wrong.fault == Fault::Request && wrong.what.contains(words), "{more}: {wrong}");
        assert!(model.borrow().instances.is_empty());
    }
}

/// What lists say is what EC2 and tags say, whatever whoever lists has in the settings.
#[test]
fn only_what_is_known_of_credits_is_said() {
    let credits = |lines: &[Line]| -> Vec<serde_json::Value> {
        let of = |line: &Line| if let Line::Vantage(v) = line { v.facts.get("credits").cloned() } else { None };
        lines.iter().filter_map(of).collect()
    };
    for burn in [true, false] {
        let model = RefCell::new(Model::new(BEGIN));
        let up = credits(&asked(&Process::new(&model, None, None), order(7_200, &serde_json::json!({"burn": burn}))));
        assert_eq!((up.len(), &up[0]["specification"]), (2, &"standard".into()), "it was set a moment ago");
        assert_eq!(up[0]["burned_minutes"].as_f64(), burn.then_some(37.5));
        assert_eq!(up[0]["left_by_arithmetic"].as_f64(), burn.then_some(0.0));
        assert_eq!(up[0]["assumed"].as_str().is_some_and(|words| words.contains("100 launches")), burn);
        let more = serde_json::json!({"burn": !burn});
        let list =
            credits(&asked(&Process::new(&model, None, None), Request::new(Ask::List { run: None }, false, settings(&more))));
        let known = serde_json::json!({"at_launch": 60.0, "per_hour": 24.0, "baseline_percent": 20.0});
        let mut told = known.clone();
        told["told_to_burn_minutes"] = 37.5.into();
        assert_eq!(list, [(); 2].map(|()| if burn { told.clone() } else { known.clone() }));
    }
}

#[test]
fn a_price_is_of_its_own_type_and_region() {
    let model = RefCell::new(Model::new(BEGIN));
    asked(&Process::new(&model, None, None), order(7_200, &serde_json::json!({})));
    let more = serde_json::json!({"region": "us-east-1", "regions": ["eu-central-1"]});
    for (more, priced) in [(more, 0), (serde_json::json!({"type": "t3.medium"}), 0), (serde_json::json!({}), 2)] {
        let lines = asked(&Process::new(&model, None, None), Request::new(Ask::List { run: None }, false, settings(&more)));
        let of = |line: &&Line| matches!(line, Line::Vantage(v) if v.usd_per_hour.is_some());
        assert_eq!(lines.iter().filter(of).count(), priced, "{more}: {lines:?}");
    }
}
