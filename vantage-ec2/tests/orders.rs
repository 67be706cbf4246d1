//! Orders of one run beside each other: each is new, and takes nothing of another down.

mod common;

use std::cell::RefCell;

use common::{Process, asked, settings, up};
use fake::model::{Model, Trouble};
use provider::{Ask, Caps, Fault, Line, Request, Wrong};
use vantage_ec2::tags::{NAME, ORDER, RUN};

const BEGIN: u64 = 1_795_795_200;

/// An order of the run `team` for one vantage of this name.
fn order(name: &str, seconds: u64) -> Request {
    let caps = Caps { instances: 4, hours: 3.0, usd: 1.0 };
    let mut request = up("team", 1, BEGIN + seconds, caps, settings(&serde_json::json!({"regions": []})));
    if let Ask::Up(order) = &mut request.ask {
        (order.vantages[0].name, order.vantages[0].agent) = (name.to_owned(), Some(name.to_owned()));
    }
    request
}

/// Names of instances of the run that have not been told to end.
fn live(model: &RefCell<Model>) -> Vec<String> {
    let model = model.borrow();
    let live = model.instances.values().filter(|i| i.ended.is_none() && i.tags[RUN] == "team");
    live.map(|i| i.tags[NAME].clone()).collect()
}

fn begun(name: &str) -> RefCell<Model> {
    let model = RefCell::new(Model::new(BEGIN));
    let lines = asked(&Process::new(&model, None, None), order(name, 7_200));
    assert_eq!(lines.last(), Some(&Line::Done), "{lines:?}");
    model
}

#[test]
fn a_run_is_added_to() {
    let model = begun("a");
    // Later than the first, so its end is another: EC2 would refuse the first one's client token.
    let lines = asked(&Process::new(&model, None, None), order("b", 7_260));
    assert_eq!(lines.last(), Some(&Line::Done), "{lines:?}");
    assert_eq!(live(&model), ["a", "b"]);
}

#[test]
fn a_name_can_be_had_again_once_it_is_down() {
    let model = begun("a");
    let down = Request::new(Ask::Down { run: "team".into(), order: None }, false, settings(&serde_json::json!({"regions": []})));
    assert_eq!(asked(&Process::new(&model, None, None), down).last(), Some(&Line::Done));
    assert_eq!(live(&model), [""; 0]);
    // The very same order, too: EC2 would hand out the instance that has ended.
    let lines = asked(&Process::new(&model, None, None), order("a", 7_200));
    assert_eq!(lines.last(), Some(&Line::Done), "{lines:?}");
    assert_eq!(live(&model), ["a"]);
}

#[test]
fn an_order_that_fails_takes_down_its_own_alone() {
    let model = begun("a");
    model.borrow_mut().trouble =
        Box::new(
            |action, _, _| if action == "RunInstances" { Trouble::Refused("InvalidAMIID.Malformed") } else { Trouble::None },
        );
    let lines = asked(&Process::new(&model, None, None), order("b", 7_260));
    assert!(matches!(lines.last(), Some(Line::Failed(Wrong { fault: Fault::Request, .. }))), "{lines:?}");
    assert_eq!(live(&model), ["a"]);
    // And one that is told to stop, wherever that is.
    let mut stopped = 0;
    for at in 0..40 {
        let model = begun("a");
        let lines = asked(&Process::new(&model, None, Some(at)), order("b", 7_260));
        if lines.last() == Some(&Line::Done) {
            assert_eq!(live(&model), ["a", "b"]);
            continue;
        }
        stopped += 1;
        assert_eq!(live(&model), ["a"], "stopped at call {at}: {lines:?}");
    }
    assert!((4..40).contains(&stopped), "{stopped}");
}

#[test]
fn an_order_is_taken_down_alone_or_with_its_run() {
    let model = begun("a");
    assert_eq!(asked(&Process::new(&model, None, None), order("b", 7_200)).last(), Some(&Line::Done));
    let order_of_b = model.borrow().instances.values().find(|i| i.tags[NAME] == "b").map(|i| i.tags[ORDER].clone());
    for (order, left) in [(order_of_b, vec!["a"]), (None, vec![])] {
        let down = Ask::Down { run: "team".into(), order };
        let lines =
            asked(&Process::new(&model, None, None), Request::new(down, false, settings(&serde_json::json!({"regions": []}))));
        assert_eq!((lines.last(), live(&model)), (Some(&Line::Done), left.into_iter().map(str::to_owned).collect()), "{lines:?}");
    }
}
