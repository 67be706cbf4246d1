//! The model over HTTP on loopback. In: requests of the query protocol. Out: XML; instances as processes, where a launcher is named.
//!
//! Beside EC2 it answers what an instance asks: metadata with tokens, SSM's GetParameter for the role of the instance, a file. And tests:
//! `POST /troubles` with `[["RunInstances","lost",2]]`, `GET /state`, `POST /shutdown/ID`.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tiny_http::{Header, Request, Response, Server as Listener};

use crate::disks::Disk;
use crate::instance_side;
use crate::model::{Launch, Model, Refused, Tags, Trouble};
use crate::xml;

/// Requests answered at once.
const WORKERS: usize = 4;
/// How often it is looked who has ended.
const TICK: Duration = Duration::from_millis(100);

/// What a server has beside the model.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Where it listens; `127.0.0.1:0` if empty.
    pub listen: String,
    /// Started for each instance, with `INSTANCE_ID` and the file `USER_DATA` in its environment.
    pub launcher: Vec<String>,
    /// Where scripts lie.
    pub folder: PathBuf,
    /// Parameters of SSM.
    pub parameters: BTreeMap<String, String>,
    /// The file that it hands out as `/program`.
    pub program: Option<PathBuf>,
}

/// A server that runs until it is dropped.
pub struct Server {
    listener: Arc<Listener>,
    shared: Arc<Shared>,
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) setup: Setup,
    model: Mutex<Model>,
    troubles: Arc<Mutex<VecDeque<(String, Trouble)>>>,
    running: Mutex<BTreeMap<String, Child>>,
}

/// What `GET /state` says.
#[derive(Serialize, Deserialize, Debug)]
pub struct State {
    /// Instances that have not ended, with their state.
    pub live: BTreeMap<String, String>,
    /// All that were ever launched.
    pub launched: usize,
    /// Volumes and interfaces that are there.
    pub things: usize,
    /// Calls, and how often.
    pub calls: BTreeMap<String, usize>,
    /// How the last one was launched, for tests that look at it.
    pub last: Option<Last>,
}

/// How an instance was launched.
#[derive(Serialize, Deserialize, Debug)]
pub struct Last {
    /// Its first script.
    pub user_data: String,
    /// Tags by resource type.
    pub tags: BTreeMap<String, Tags>,
    /// Credit specification.
    pub credits: Option<String>,
    /// Whether a shutdown terminates.
    pub shutdown_terminates: bool,
    /// Whether metadata demands a token.
    pub tokens_required: bool,
    /// Whether metadata is said to answer, and how many hops far.
    pub metadata: (Option<bool>, Option<u32>),
    /// Its interface goes with it.
    pub interface_goes: bool,
    /// It has a public address.
    pub public_address: bool,
    /// The disk that is named.
    pub disk: Option<Disk>,
    /// The client token.
    pub token: String,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Server {
    /// Starts one.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let address = if setup.listen.is_empty() { "127.0.0.1:0" } else { &setup.listen };
        let listener = Arc::new(Listener::http(address).unwrap_or_else(|e| panic!("{address}: {e}")));
        let troubles: Arc<Mutex<VecDeque<(String, Trouble)>>> = Arc::default();
        let mut model = Model::new(now());
        let queue = Arc::clone(&troubles);
        model.trouble = Box::new(move |action, _, _| {
            let mut queue = held(&queue);
            let at = queue.iter().position(|(of, _)| of == action || of == "*");
            at.and_then(|at| queue.remove(at)).map_or(Trouble::None, |(_, trouble)| trouble)
        });
        let shared = Arc::new(Shared { setup, model: Mutex::new(model), troubles, running: Mutex::default() });
        for _ in 0..WORKERS {
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&shared));
            std::thread::spawn(move || {
                while let Ok(request) = listener.recv() {
                    answer(&shared, request);
                }
            });
        }
        let ticking = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            while let Some(shared) = ticking.upgrade() {
                shared.tick();
                drop(shared);
                std::thread::sleep(TICK);
            }
        });
        Self { listener, shared }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.server_addr())
    }

    /// The model.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        held(&self.shared.model)
    }

    /// So many calls of this action (`*`: any) go wrong so.
    pub fn trouble(&self, action: &str, trouble: Trouble, times: usize) {
        held(&self.shared.troubles).extend(std::iter::repeat_n((action.to_owned(), trouble), times));
    }

    /// What is there.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        (0..WORKERS).for_each(|_| self.listener.unblock());
        for (_, child) in std::mem::take(&mut *held(&self.shared.running)) {
            end(child);
        }
    }
}

