//! `down`: nothing but its own run, in so much time and no more.

mod common;

use std::cell::RefCell;

use common::{Process, asked, settings, up};
use fake::model::{Model, Tags, Trouble};
use provider::{Ask, Caps, Line, Request, Wrong};
use vantage_ec2::tags::{EXPIRES, MANAGED_BY, RUN, US};

const BEGIN: u64 = 1_795_795_200;

fn down(run: &str) -> Request {
    Request::new(Ask::Down { run: run.to_owned(), order: None }, false, settings(&serde_json::json!({})))
}

fn of_run(model: &RefCell<Model>, run: &str) -> String {
    let tags = [(MANAGED_BY, US), (RUN, run), (EXPIRES, "1795802400")];
    let tags: Tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    model.borrow_mut().strange("eu-central-1", tags)
}

/// What EC2 takes for a wildcard, and what it takes for an escape.
#[test]
fn a_run_is_its_name_and_no_pattern() {
    for (run, other) in [("*", "theirs"), ("run-?", "run-1"), ("team*", "team-b"), (r"a\*", "a*"), (r"a\b", "ab")] {
        let model = RefCell::new(Model::new(BEGIN));
        let (own, others) = (of_run(&model, run), of_run(&model, other));
        let lines = asked(&Process::new(&model, None, None), down(run));
        assert_eq!(lines.last(), Some(&Line::Done), "{lines:?}");
        let model = model.borrow();
        assert!(model.instances[&own].ended.is_some(), "{run} is down");
        assert_eq!(model.instances[&others].ended, None, "`down {run}` leaves {other}");
    }
}

/// Some that play EC2 filter nothing: what is not of the run by its own tags is not touched.
#[test]
fn what_a_list_shows_is_looked_at_before_it_is_ended() {
    let model = RefCell::new(Model::new(BEGIN));
    let (own, others) = (of_run(&model, "team"), of_run(&model, "other"));
    let strange = model.borrow_mut().strange("eu-central-1", Tags::new());
    model.borrow_mut().filters = false;
    let lines = asked(&Process::new(&model, None, None), down("team"));
    assert_eq!(lines.last(), Some(&Line::Done), "{lines:?}");
    let ended = |id: &String| model.borrow().instances[id].ended.is_some();
    assert_eq!((ended(&own), ended(&others), ended(&strange)), (true, false, false));
}

#[test]
fn it_gives_up_after_five_minutes_though_nobody_answers() {
    let model = RefCell::new(Model::new(BEGIN));
    let caps = Caps { instances: 4, hours: 3.0, usd: 1.0 };
    let request = up("team", 3, BEGIN + 7_200, caps, settings(&serde_json::json!({})));
    assert_eq!(asked(&Process::new(&model, None, None), request).last(), Some(&Line::Done));
    let began = model.borrow().now();
    model.borrow_mut().trouble = Box::new(|_, _, _| Trouble::Lost);
    let lines = asked(&Process::new(&model, None, None), down("team"));
    let Some(Line::Failed(Wrong { left, .. })) = lines.last() else { panic!("{lines:?}") };
    assert!(!left.is_empty());
    // What is being asked when the time is over is heard to its end: 20 s.
    let took = model.borrow().now() - began;
    assert!((300..=325).contains(&took), "{took} s");
}

/// An order that `--vantage ec2:REGION` put into another region is looked for in that of the settings.
#[test]
fn where_nothing_was_found_is_said() {
    let model = RefCell::new(Model::new(BEGIN));
    let said =
        |lines: &[Line]| lines.iter().any(|l| matches!(l, Line::Progress { what, .. } if what.contains("nothing of team")));
    let lines = asked(&Process::new(&model, None, None), down("team"));
    let words = format!("{lines:?}");
    assert!(lines.last() == Some(&Line::Done) && said(&lines), "{lines:?}");
    assert!(words.contains("eu-central-1, us-east-1") && words.contains("--set region="), "{lines:?}");
    of_run(&model, "team");
    for _ in 0..2 {
        // The second time it is still shown, as what has ended is for an hour.
        let lines = asked(&Process::new(&model, None, None), down("team"));
        assert!(lines.last() == Some(&Line::Done) && !said(&lines), "{lines:?}");
    }
}

#[test]
fn what_is_to_be_done_is_a_whole_command() {
    let model = RefCell::new(Model::new(BEGIN));
    of_run(&model, "my team");
    model.borrow_mut().trouble =
        Box::new(|action, _, _| if action == "TerminateInstances" { Trouble::Refused("ExpiredToken") } else { Trouble::None });
    let lines = asked(&Process::new(&model, None, None), down("my team"));
    let Some(Line::Failed(Wrong { todo: Some(todo), .. })) = lines.last() else { panic!("{lines:?}") };
    let command = "`whostalled vantage down 'my team' --provider ec2 --set region=eu-central-1 --set 'regions=[\"eu-central-1\", \"us-east-1\"]'`";
    assert!(todo.contains(command), "{todo}");
}
