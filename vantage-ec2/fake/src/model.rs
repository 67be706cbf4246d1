//! What is there, and what becomes of it with time.

use std::collections::BTreeMap;

use crate::disks::{Disk, disks, root};
use crate::pattern::means;

/// Tags.
pub type Tags = BTreeMap<String, String>;

/// Seconds until a launched instance runs, where nothing else is said.
pub const BOOT: u64 = 20;
/// Seconds until one that shuts down has ended, where nothing else is said.
pub const ENDING: u64 = 40;

/// What goes wrong with a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Too many calls.
    Throttled,
    /// The server fails before it has done anything.
    Broken,
    /// It is done, and the answer is lost.
    Lost,
    /// No capacity, at a launch.
    Full,
    /// Refused with this code.
    Refused(&'static str),
}

/// Why a call is not answered as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// EC2 says no: status, code, message.
    Said(u16, String, String),
    /// Nothing comes back.
    NoAnswer,
}

fn said(status: u16, code: &str, message: impl Into<String>) -> Refused {
    Refused::Said(status, code.to_owned(), message.into())
}

/// A launch.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Launch {
    /// The region.
    pub region: String,
    /// The client token.
    pub token: String,
    /// The image.
    pub image: String,
    /// The type.
    pub kind: String,
    /// The subnet.
    pub subnet: Option<String>,
    /// The script, decoded.
    pub user_data: String,
    /// Tags by resource type.
    pub tags: BTreeMap<String, Tags>,
    /// A shutdown from within terminates.
    pub shutdown_terminates: bool,
    /// The credit specification.
    pub credits: Option<String>,
    /// Metadata demands a token.
    pub tokens_required: bool,
    /// The instance profile.
    pub profile: Option<String>,
    /// Its interface goes with it.
    pub interface_goes: bool,
    /// It has a public IPv4 address.
    pub public_address: bool,
    /// Whether metadata is said to answer at all; none: as the account has it.
    pub metadata_on: Option<bool>,
    /// Hops that an answer of metadata may go; none: as the image or the account has it.
    pub metadata_hops: Option<u32>,
    /// The disk that is named; none: as the image has it.
    pub disk: Option<Disk>,
    /// Only asked.
    pub dry_run: bool,
}