/// Ends a process and those that it started.
fn end(mut child: Child) {
    let group = format!("-{}", child.id());
    let signal = |signal: &str| Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
    let _ = signal("-TERM");
    for _ in 0..30 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(TICK);
    }
    let _ = signal("-KILL");
    let _ = child.wait();
}

impl Shared {
    /// Time passes; instances that have ended take their processes along.
    fn tick(&self) {
        let ended: Vec<String> = {
            let mut model = held(&self.model);
            model.advance(now());
            let gone = |id: &&String| model.instances.get(*id).is_none_or(|i| !matches!(i.state, "pending" | "running"));
            held(&self.running).keys().filter(gone).cloned().collect()
        };
        for id in ended {
            let child = held(&self.running).remove(&id);
            child.into_iter().for_each(end);
        }
    }

    fn launch(&self, id: &str, user_data: &str) {
        use std::os::unix::process::CommandExt;
        let [program, arguments @ ..] = self.setup.launcher.as_slice() else { return };
        if held(&self.running).contains_key(id) {
            return;
        }
        let script = self.setup.folder.join(format!("{id}.sh"));
        std::fs::write(&script, user_data).expect("the folder of the setup");
        let log = std::fs::File::create(self.setup.folder.join(format!("{id}.log"))).expect("the folder of the setup");
        let mut command = Command::new(program);
        command.args(arguments).env("INSTANCE_ID", id).env("USER_DATA", &script).process_group(0).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
        held(&self.running).insert(id.to_owned(), child);
    }

    fn state(&self) -> State {
        let mut model = held(&self.model);
        model.advance(now());
        let live = model.instances.values().filter(|i| i.state != "terminated").map(|i| (i.id.clone(), i.state.to_owned()));
        let things = model.volumes.values().chain(model.interfaces.values()).filter(|t| t.deleted.is_none()).count();
        let mut calls = BTreeMap::new();
        for (action, _) in &model.calls {
            *calls.entry(action.clone()).or_default() += 1;
        }
        let last = model.instances.values().next_back().map(|i| Last {
            user_data: i.launch.user_data.clone(),
            tags: i.launch.tags.clone(),
            credits: i.launch.credits.clone(),
            shutdown_terminates: i.launch.shutdown_terminates,
            tokens_required: i.launch.tokens_required,
            metadata: (i.launch.metadata_on, i.launch.metadata_hops),
            interface_goes: i.launch.interface_goes,
            public_address: i.launch.public_address,
            disk: i.launch.disk.clone(),
            token: i.launch.token.clone(),
        });
        State { live: live.collect(), launched: model.instances.len(), things, calls, last }
    }

    /// Whether metadata demands a token: whether any live instance was launched so.
    pub(crate) fn tokens_required(&self) -> bool {
        held(&self.model).instances.values().any(|i| i.launch.tokens_required)
    }

    /// The instance profile of a live instance.
    pub(crate) fn profile(&self) -> Option<String> {
        held(&self.model)
            .instances
            .values()
            .filter(|i| matches!(i.state, "pending" | "running"))
            .find_map(|i| i.launch.profile.clone())
    }

    /// An instance shuts itself down.
    pub(crate) fn shut_down(&self, id: &str) {
        held(&self.model).shut_down(id);
    }

