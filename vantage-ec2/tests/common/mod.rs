//! The model of EC2 as the provider calls it, with a process that can be killed at any call, and a clock that the model keeps.

#![allow(dead_code)] // each test file has its own copy, and uses a part of it

pub mod program;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use fake::disks::Disk;
use fake::model::{self, Model, Refused};
use provider::{Ask, Caps, Join, Line, Order, Request, Wanted};
use vantage_ec2::clock::{Clock, Stopped};
use vantage_ec2::cloud::{Cloud, Failed, Instance, Kind, Launch, Of, Page, Part, Tags, Thing};

/// One process that calls the model.
pub struct Process<'m> {
    model: &'m RefCell<Model>,
    /// Calls until it is killed.
    left: Cell<Option<u32>>,
    /// Calls until it is told to stop.
    patience: Cell<Option<u32>>,
    /// When it is told to stop.
    until: Option<u64>,
    /// Pauses that last.
    pauses: Cell<u32>,
}

/// More pauses than any verb makes.
const MOST_PAUSES: u32 = 5_000;

impl<'m> Process<'m> {
    /// One that is killed at the call of this number, and told to stop at that one.
    pub fn new(model: &'m RefCell<Model>, killed_at: Option<u32>, stopped_at: Option<u32>) -> Self {
        Self { model, left: Cell::new(killed_at), patience: Cell::new(stopped_at), until: None, pauses: Cell::new(0) }
    }

    /// One that is told to stop then.
    pub fn stopped_then(model: &'m RefCell<Model>, until: u64) -> Self {
        Self { until: Some(until), ..Self::new(model, None, None) }
    }

    pub fn is_dead(&self) -> bool {
        self.left.get() == Some(0)
    }

    /// Whether the call comes about; what the dead call does nothing.
    fn call<T>(
        &self,
        call: &'static str,
        region: &str,
        make: impl FnOnce(&mut Model) -> Result<T, Refused>,
    ) -> Result<T, Failed> {
        let failed = |kind, code: &str, message: &str| {
            let (region, code, message) = (region.to_owned(), code.to_owned(), message.to_owned());
            Failed { kind, call, region, code, message }
        };
        self.patience.set(self.patience.get().map(|left| left.saturating_sub(1)));
        if let Some(left) = self.left.get() {
            if left == 0 {
                return Err(failed(Kind::Denied, "Dead", "this process is dead"));
            }
            self.left.set(Some(left - 1));
        }
        let mut model = self.model.borrow_mut();
        // A call takes a second, and a lost answer what the SDK waits for it.
        let now = model.now() + 1;
        model.advance(now);
        let answer = make(&mut model);
        if matches!(answer, Err(Refused::NoAnswer)) {
            model.advance(now + 20);
        }
        answer.map_err(|refused| match refused {
            Refused::NoAnswer => failed(Kind::Unknown, "no answer", ""),
            Refused::Said(status, code, message) => {
                let kind = match code.as_str() {
                    "RequestLimitExceeded" => Kind::Throttled,
                    "InsufficientInstanceCapacity" => Kind::Capacity,
                    "DryRunOperation" => Kind::WouldWork,
                    "ExpiredToken" => Kind::Denied,
                    code if code.ends_with(".NotFound") => Kind::NotFound,
                    _ if status >= 500 => Kind::Unknown,
                    _ => Kind::Invalid,
                };
                failed(kind, &code, &message)
            }
        })
    }
}

impl Clock for Process<'_> {
    fn now(&self) -> u64 {
        self.model.borrow().now()
    }

    fn go_on(&self) -> Result<(), Stopped> {
        // Nothing more comes of a dead one.
        let told = self.is_dead() || self.patience.get() == Some(0) || self.until.is_some_and(|until| self.now() >= until);
        if told { Err(Stopped) } else { Ok(()) }
    }

    fn pause(&self, length: Duration) -> Result<(), Stopped> {
        self.go_on()?;
        self.insist(length);
        self.go_on()
    }

    fn insist(&self, length: Duration) {
        self.pauses.set(self.pauses.get() + 1);
        assert!(self.pauses.get() < MOST_PAUSES, "it pauses for ever");
        // Time goes on without the dead.
        if !self.is_dead() {
            let mut model = self.model.borrow_mut();
            let to = model.now() + length.as_secs().max(1);
            model.advance(to);
        }
    }
}

