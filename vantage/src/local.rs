//! This host as a vantage.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use agent::{Bundle, ClientEnd, Clock, ClockError, Go, Hello, Permits, Plan, Ready, Spin};
use analysis::wire::packet::{LinkType, Transport, decode};
use capture::Captured;
use capture::live::Live;
use lab::cpu::Hierarchy;
use lab::exec::Placement;
use lab::sample::Sampler;
use lab::scratch::Scratch;

use crate::clients::{Clients, Place};
use crate::interfaces::{Tap, listen, may_listen};
use crate::load::InForce;
use crate::spin::spin;
use crate::{Error, Vantage, host, packets};

/// Bytes before a DNS message's first question.
const DNS_HEADER: usize = 12;

/// What whoever started a vantage leaves to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leave {
    /// It may take CPU from its own clients, as plans say.
    pub load: bool,
    /// It may capture packets, where the host permits it.
    pub capture: bool,
}

/// This host. Dropping it ends clients, captures and loads, and removes its files.
pub struct Local {
    name: String,
    leave: Leave,
    clock: Clock,
    /// How long the loop took when nothing of a run was going on.
    spin: Spin,
    sampler: Sampler,
    clients: Clients,
    /// The port that is captured on, and the captures.
    taps: Option<(u16, Vec<Tap>)>,
    no_packets: Option<String>,
    load: Option<InForce>,
    roots: Option<PathBuf>,
    scratch: Scratch,
}

impl Local {
    /// This host under a name of the run's.
    ///
    /// # Errors
    /// If it has no room for temporary files.
    pub fn new(name: &str, leave: Leave) -> Result<Self, Error> {
        let no_packets = if leave.capture { may_listen().err() } else { Some("the run was told to do without".into()) };
        Ok(Self {
            name: name.to_owned(),
            leave,
            clock: host::clock(ClockError::Unknown),
            spin: spin(),
            sampler: Sampler::start(),
            clients: Clients::default(),
            taps: None,
            no_packets,
            load: None,
            roots: None,
            scratch: Scratch::make()?,
        })
    }

    fn place(&self) -> Place<'_> {
        let mut placement = Placement::default();
        if let Some(load) = &self.load {
            load.place(&mut placement);
        }
        let (sampler, roots) = (&self.sampler, self.roots.clone());
        Place { host: &self.name, placement, sampler, scratch: self.scratch.path(), roots }
    }

    /// Captures on `port` from now on, where that is permitted.
    fn tap(&mut self, port: u16) {
        if self.no_packets.is_some() {
            return;
        }
        if self.taps.as_ref().is_none_or(|(tapped, _)| *tapped != port) {
            self.taps = None;
            match listen(port) {
                Ok(taps) => self.taps = Some((port, taps)),
                Err(why) => self.no_packets = Some(why),
            }
        }
        for live in self.lives() {
            live.drain();
        }
    }

    fn lives(&self) -> impl Iterator<Item = &Live> {
        self.taps.iter().flat_map(|(_, taps)| taps).map(|tap| &tap.live)
    }

    /// Brings about the load of a plan, and takes off that of the one before.
    fn load(&mut self, plan: &Plan) -> Result<(), Error> {
        if self.load.as_ref().map(|load| load.load) == plan.load {
            return Ok(());
        }
        self.load = None;
        if let Some(load) = plan.load {
            if !self.leave.load {
                let what = "it was started without leave to take CPU from its clients (--allow-load)".into();
                return Err(Error::Refused { host: self.name.clone(), what });
            }
            self.load = Some(InForce::bring(&self.name, load)?);
        }
        Ok(())
    }

    /// Writes the roots that a plan's clients trust.
    fn roots(&mut self, plan: &Plan) -> Result<(), Error> {
        self.roots = None;
        let Some(roots) = plan.clients.as_ref().and_then(|clients| clients.to.roots.as_ref()) else { return Ok(()) };
        let path = self.scratch.path().join("roots.pem");
        std::fs::write(&path, roots).map_err(|source| Error::Write { path: path.display().to_string(), source })?;
        self.roots = Some(path);
        Ok(())
    }
}

impl Vantage for Local {
    fn hello(&self) -> Hello {
        let permits = Permits {
            quotas: self.leave.load && Hierarchy::detect().is_some(),
            real_time: false,
            no_packets: self.no_packets.clone(),
        };
        Hello { spin: Some(self.spin), ..host::hello(&self.name, self.clock.clone(), permits) }
    }

    fn shares_clock(&self) -> bool {
        true
    }

    fn prepare(&mut self, plan: &Plan, stop: &AtomicBool) -> Result<Ready, Error> {
        // An agent lives long, and hosts clean their temporary files.
        self.scratch.be_there()?;
        self.load(plan)?;
        self.roots(plan)?;
        if let Some(clients) = &plan.clients {
            self.tap(clients.to.port);
        }
        let losses = packets::losses(self.lives());
        let mut clients = std::mem::take(&mut self.clients);
        let count = clients.prepare(&self.place(), plan, stop);
        self.clients = clients;
        Ok(Ready { batch: plan.batch, clients: count?, losses })
    }

    fn go(&mut self, go: Go, stop: &AtomicBool) -> Result<(), Error> {
        self.clients.go(go, stop)
    }