    pub(crate) fn add_troubles(&self, body: &str) -> bool {
        let Ok(wanted) = serde_json::from_str::<Vec<(String, String, usize)>>(body) else { return false };
        for (action, word, times) in wanted {
            let trouble = match word.as_str() {
                "throttled" => Trouble::Throttled,
                "broken" => Trouble::Broken,
                "lost" => Trouble::Lost,
                "full" => Trouble::Full,
                "expired" => Trouble::Refused("ExpiredToken"),
                _ => return false,
            };
            held(&self.troubles).extend(std::iter::repeat_n((action, trouble), times));
        }
        true
    }
}

/// The fields of a form.
fn form(body: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decoded(key), decoded(value))).collect()
}

/// `Prefix.N.Key` and `Prefix.N.Value.1` as tags.
fn numbered<'f>(form: &'f BTreeMap<String, String>, prefix: &'f str) -> impl Iterator<Item = String> + 'f {
    (1..).map(move |n| format!("{prefix}.{n}")).take_while(|at| form.keys().any(|key| key.starts_with(&format!("{at}."))))
}

fn tags(form: &BTreeMap<String, String>, prefix: &str) -> Tags {
    let of = |at: String| {
        Some((form.get(&format!("{at}.Key"))?.clone(), form.get(&format!("{at}.Value")).cloned().unwrap_or_default()))
    };
    numbered(form, prefix).filter_map(of).collect()
}

fn filters(form: &BTreeMap<String, String>) -> Tags {
    let of = |at: String| {
        Some((form.get(&format!("{at}.Name"))?.strip_prefix("tag:")?.to_owned(), form.get(&format!("{at}.Value.1"))?.clone()))
    };
    numbered(form, "Filter").filter_map(of).collect()
}

fn launch(form: &BTreeMap<String, String>, region: &str) -> Launch {
    let get = |key: &str| form.get(key).cloned();
    let is = |key: &str| form.get(key).is_some_and(|word| word == "true");
    let interface = "NetworkInterface.1";
    let specifications = numbered(form, "TagSpecification");
    let of = |at: String| Some((form.get(&format!("{at}.ResourceType"))?.clone(), tags(form, &format!("{at}.Tag"))));
    Launch {
        region: region.to_owned(),
        token: get("ClientToken").unwrap_or_default(),
        image: get("ImageId").unwrap_or_default(),
        kind: get("InstanceType").unwrap_or_default(),
        subnet: get("SubnetId").or_else(|| get(&format!("{interface}.SubnetId"))),
        user_data: STANDARD
            .decode(get("UserData").unwrap_or_default())
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default(),
        tags: specifications.filter_map(of).collect(),
        shutdown_terminates: get("InstanceInitiatedShutdownBehavior").as_deref() == Some("terminate"),
        credits: get("CreditSpecification.CpuCredits"),
        tokens_required: get("MetadataOptions.HttpTokens").as_deref() == Some("required"),
        profile: get("IamInstanceProfile.Name"),
        interface_goes: is(&format!("{interface}.DeleteOnTermination")),
        public_address: is(&format!("{interface}.AssociatePublicIpAddress")),
        metadata_on: get("MetadataOptions.HttpEndpoint").map(|word| word == "enabled"),
        metadata_hops: get("MetadataOptions.HttpPutResponseHopLimit").and_then(|hops| hops.parse().ok()),
        disk: get("BlockDeviceMapping.1.DeviceName").map(|device| Disk {
            device,
            gb: get("BlockDeviceMapping.1.Ebs.VolumeSize").and_then(|gb| gb.parse().ok()),
            kind: get("BlockDeviceMapping.1.Ebs.VolumeType"),
            encrypted: is("BlockDeviceMapping.1.Ebs.Encrypted"),
            goes: is("BlockDeviceMapping.1.Ebs.DeleteOnTermination"),
        }),
        dry_run: is("DryRun"),
    }
}

