//! What of EC2 is used: eight calls, their data, and how they fail. [`crate::aws`] makes them; tests play them.

use std::collections::BTreeMap;

use provider::{Fault, Wrong};

use crate::tags::{MANAGED_BY, ORDER, RUN, US};

/// Tags of something.
pub type Tags = BTreeMap<String, String>;

/// What one RunInstances asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launch {
    /// The region.
    pub region: String,
    /// The same for the same instance, however often it is asked for.
    pub token: String,
    /// An AMI, or `resolve:ssm:…`.
    pub image: String,
    /// The instance type.
    pub kind: String,
    /// The subnet; absent: the region's default.
    pub subnet: Option<String>,
    /// Security groups; none: the network's default.
    pub security_groups: Vec<String>,
    /// The instance profile that may read its credential.
    pub profile: Option<String>,
    /// Whether it gets a public address.
    pub public_address: bool,
    /// Its first script.
    pub user_data: String,
    /// Its root.
    pub disk: Disk,
    /// Whether its interface goes with it.
    pub interface_goes: bool,
    /// Whether a shutdown from within terminates it; else it stops, and its disk stays.
    pub shutdown_terminates: bool,
    /// Whether its metadata answers to tokens alone.
    pub tokens_required: bool,
    /// Hops that an answer of its metadata may go.
    pub metadata_hops: u8,
    /// Tags of the instance, its volumes and its interfaces.
    pub tags: Tags,
    /// Whether CPU credits are named (`standard`): burstable types alone have them.
    pub standard_credits: bool,
    /// Only ask whether it could be.
    pub dry_run: bool,
}

/// The root of an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// What its image calls the root; another name would be another disk, beside the image's own.
    pub device: String,
    /// Its size.
    pub gb: u16,
    /// EBS's type.
    pub kind: &'static str,
    /// Whether it is encrypted: by the key that the account has for EBS.
    pub encrypted: bool,
    /// Whether it goes with its instance.
    pub goes: bool,
}

/// An instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// What EC2 calls its state.
    pub state: String,
    /// Why it is in that state, where EC2 says so.
    pub reason: Option<String>,
    /// Its type.
    pub kind: String,
    /// Its image: an AMI, whatever it was asked for by.
    pub image: String,
    /// Its availability zone.
    pub zone: String,
    /// What its image calls its root, where EC2 says so.
    pub root: Option<String>,
    /// Seconds since the epoch at which it was launched.
    pub launched: Option<u64>,
    /// Its tags.
    pub tags: Tags,
}

impl Instance {
    /// Whether it still is, or can be again.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.state.as_str(), "shutting-down" | "terminated")
    }
}

/// What an instance has beside it, and may leave behind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// A volume.
    Volume,
    /// A network interface.
    Interface,
}

/// One of these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thing {
    /// Its id.
    pub id: String,
    /// What it is.
    pub part: Part,
    /// Whether nothing uses it.
    pub free: bool,
    /// Its tags.
    pub tags: Tags,
}

/// One page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// By what the next is asked for; absent: there is none.
    pub next: Option<String>,
}

/// Of what a list is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Of {
    /// All that whostalled made.
    All,
    /// What is of one run.
    Run(String),
    /// What is of one order of a run.
    Order {
        /// The run.
        run: String,
        /// The order.
        order: String,
    },
}

impl Of {
    /// The tags that all of it has.
    fn tags(&self) -> Tags {
        let (run, order) = match self {
            Self::All => (None, None),
            Self::Run(run) => (Some(run), None),
            Self::Order { run, order } => (Some(run), Some(order)),
        };
        let pairs = [(MANAGED_BY, Some(US)), (RUN, run.map(String::as_str)), (ORDER, order.map(String::as_str))];
        pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect()
    }

    /// Whether something that has these tags is of it.
    #[must_use]
    pub fn has(&self, tags: &Tags) -> bool {
        self.tags().iter().all(|(key, value)| tags.get(key) == Some(value))
    }

    /// Its tags as values of EC2's filters, to which `*`, `?` and `\` mean more than themselves.
    #[must_use]
    pub fn filters(&self) -> Tags {
        let literally = |value: &str| value.replace('\\', r"\\").replace('*', r"\*").replace('?', r"\?");
        self.tags().into_iter().map(|(key, value)| (key, literally(&value))).collect()
    }
}

/// How a call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Too many calls: ask again later.
    Throttled,
    /// There is none to be had here now.
    Capacity,
    /// It may or may not have been done: no answer, or an error of the server.
    Unknown,
    /// There is no such thing.
    NotFound,
    /// It would have been done, had it not been a dry run.
    WouldWork,
    /// We may not, or are not known.
    Denied,
    /// What was asked cannot be.
    Invalid,
}

/// A call that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{call} in {region}: {code}{}{message}", if message.is_empty() { "" } else { ": " })]
pub struct Failed {
    /// How.
    pub kind: Kind,
    /// Which call.
    pub call: &'static str,
    /// Where.
    pub region: String,
    /// AWS's word for it.
    pub code: String,
    /// AWS's sentence for it.
    pub message: String,
}

impl Failed {
    /// Whether the same call may go through later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Throttled | Kind::Unknown)
    }
}

/// The code of a call that was never answered.
pub const NO_ANSWER: &str = "no answer";

impl From<Failed> for Wrong {
    fn from(failed: Failed) -> Self {
        let shows = format!("`whostalled vantage list --provider ec2 --set region={}` shows what there is", failed.region);
        let (fault, todo) = match failed.kind {
            Kind::Throttled => (Fault::Cloud, "AWS limits how often it is asked: try again later".into()),
            Kind::Capacity => (Fault::Capacity, "try later, another region, or subnets of more zones".into()),
            Kind::Unknown if failed.code == NO_ANSWER => {
                (Fault::Cloud, format!("is that a region, and is its endpoint reached from here? {shows}"))
            }
            Kind::Unknown | Kind::WouldWork => (Fault::Cloud, format!("try again; {shows}")),
            Kind::Denied => (
                Fault::Rights,
                "are these your credentials, and still valid? terraform/modules/controller-policy has what they must be let do"
                    .into(),
            ),
            Kind::NotFound | Kind::Invalid => (Fault::Request, String::new()),
        };
        Self { fault, what: failed.to_string(), todo: Some(todo).filter(|todo| !todo.is_empty()), left: Vec::new() }
    }
}

/// What of EC2 is used.
pub trait Cloud {
    /// Launches one instance. With the same token it is the same one.
    ///
    /// # Errors
    /// If it fails; `Unknown` may have launched it.
    fn run_instance(&self, launch: &Launch) -> Result<Instance, Failed>;

    /// A page of instances, in whatever state.
    ///
    /// # Errors
    /// If it fails.
    fn instances(&self, region: &str, of: &Of, page: Option<&str>) -> Result<Page<Instance>, Failed>;

    /// A page of volumes or interfaces.
    ///
    /// # Errors
    /// If it fails.
    fn things(&self, region: &str, part: Part, of: &Of, page: Option<&str>) -> Result<Page<Thing>, Failed>;

    /// Terminates an instance.
    ///
    /// # Errors
    /// If it fails.
    fn terminate(&self, region: &str, id: &str) -> Result<(), Failed>;

    /// Deletes a volume or an interface.
    ///
    /// # Errors
    /// If it fails.
    fn delete(&self, region: &str, part: Part, id: &str) -> Result<(), Failed>;

    /// Sets a tag of anything.
    ///
    /// # Errors
    /// If it fails.
    fn tag(&self, region: &str, id: &str, key: &str, value: &str) -> Result<(), Failed>;
}
