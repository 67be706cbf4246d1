//! Random schedules: an order is brought up, used, taken down and reaped, while any call may fail in any way and any process may be killed at
//! any call. When its time to live is over nothing of it is there, and it has cost no more than was printed before.
//!
//! `SCHEDULES=100000 SEED=7` draws more. What no schedule does: EC2 that fails for ever. Calls fail until half an hour behind the end of the
//! vantages; `reaped_within_minutes` (60) is the time in which a reaper that comes every five minutes must have ended everything after that.

mod common;

use std::cell::RefCell;

use common::{Process, asked, heard, settings, up};
use fake::model::{Character, Model, Tags, Trouble, Troubles};
use fastrand::Rng;
use provider::{Ask, Caps, Fault, Line, Request, Wrong};
use vantage_ec2::tags::{EXPIRES, KEEP, MANAGED_BY, RUN, US};

const BEGIN: u64 = 1_795_795_200;
const REAPED_WITHIN: u64 = 3_600;
const FAILS_UNTIL: u64 = 1_800;
const REAPER_EVERY: u64 = 300;
const GRACE: u64 = 300;

/// How a schedule ended, to see that all kinds of it were drawn.
#[derive(Default, Debug)]
struct Seen {
    up: u32,
    up_failed: u32,
    burned: u32,
    left_nothing: u32,
    full: u32,
    killed: u32,
    stopped: u32,
    down: u32,
    never_down: u32,
    ended_themselves: u32,
    reaped: u32,
    parts_reaped: u32,
    dearest: f64,
}

struct Schedule<'s> {
    rng: Rng,
    model: RefCell<Model>,
    run: String,
    expires: u64,
    printed: Option<f64>,
    seen: &'s mut Seen,
}

/// Faults of each call, with this chance.
fn troubles(seed: u64, chance: f64) -> Troubles {
    let mut rng = Rng::with_seed(seed);
    Box::new(move |action, _, _| {
        if rng.f64() >= chance {
            return Trouble::None;
        }
        match rng.u32(0..4) {
            0 => Trouble::Throttled,
            1 => Trouble::Broken,
            2 if action == "RunInstances" => Trouble::Full,
            _ => Trouble::Lost,
        }
    })
}