/// The region that a signature is for.
fn region(request: &Request) -> String {
    let signature =
        request.headers().iter().find(|h| h.field.equiv("Authorization")).map(|h| h.value.to_string()).unwrap_or_default();
    signature.split_once("Credential=").and_then(|(_, rest)| rest.split('/').nth(2)).unwrap_or("nowhere").to_owned()
}

fn answer(shared: &Shared, mut request: Request) {
    let mut body = String::new();
    let _ = request.as_reader().take(1 << 20).read_to_string(&mut body);
    if let Some(other) = instance_side::answer(shared, &request, &body) {
        let _ = request.respond(other);
        return;
    }
    if request.url() == "/state" {
        let _ = request.respond(Response::from_string(serde_json::to_string(&shared.state()).unwrap_or_default()).boxed());
        return;
    }
    let region = region(&request);
    match ec2(shared, &region, &form(&body)) {
        Ok(text) => respond(request, 200, text),
        Err(Refused::Said(status, code, message)) => respond(request, status, xml::error(&code, &message)),
        // The connection is closed without a byte.
        Err(Refused::NoAnswer) => drop(request.into_writer()),
    }
}

fn respond(request: Request, status: u16, text: String) {
    let header = Header::from_bytes("Content-Type", "text/xml;charset=UTF-8").expect("a header");
    let _ = request.respond(Response::from_string(text).with_status_code(status).with_header(header));
}

fn ec2(shared: &Shared, region: &str, form: &BTreeMap<String, String>) -> Result<String, Refused> {
    let get = |key: &str| form.get(key).map(String::as_str);
    let action = get("Action").unwrap_or_default();
    let mut model = held(&shared.model);
    model.advance(now());
    let page = get("NextToken");
    let id = |keys: &[&str]| keys.iter().find_map(|key| get(key)).unwrap_or_default().to_owned();
    Ok(match action {
        "RunInstances" => {
            let launch = launch(form, region);
            let before = model.instances.len();
            let launched = model.run_instances(&launch);
            // What was launched runs, whether or not the answer arrives.
            if model.instances.len() > before {
                let id = model.instances.keys().next_back().cloned().unwrap_or_default();
                drop(model);
                shared.launch(&id, &launch.user_data);
            }
            xml::answer(action, &format!("<instancesSet>{}</instancesSet>", xml::instance(&launched?)))
        }
        "DescribeInstances" => {
            let (items, next) = model.describe_instances(region, &filters(form), page)?;
            let each = |i| format!("<item><instancesSet>{}</instancesSet></item>", xml::instance(i));
            xml::answer(action, &xml::list("reservationSet", &items.iter().map(each).collect::<String>(), next))
        }
        "DescribeVolumes" | "DescribeNetworkInterfaces" => {
            let (kind, name) = if action == "DescribeVolumes" { ("vol", "volumeSet") } else { ("eni", "networkInterfaceSet") };
            let (items, next) = model.describe_things(kind, region, &filters(form), page)?;
            xml::answer(action, &xml::list(name, &items.iter().map(|thing| xml::thing(kind, thing)).collect::<String>(), next))
        }
        "TerminateInstances" => {
            model.terminate(region, &id(&["InstanceId.1"]))?;
            xml::answer(action, "<instancesSet/>")
        }
        "DeleteVolume" | "DeleteNetworkInterface" => {
            model.delete(region, &id(&["VolumeId", "NetworkInterfaceId"]))?;
            xml::answer(action, "<return>true</return>")
        }
        "CreateTags" => {
            model.create_tags(region, &id(&["ResourceId.1"]), &tags(form, "Tag"))?;
            xml::answer(action, "<return>true</return>")
        }
        // STS: whoever is known may take any role.
        "AssumeRole" => {
            model.calls.push((action.to_owned(), region.to_owned()));
            xml::role("ASIAROLE")
        }
        other => return Err(Refused::Said(400, "InvalidAction".into(), format!("{other} is not played"))),
    })
}