/// An instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// How it was launched.
    pub launch: Launch,
    /// Its tags now.
    pub tags: Tags,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopped`.
    pub state: &'static str,
    /// When it was launched.
    pub launched: u64,
    /// When it runs.
    pub runs_at: u64,
    /// From when lists show it.
    pub visible_from: u64,
    /// When it costs no more.
    pub ended: Option<u64>,
    /// When its own timer ends it; none: its script never ran.
    pub own_end: Option<u64>,
    /// It leaves its volume and its interface behind.
    pub leaves_parts: bool,
    /// It never gets beyond `pending`, and ends so.
    pub fails: bool,
}

/// A volume or an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thing {
    /// Its id.
    pub id: String,
    /// The region.
    pub region: String,
    /// Its tags.
    pub tags: Tags,
    /// The instance that uses it.
    pub of: Option<String>,
    /// A volume's type.
    pub kind: String,
    /// A volume's size.
    pub gb: u64,
    /// It goes with its instance, if that leaves nothing behind.
    pub goes: bool,
    /// When it began.
    pub made: u64,
    /// When it was deleted.
    pub deleted: Option<u64>,
}

/// Character of instances that are launched from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Character {
    /// Seconds until it runs.
    pub boot: u64,
    /// Seconds until lists show it.
    pub lag: u64,
    /// Its script runs, and with it its own timer.
    pub script_runs: bool,
    /// It leaves its volume and its interface behind.
    pub leaves_parts: bool,
    /// It fails while it starts.
    pub fails: bool,
}

impl Default for Character {
    fn default() -> Self {
        Self { boot: BOOT, lag: 0, script_runs: true, leaves_parts: false, fails: false }
    }
}

/// Says what goes wrong with a call: of its action, its region, and, for a launch, its subnet.
pub type Troubles = Box<dyn FnMut(&str, &str, Option<&str>) -> Trouble + Send>;

/// EC2.
pub struct Model {
    now: u64,
    /// All that were ever launched.
    pub instances: BTreeMap<String, Instance>,
    /// All volumes.
    pub volumes: BTreeMap<String, Thing>,
    /// All interfaces.
    pub interfaces: BTreeMap<String, Thing>,
    /// Seconds until one that shuts down has ended.
    pub ending: u64,
    /// Items of a page.
    pub page: usize,
    /// Whether lists are filtered: some that play EC2 show everything.
    pub filters: bool,
    /// What instances are like that are launched next.
    pub character: Character,
    /// What goes wrong with each call.
    pub trouble: Troubles,
    /// All calls: action and region.
    pub calls: Vec<(String, String)>,
    tokens: BTreeMap<(String, String), (Launch, String)>,
    made: u64,
}

impl Model {
    /// An empty account, at `now`.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self {
            now,
            instances: BTreeMap::new(),
            volumes: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            ending: ENDING,
            page: 2,
            filters: true,
            character: Character::default(),
            trouble: Box::new(|_, _, _| Trouble::None),
            calls: Vec::new(),
            tokens: BTreeMap::new(),
            made: 0,
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Lets time pass until then.
    pub fn advance(&mut self, to: u64) {
        let own: Vec<(u64, String)> = self.instances.values().filter_map(|i| Some((i.own_end?, i.id.clone()))).collect();
        for (end, id) in own {
            if end <= to && self.instances[&id].runs_at <= end {
                self.now = self.now.max(end);
                self.shut_down(&id);
            }
        }
        self.now = self.now.max(to);
        let (now, ending) = (self.now, self.ending);
        for instance in self.instances.values_mut() {
            if instance.state == "pending" && instance.runs_at <= now {
                instance.state = if instance.fails { "shutting-down" } else { "running" };
                instance.ended = instance.fails.then_some(instance.runs_at);
            }
            if instance.state == "shutting-down" && instance.ended.is_some_and(|ended| ended + ending <= now) {
                instance.state = "terminated";
            }
        }
        for things in [&mut self.volumes, &mut self.interfaces] {
            for thing in things.values_mut() {
                let Some(instance) = thing.of.as_ref().map(|of| &self.instances[of]) else { continue };
                if instance.state != "terminated" {
                    continue;
                }
                thing.of = None;
                if !instance.leaves_parts && thing.goes {
                    thing.deleted = instance.ended.map(|ended| ended + ending);
                }
            }
        }
    }

    /// The instance shuts itself down.
    pub fn shut_down(&mut self, id: &str) {
        let now = self.now;
        if let Some(instance) = self.instances.get_mut(id).filter(|i| matches!(i.state, "pending" | "running")) {
            instance.state = if instance.launch.shutdown_terminates { "shutting-down" } else { "stopped" };
            instance.ended = Some(now);
        }
    }

    fn before(&mut self, action: &str, region: &str, subnet: Option<&str>) -> Result<Trouble, Refused> {
        self.calls.push((action.to_owned(), region.to_owned()));
        match (self.trouble)(action, region, subnet) {
            Trouble::Throttled => Err(said(503, "RequestLimitExceeded", "Request limit exceeded.")),
            Trouble::Broken => Err(said(500, "InternalError", "An internal error has occurred")),
            Trouble::Full if action == "RunInstances" => Err(said(
                500,
                "InsufficientInstanceCapacity",
                "We currently do not have sufficient capacity in the Availability Zone.",
            )),
            Trouble::Refused(code) => Err(said(400, code, "It is refused.")),
            trouble => Ok(trouble),
        }
    }

    fn id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{:017x}", self.made)
    }

    /// `RunInstances`.
    ///
    /// # Errors
    /// What EC2 refuses, or trouble.
    pub fn run_instances(&mut self, launch: &Launch) -> Result<Instance, Refused> {
        let trouble = self.before("RunInstances", &launch.region, launch.subnet.as_deref())?;
        if launch.region == "nowhere" {
            return Err(said(401, "AuthFailure", "AWS was not able to validate the provided access credentials"));
        }
        if launch.user_data.len() > 16 * 1024 {
            return Err(said(400, "InvalidParameterValue", "User data is limited to 16384 bytes"));
        }
        let burstable = launch.kind.starts_with('t') && launch.kind[1..].starts_with(|c: char| c.is_ascii_digit());
        match launch.credits.as_deref() {
            Some("standard" | "unlimited") if burstable => {}
            None => {}
            Some(other) => {
                let what = format!("The specified credit option {other} is not supported for {}", launch.kind);
                return Err(said(400, "InvalidParameterCombination", what));
            }
        }
        let small = |disk: &Disk| disk.gb.is_some_and(|gb| gb < root(&launch.image).1);
        if disks(launch).iter().any(small) {
            return Err(said(400, "InvalidBlockDeviceMapping", "Volume is smaller than the image's snapshot"));
        }
        if launch.dry_run {
            return Err(said(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."));
        }
        let key = (launch.region.clone(), launch.token.clone());
        if let Some((first, id)) = self.tokens.get(&key).filter(|_| !launch.token.is_empty()) {
            if first != launch {
                let what = "The client token matches an earlier request with other parameters";
                return Err(said(400, "IdempotentParameterMismatch", what));
            }
            let instance = self.instances[id].clone();
            return if trouble == Trouble::Lost { Err(Refused::NoAnswer) } else { Ok(instance) };
        }
        let (id, now, character) = (self.id("i"), self.now, self.character);
        let of = |kind: &str| launch.tags.get(kind).cloned().unwrap_or_default();
        let end = launch.user_data.lines().find_map(|line| line.strip_prefix("end=")?.parse().ok());
        let instance = Instance {
            id: id.clone(),
            launch: launch.clone(),
            tags: of("instance"),
            state: "pending",
            launched: now,
            runs_at: now + character.boot,
            visible_from: now + character.lag,
            ended: None,
            own_end: end.filter(|_| character.script_runs),
            leaves_parts: character.leaves_parts,
            fails: character.fails,
        };
        let part = |name: String, tags: Tags, (kind, gb): (&str, u64), goes: bool| {
            let (region, of, kind) = (launch.region.clone(), Some(id.clone()), kind.to_owned());
            (name.clone(), Thing { id: name, region, tags, of, kind, gb, goes, made: now, deleted: None })
        };
        let (_, of_image) = root(&launch.image);
        for disk in disks(launch) {
            let (volume, kind) = (self.id("vol"), disk.kind.as_deref().unwrap_or("gp3"));
            self.volumes.extend([part(volume, of("volume"), (kind, disk.gb.unwrap_or(of_image)), disk.goes)]);
        }
        let interface = self.id("eni");
        self.interfaces.extend([part(interface, of("network-interface"), ("", 0), launch.interface_goes)]);
        self.tokens.insert(key, (launch.clone(), id.clone()));
        self.instances.insert(id, instance.clone());
        if trouble == Trouble::Lost { Err(Refused::NoAnswer) } else { Ok(instance) }
    }

    /// Adds an instance of somebody else, which runs.
    pub fn strange(&mut self, region: &str, tags: Tags) -> String {
        let id = self.id("i");
        let launch = Launch { region: region.to_owned(), kind: "m5.large".into(), ..Launch::default() };
        let (now, visible_from) = (self.now, self.now);
        let instance = Instance {
            id: id.clone(),
            launch,
            tags,
            state: "running",
            launched: now,
            runs_at: now,
            visible_from,
            ended: None,
            own_end: None,
            leaves_parts: false,
            fails: false,
        };
        self.instances.insert(id.clone(), instance);
        id
    }

    fn paged<T: Clone>(&self, all: Vec<T>, page: Option<&str>) -> Result<(Vec<T>, Option<String>), Refused> {
        let from: usize = page.map_or(Ok(0), str::parse).map_err(|_| said(400, "InvalidNextToken", "no such token"))?;
        let to = (from + self.page).min(all.len());
        let items = all.get(from..to).unwrap_or_default().to_vec();
        Ok((items, (to < all.len()).then(|| to.to_string())))
    }

    fn shows(&self, tags: &Tags, filters: &Tags) -> bool {
        !self.filters || filters.iter().all(|(key, value)| tags.get(key).is_some_and(|has| means(value, has)))
    }

    /// `DescribeInstances` with filters on tags.
    ///
    /// # Errors
    /// Trouble.
    pub fn describe_instances(
        &mut self,
        region: &str,
        filters: &Tags,
        page: Option<&str>,
    ) -> Result<(Vec<Instance>, Option<String>), Refused> {
        let trouble = self.before("DescribeInstances", region, None)?;
        if trouble == Trouble::Lost {
            return Err(Refused::NoAnswer);
        }
        // What has ended an hour ago is forgotten.
        let known = |i: &&Instance| {
            i.visible_from <= self.now && i.ended.is_none_or(|ended| i.state == "stopped" || ended + 3_600 > self.now)
        };
        let of = |i: &&Instance| i.launch.region == region && self.shows(&i.tags, filters);
        let all = self.instances.values().filter(known).filter(of).cloned().collect();
        self.paged(all, page)
    }

    /// `DescribeVolumes` (`vol`) or `DescribeNetworkInterfaces` (`eni`) with filters on tags.
    ///
    /// # Errors
    /// Trouble.
    pub fn describe_things(
        &mut self,
        kind: &str,
        region: &str,
        filters: &Tags,
        page: Option<&str>,
    ) -> Result<(Vec<Thing>, Option<String>), Refused> {
        let action = if kind == "vol" { "DescribeVolumes" } else { "DescribeNetworkInterfaces" };
        if self.before(action, region, None)? == Trouble::Lost {
            return Err(Refused::NoAnswer);
        }
        let things = if kind == "vol" { &self.volumes } else { &self.interfaces };
        let visible = |t: &&Thing| t.of.as_ref().is_none_or(|of| self.instances[of].visible_from <= self.now);
        let of = |t: &&Thing| t.deleted.is_none() && t.region == region && self.shows(&t.tags, filters);
        let all = things.values().filter(of).filter(visible).cloned().collect();
        self.paged(all, page)
    }

    /// `TerminateInstances` of one.
    ///
    /// # Errors
    /// What EC2 refuses, or trouble.
    pub fn terminate(&mut self, region: &str, id: &str) -> Result<(), Refused> {
        let trouble = self.before("TerminateInstances", region, None)?;
        let now = self.now;
        // What no list shows yet is not known here either.
        let known = |i: &&mut Instance| i.launch.region == region && i.visible_from <= now;
        let Some(instance) = self.instances.get_mut(id).filter(known) else {
            return Err(said(400, "InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist")));
        };
        if !matches!(instance.state, "shutting-down" | "terminated") {
            instance.state = "shutting-down";
            instance.ended = Some(now);
        }
        if trouble == Trouble::Lost { Err(Refused::NoAnswer) } else { Ok(()) }
    }

    /// `DeleteVolume` or `DeleteNetworkInterface`, by the id.
    ///
    /// # Errors
    /// What EC2 refuses, or trouble.
    pub fn delete(&mut self, region: &str, id: &str) -> Result<(), Refused> {
        let is_volume = id.starts_with("vol-");
        let trouble = self.before(if is_volume { "DeleteVolume" } else { "DeleteNetworkInterface" }, region, None)?;
        let now = self.now;
        let things = if is_volume { &mut self.volumes } else { &mut self.interfaces };
        let Some(thing) = things.get_mut(id).filter(|t| t.deleted.is_none() && t.region == region) else {
            let code = if is_volume { "InvalidVolume.NotFound" } else { "InvalidNetworkInterfaceID.NotFound" };
            return Err(said(400, code, format!("'{id}' does not exist")));
        };
        if thing.of.is_some() {
            return Err(said(400, if is_volume { "VolumeInUse" } else { "InvalidParameterValue" }, format!("{id} is in use")));
        }
        thing.deleted = Some(now);
        if trouble == Trouble::Lost { Err(Refused::NoAnswer) } else { Ok(()) }
    }

    /// `CreateTags` of one resource.
    ///
    /// # Errors
    /// What EC2 refuses, or trouble.
    pub fn create_tags(&mut self, region: &str, id: &str, tags: &Tags) -> Result<(), Refused> {
        let trouble = self.before("CreateTags", region, None)?;
        let of_things = self.volumes.get_mut(id).or(self.interfaces.get_mut(id)).map(|t| (&t.region, &mut t.tags));
        let of_all = of_things.or(self.instances.get_mut(id).map(|i| (&i.launch.region, &mut i.tags)));
        match of_all.filter(|(at, _)| *at == region) {
            Some((_, has)) => has.extend(tags.clone()),
            None => return Err(said(400, "InvalidID.NotFound", format!("'{id}' does not exist"))),
        }
        if trouble == Trouble::Lost { Err(Refused::NoAnswer) } else { Ok(()) }
    }

    /// What is there of somebody's: live instances, volumes and interfaces with this tag.
    #[must_use]
    pub fn there(&self, key: &str, value: &str) -> Vec<String> {
        let is = |tags: &Tags| tags.get(key).is_some_and(|v| v == value);
        let live = self.instances.values().filter(|i| is(&i.tags) && i.state != "terminated").map(|i| i.id.clone());
        let things = self.volumes.values().chain(self.interfaces.values());
        live.chain(things.filter(|t| is(&t.tags) && t.deleted.is_none()).map(|t| t.id.clone())).collect()
    }
}