impl Schedule<'_> {
    fn killed_at(&mut self, most: u32, chance: f64) -> Option<u32> {
        (self.rng.f64() < chance).then(|| self.rng.u32(0..most))
    }

    /// Time passes, and the reaper comes, which may be killed, too.
    fn pass(&mut self, until: u64) {
        while self.model.borrow().now() < until {
            let now = self.model.borrow().now();
            let next = (now / REAPER_EVERY + 1) * REAPER_EVERY;
            self.model.borrow_mut().advance(next.min(until));
            if next <= until {
                if next >= self.expires + FAILS_UNTIL {
                    self.model.borrow_mut().trouble = Box::new(|_, _, _| Trouble::None);
                }
                self.reap(next < self.expires + FAILS_UNTIL);
            }
        }
    }

    fn reap(&mut self, may_die: bool) {
        let killed_at = if may_die { self.killed_at(30, 0.2) } else { None };
        let before: Vec<String> = self.live();
        let now = self.model.borrow().now();
        let process = Process::new(&self.model, killed_at, None);
        let lines = asked(&process, Request::new(Ask::Reap { grace_s: GRACE }, false, settings(&serde_json::json!({}))));
        let after = self.live();
        if now + 1_000 < self.expires {
            assert_eq!(before, after, "the reaper ended what is in time: {lines:?}");
        }
        self.seen.reaped += u32::from(before.len() > after.len());
        let parts = |line: &&Line| matches!(line, Line::Gone { id } if id.starts_with("vol-") || id.starts_with("eni-"));
        self.seen.parts_reaped += u32::from(lines.iter().filter(parts).count() > 0);
    }

    fn live(&self) -> Vec<String> {
        let model = self.model.borrow();
        let is = |tags: &Tags| tags.get(RUN) == Some(&self.run);
        model.instances.values().filter(|i| is(&i.tags) && i.ended.is_none()).map(|i| i.id.clone()).collect()
    }

    fn go(mut self, seed: u64) {
        let strangers: Vec<String> = {
            let mut model = self.model.borrow_mut();
            let tag = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Tags>();
            vec![
                model.strange("eu-central-1", tag(&[("Name", "somebody's")])),
                model.strange("eu-central-1", tag(&[(MANAGED_BY, "terraform"), (EXPIRES, "1")])),
                model.strange("us-east-1", tag(&[(MANAGED_BY, US), (EXPIRES, "1"), (KEEP, "true")])),
            ]
        };
        let chance = [0.0, 0.05, 0.2, 0.5, 0.9][self.rng.usize(0..5)];
        let vantages = self.rng.u32(1..=3);
        let subnets: Vec<String> = (0..self.rng.u32(0..3)).map(|n| format!("subnet-{n}")).collect();
        {
            let mut model = self.model.borrow_mut();
            model.trouble = troubles(seed ^ 0x5eed, chance);
            model.character = Character {
                boot: self.rng.u64(5..200),
                lag: [0, 5, 60][self.rng.usize(0..3)],
                script_runs: self.rng.f64() < 0.7,
                leaves_parts: self.rng.f64() < 0.3,
                fails: self.rng.f64() < 0.05,
            };
        }
        let burn = self.rng.f64() < 0.2;
        let more = serde_json::json!({"subnets": subnets, "burn": burn, "reaped_within_minutes": REAPED_WITHIN / 60});
        let caps = Caps { instances: 10, hours: 3.0, usd: 5.0 };
        let (killed_at, stopped_at) = (self.killed_at(40, 0.3), self.killed_at(40, 0.2));
        let request = up(&self.run, vantages, self.expires, caps, settings(&more));
        let process = Process::new(&self.model, killed_at, stopped_at);
        let mut printed = None;
        let lines = heard(&process, request, &mut |line| {
            if let Line::Price { usd, .. } = line {
                assert_eq!(self.model.borrow().spent(RUN, &self.run), 0.0, "the price comes first");
                printed = Some(*usd);
            }
        });
        let dead = process.is_dead();
        self.printed = printed;
        self.note(&lines, dead);
        if burn && lines.last() == Some(&Line::Done) && !dead {
            let burned =
                |line: &Line| matches!(line, Line::Progress { done: Some(done), of: Some(of), .. } if done == of && *of == 37.5);
            assert!(lines.iter().any(burned), "it is said when all is burned: {lines:?}");
            self.seen.burned += 1;
        }
        if lines.last() == Some(&Line::Done) && !dead {
            assert_eq!(self.live().len(), vantages as usize, "what is said to be up is up, once each: {lines:?}");
        }
        if let (Some(Line::Failed(wrong)), false) = (lines.last(), dead)
            && wrong.left.is_empty()
        {
            assert!(self.live().is_empty(), "what failed and left nothing, by its own words, has left nothing: {lines:?}");
            self.seen.left_nothing += 1;
        }
        let used = self.rng.u64(0..self.expires - BEGIN + 600);
        let used = self.model.borrow().now() + used;
        self.pass(used);
        if self.rng.bool() {
            let killed_at = self.killed_at(40, 0.3);
            let process = Process::new(&self.model, killed_at, None);
            let lines = asked(&process, Request::new(Ask::Down { run: self.run.clone(), order: None }, false, settings(&more)));
            if lines.last() == Some(&Line::Done) && !process.is_dead() {
                self.seen.down += 1;
                let there = self.model.borrow().there(RUN, &self.run);
                assert!(there.is_empty(), "what is said to be down is down: {there:?}");
            }
        } else {
            self.seen.never_down += 1;
        }
        self.pass(self.expires + 60);
        self.seen.ended_themselves += u32::from(self.live().is_empty());
        self.pass(self.expires + REAPED_WITHIN);
        let model = self.model.borrow();
        let there = model.there(RUN, &self.run);
        assert!(there.is_empty(), "still there at the end of its time to live: {there:?}");
        for id in strangers {
            assert_eq!(model.instances[&id].ended, None, "{id} is somebody else's");
        }
        // By the model's own prices.
        let spent = model.spent(RUN, &self.run);
        match self.printed {
            None => assert_eq!(spent, 0.0, "it cost something of which nothing was said"),
            Some(printed) => {
                assert!(spent <= printed, "${spent} were spent and ${printed} printed");
                self.seen.dearest = self.seen.dearest.max(spent / printed);
            }
        }
    }

    fn note(&mut self, lines: &[Line], dead: bool) {
        match lines.last() {
            _ if dead => self.seen.killed += 1,
            Some(Line::Done) => self.seen.up += 1,
            Some(Line::Failed(Wrong { fault: Fault::Capacity, .. })) => self.seen.full += 1,
            Some(Line::Failed(Wrong { fault: Fault::Interrupted, .. })) => self.seen.stopped += 1,
            _ => self.seen.up_failed += 1,
        }
    }
}

#[test]
fn nothing_is_left_and_nothing_costs_more_than_was_said() {
    let number = |name: &str, otherwise: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (schedules, first) = (number("SCHEDULES", 10_000), number("SEED", 1));
    let mut seen = Seen::default();
    for seed in first..first + schedules {
        let mut rng = Rng::with_seed(seed);
        let expires = BEGIN + rng.u64(600..7_200);
        let (model, run) = (RefCell::new(Model::new(BEGIN)), format!("run-{seed}"));
        let schedule = Schedule { rng, model, run, expires, printed: None, seen: &mut seen };
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| schedule.go(seed)));
        assert!(failed.is_ok(), "schedule SEED={seed} SCHEDULES=1");
    }
    println!("{schedules} schedules: {seen:?}");
    if schedules >= 1_000 {
        let Seen {
            up,
            up_failed,
            burned,
            left_nothing,
            full,
            killed,
            stopped,
            down,
            never_down,
            ended_themselves,
            reaped,
            parts_reaped,
            ..
        } = seen;
        for (what, n) in [
            ("up", up),
            ("up failed", up_failed),
            ("burned", burned),
            ("failed and left nothing", left_nothing),
            ("full", full),
            ("killed", killed),
            ("stopped", stopped),
            ("down", down),
            ("never down", never_down),
            ("ended themselves", ended_themselves),
            ("reaped", reaped),
            ("parts reaped", parts_reaped),
        ] {
            assert!(n > 0, "no schedule of the kind: {what}");
        }
    }
}