fn instance(i: &model::Instance) -> Instance {
    Instance {
        id: i.id.clone(),
        state: i.state.to_owned(),
        reason: i.fails.then(|| "Server.InternalError".to_owned()),
        kind: i.launch.kind.clone(),
        image: i.launch.image.clone(),
        zone: format!("{}a", i.launch.region),
        root: None,
        launched: Some(i.launched),
        tags: i.tags.clone(),
    }
}

impl Cloud for Process<'_> {
    fn run_instance(&self, launch: &Launch) -> Result<Instance, Failed> {
        let tags = ["instance", "volume", "network-interface"].map(|kind| (kind.to_owned(), launch.tags.clone()));
        let wanted = model::Launch {
            region: launch.region.clone(),
            token: launch.token.clone(),
            image: launch.image.clone(),
            kind: launch.kind.clone(),
            subnet: launch.subnet.clone(),
            user_data: launch.user_data.clone(),
            tags: tags.into(),
            shutdown_terminates: launch.shutdown_terminates,
            credits: launch.standard_credits.then(|| "standard".to_owned()),
            tokens_required: launch.tokens_required,
            profile: launch.profile.clone(),
            interface_goes: launch.interface_goes,
            public_address: launch.public_address,
            metadata_on: Some(true),
            metadata_hops: Some(launch.metadata_hops.into()),
            disk: Some(Disk {
                device: launch.disk.device.clone(),
                gb: Some(launch.disk.gb.into()),
                kind: Some(launch.disk.kind.to_owned()),
                encrypted: launch.disk.encrypted,
                goes: launch.disk.goes,
            }),
            dry_run: launch.dry_run,
        };
        self.call("RunInstances", &launch.region, |model| model.run_instances(&wanted)).map(|i| instance(&i))
    }

    fn instances(&self, region: &str, of: &Of, page: Option<&str>) -> Result<Page<Instance>, Failed> {
        let (items, next) =
            self.call("DescribeInstances", region, |model| model.describe_instances(region, &of.filters(), page))?;
        Ok(Page { items: items.iter().map(instance).collect(), next })
    }

    fn things(&self, region: &str, part: Part, of: &Of, page: Option<&str>) -> Result<Page<Thing>, Failed> {
        let kind = if part == Part::Volume { "vol" } else { "eni" };
        let (items, next) = self.call("Describe", region, |model| model.describe_things(kind, region, &of.filters(), page))?;
        let thing = |t: &model::Thing| Thing { id: t.id.clone(), part, free: t.of.is_none(), tags: t.tags.clone() };
        Ok(Page { items: items.iter().map(thing).collect(), next })
    }

    fn terminate(&self, region: &str, id: &str) -> Result<(), Failed> {
        self.call("TerminateInstances", region, |model| model.terminate(region, id))
    }

    fn delete(&self, region: &str, _: Part, id: &str) -> Result<(), Failed> {
        self.call("Delete", region, |model| model.delete(region, id))
    }

    fn tag(&self, region: &str, id: &str, key: &str, value: &str) -> Result<(), Failed> {
        let tags = Tags::from([(key.to_owned(), value.to_owned())]);
        self.call("CreateTags", region, |model| model.create_tags(region, id, &tags))
    }
}

/// Settings of the tests.
pub fn settings(more: &serde_json::Value) -> provider::Settings {
    let mut all =
        serde_json::json!({"region": "eu-central-1", "regions": ["us-east-1"], "instance_profile": "whostalled-vantage"});
    let object = all.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    object.clone()
}

/// A request for so many vantages that end then.
pub fn up(run: &str, vantages: u32, expires_at: u64, caps: Caps, settings: provider::Settings) -> Request {
    let wanted = |n| Wanted { name: format!("v{n}"), agent: Some(format!("a{n}")) };
    let join = Join::Nats { url: "tls://nats.example:4222".into(), ca: None };
    let order = Order { run: run.to_owned(), order: None, expires_at, caps, join, vantages: (0..vantages).map(wanted).collect() };
    Request::new(Ask::Up(order), false, settings)
}

/// What a process says to a request.
pub fn asked(process: &Process<'_>, request: Request) -> Vec<Line> {
    heard(process, request, &mut |_| {})
}

/// The same, and each line as soon as it is said.
pub fn heard(process: &Process<'_>, request: Request, each: &mut dyn FnMut(&Line)) -> Vec<Line> {
    let mut lines = Vec::new();
    vantage_ec2::serve::serve(request, process, process, &mut |line| {
        each(&line);
        lines.push(line);
    });
    lines
}