    fn collect(&mut self, stop: &AtomicBool) -> Result<Bundle, Error> {
        let mut clients = std::mem::take(&mut self.clients);
        let ends = clients.collect(&self.place(), stop);
        self.clients = clients;
        let ends = ends?;
        let name = self.clients.destination().map(|to| to.name.clone()).unwrap_or_default();
        let ours = |link: LinkType, frame: &Captured| is_ours(link, frame, &ends, &name);
        let captures: Vec<(&str, &Live)> =
            self.taps.iter().flat_map(|(_, taps)| taps).map(|tap| (tap.name.as_str(), &tap.live)).collect();
        let frames = packets::take(&self.name, &captures, &ours)?;
        let losses = packets::losses(self.lives());
        let gave_up = self.load.as_ref().and_then(|load| load.gave_up.clone()).into_iter().chain(unseen(&self.name, &ends));
        let gave_up = gave_up.collect();
        Ok(Bundle {
            batch: self.clients.batch(),
            gave_up,
            clients: ends,
            frames,
            server: None,
            log: Vec::new(),
            losses,
            late_ns: self.clients.late(),
            clock: self.clock.clone(),
            spin: Some(spin()),
        })
    }
}

/// That clients did what they were to do and no connection of theirs was noticed, so that neither they nor their packets count.
fn unseen(host: &str, ends: &[ClientEnd]) -> Option<String> {
    let unseen = |end: &ClientEnd| end.code == Some(0) && end.said_port().is_none() && end.trace.ports.is_empty();
    ends.iter().any(unseen).then(|| {
        format!(
            "clients at {host} ended before it was seen which connections were theirs, the quickest first: what is said is of the others \
             (a command that says `local_port` in JSON, as curl does, is always seen)"
        )
    })
}

/// Whether a frame belongs to the run: to a connection of its clients, or to a lookup of the name they call. What else passes on a host is
/// nobody's business.
fn is_ours(link: LinkType, frame: &Captured, clients: &[ClientEnd], name: &str) -> bool {
    let port = |port: u16| clients.iter().any(|client| client.has_port(port));
    match decode(link, &frame.bytes) {
        Ok(Transport::Tcp(segment)) => port(segment.source().port()) || port(segment.destination().port()),
        Ok(Transport::Udp(datagram)) => asks_for(datagram.payload, name),
        _ => false,
    }
}

/// Whether a DNS message asks for `name`, or answers that: its labels begin the question, each behind its length, right behind the header
/// (RFC 1035, sections 3.1 and 4.1). More may follow, as where a resolver tries a search list (resolv.conf(5)); names below it are others'.
fn asks_for(message: &[u8], name: &str) -> bool {
    let mut labels = Vec::with_capacity(name.len() + 1);
    for label in name.trim_end_matches('.').split('.') {
        labels.push(u8::try_from(label.len()).unwrap_or(0));
        labels.extend(label.to_ascii_lowercase().bytes());
    }
    let question = message.get(DNS_HEADER..).and_then(|question| question.get(..labels.len()));
    !name.is_empty() && question.is_some_and(|question| question.eq_ignore_ascii_case(&labels))
}

#[cfg(test)]
mod tests {
    use agent::{ClientKind, ClientSpec, Destination};

    use super::*;

    #[test]
    fn a_vantage_survives_the_cleaning_of_temporary_files() {
        let go_on = AtomicBool::new(false);
        let mut local = Local::new("cleaned", Leave { load: false, capture: false }).expect("there is room");
        let to = Destination { roots: Some("of a test".into()), ..Destination::new("a.test", 9) };
        let client = ClientSpec { command: vec!["true".into()], ..ClientSpec::new(ClientKind::Command) };
        let clients = agent::Clients { client, to, pauses: Vec::new(), stops: None, settle: Default::default(), distrust: false };
        for batch in 1..=2 {
            std::fs::remove_dir_all(local.scratch.path()).expect("it is there");
            let plan = Plan { batch, clients: Some(clients.clone()), load: None };
            assert_eq!(local.prepare(&plan, &go_on).expect("it is made anew").clients, 1);
            local.go(Go { at: None }, &go_on).expect("nobody stops it");
            assert_eq!(local.collect(&go_on).expect("a bundle").clients[0].code, Some(0));
        }
        let scratch = local.scratch.path().to_owned();
        drop(local);
        assert!(!scratch.exists());
    }

    #[test]
    fn clients_of_which_nothing_was_seen_are_said() {
        let end = |code: i32, said: serde_json::Value, ports: &[u16]| ClientEnd {
            pid: 1,
            code: Some(code),
            timed_out: false,
            said,
            complained: String::new(),
            trace: agent::Trace { ports: ports.iter().map(|port| (*port, true)).collect(), ..Default::default() },
        };
        let nothing = || "".into();
        let told = serde_json::json!({ "local_port": 40_000 });
        assert_eq!(unseen("box", &[end(0, nothing(), &[40_000]), end(0, told, &[]), end(1, nothing(), &[])]), None);
        let said = unseen("box", &[end(0, nothing(), &[40_000]), end(0, nothing(), &[])]).expect("one of two");
        assert!(said.contains("box"), "{said}");
    }

    #[test]
    fn a_lookup_of_the_name_is_told_from_others() {
        let question = |labels: &[&str]| {
            let mut message = vec![0; 12];
            for label in labels {
                message.push(label.len() as u8);
                message.extend(label.bytes());
            }
            message.push(0);
            message
        };
        assert!(asks_for(&question(&["login", "Example", "com"]), "login.example.com"));
        assert!(asks_for(&question(&["login", "example", "com"]), "login.example.com."));
        assert!(asks_for(&question(&["login", "corp", "example"]), "login"), "by a search list");
        assert!(!asks_for(&question(&["mail", "example", "com"]), "login.example.com"));
        assert!(!asks_for(&question(&["payroll", "login", "example", "com"]), "login.example.com"), "somebody else's");
        assert!(!asks_for(&[], "login.example.com") && !asks_for(&[1, 2, 3], ""));
    }
}
