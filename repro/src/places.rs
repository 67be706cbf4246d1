//! A scenario without a file, and a file's scenario elsewhere: URLs, and vantages by where they are.
//!
//! ```text
//! https://login.example.com/  --control https://www.example.net/  --vantage ssh:box  ─► Scenario
//! overloaded-client.toml      --target https://login.example.com/ --vantage ssh:box  ─► the same scenario there
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use agent::ClientSpec;
use analysis::judging::run::Role;

use crate::Error;
use crate::duration::Length;
use crate::faults::{CpuQuota, Fault};
use crate::scenario::{Bearable, Scenario, VantageSpec};
use crate::targets::{RealTarget, ServerKind, TargetSpec};
use crate::vantages::{Kind, RecorderAt};

/// Rounds of a run that nobody said more of: enough to tell one slow handshake from slow handshakes.
const ROUNDS: u32 = 4;

/// Where a vantage is, as people write it: `here`, `ssh:HOST`, `fleet:AGENT`, `ec2:REGION/TYPE`, or one of them behind `NAME=`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    name: Option<String>,
    kind: Kind,
    host: Option<String>,
    /// Of a provider.
    settings: BTreeMap<String, serde_json::Value>,
}

/// What is no [`Place`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no place for a vantage: write here, ssh:HOST, fleet:AGENT, ec2:REGION/TYPE, or NAME= before one of them")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (name, place) = match text.split_once('=') {
            Some((name, place)) => (Some(name.to_owned()), place),
            None => (None, text),
        };
        let at = |kind, host: Option<&str>| Self {
            name: name.clone(),
            kind,
            host: host.map(str::to_owned),
            settings: BTreeMap::new(),
        };
        match place.split_once(':') {
            None if place == "here" => Ok(at(Kind::Here, None)),
            None if place == "ec2" => Ok(at(Kind::Ec2, None)),
            // As ssh(1) and git take a host with a port; other places have no such form.
            Some(("ssh", host)) if host.strip_prefix("//").is_some_and(|host| !host.is_empty()) => Ok(at(Kind::Ssh, Some(place))),
            Some(("ssh", host)) if !host.is_empty() => Ok(at(Kind::Ssh, Some(host))),
            Some(("fleet", agent)) if !agent.is_empty() => Ok(at(Kind::Fleet, Some(agent))),
            Some(("ec2", what)) if !what.is_empty() => {
                let (region, kind) = what.split_once('/').map_or((what, None), |(region, kind)| (region, Some(kind)));
                let named = [("region", Some(region)), ("type", kind)];
                let settings = named.into_iter().filter_map(|(key, word)| Some((key.to_owned(), word?.into()))).collect();
                Ok(Self { settings, ..at(Kind::Ec2, None) })
            }
            _ => Err(NoPlace(text.to_owned())),
        }
    }
}

impl Place {
    /// Each agent of a fleet that this means, by whoever knows: a name, a group, or `*`. Other places mean themselves.
    ///
    /// # Errors
    /// Those of `meant`; if several are to have one name.
    pub fn each<E: From<Error>>(self, meant: impl FnOnce(&str) -> Result<Vec<String>, E>) -> Result<Vec<Self>, E> {
        let Some(pattern) = self.host.as_deref().filter(|_| self.kind == Kind::Fleet) else { return Ok(vec![self]) };
        let agents = meant(pattern)?;
        match (&self.name, agents.as_slice()) {
            (Some(name), [_, _, ..]) => {
                let what = format!("--vantage {name}=fleet:{pattern}: {} agents cannot have one name", agents.len());
                Err(Error::Scenario(what).into())
            }
            _ => Ok(agents.into_iter().map(|agent| Self { host: Some(agent), ..self.clone() }).collect()),
        }
    }

    /// This host.
    pub fn here() -> Self {
        Self { name: None, kind: Kind::Here, host: None, settings: BTreeMap::new() }
    }

    fn vantage(self) -> VantageSpec {
        let of_host = |host: &String| {
            let host = host.strip_prefix("ssh://").unwrap_or(host);
            let bare = host.rsplit('@').next().unwrap_or(host).trim_start_matches('[');
            bare.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' }).collect()
        };
        let otherwise = if self.kind == Kind::Ec2 { "ec2" } else { "here" };
        let name = self.name.or_else(|| self.host.as_ref().map(of_host)).unwrap_or_else(|| otherwise.into());
        VantageSpec { name, kind: self.kind, host: self.host, keep: false, provider: None, settings: self.settings }
    }
}

/// A target in place of one of a scenario's: `NAME=URL`, or a URL alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instead {
    name: Option<String>,
    url: RealTarget,
}

impl FromStr for Instead {
    type Err = crate::targets::NoTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A URL may hold `=` too: behind the name comes its scheme.
        match text.split_once('=') {
            Some((name, url)) if url.starts_with("https://") && !name.contains("://") => {
                Ok(Self { name: Some(name.to_owned()), url: url.parse()? })
            }
            _ => Ok(Self { name: None, url: text.parse()? }),
        }
    }
}

/// Where a scenario's vantages and targets are to be instead.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Vantages.
    pub vantages: Vec<Place>,
    /// Targets; one without a name stands for the only one in role `edge`.
    pub targets: Vec<Instead>,
    /// Targets for the only one in role `control`.
    pub controls: Vec<RealTarget>,
    /// Root certificates that clients trust at these targets.
    pub ca: Option<PathBuf>,
}

/// What a run without a file is made of.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The accused.
    pub targets: Vec<RealTarget>,
    /// Targets to compare with.
    pub controls: Vec<RealTarget>,
    /// Where clients run; none: here.
    pub vantages: Vec<Place>,
    /// The client.
    pub client: ClientSpec,
    /// CPUs that all clients of a vantage get together; absent: all.
    pub cpus: Option<f64>,
    /// Root certificates that clients trust.
    pub ca: Option<PathBuf>,
    /// Recorders that watch at the targets, in the targets' order.
    pub recorders: Vec<RecorderAt>,
    /// How much targets may be asked to bear.
    pub bearable: Bearable,
}

impl Scenario {
    /// The scenario of URLs, to be checked by [`Scenario::with`], whose settings may keep a limit.
    ///
    /// # Errors
    /// If it is none.
    pub fn of_urls(wanted: Wanted) -> Result<Self, Error> {
        let Wanted { targets, controls, vantages, client, cpus, ca, recorders, bearable } = wanted;
        let first = targets.first().ok_or_else(|| Error::Scenario("name a target: https://host/".into()))?;
        let name = first.name();
        let target = |(role, url): (Role, RealTarget)| TargetSpec { ca: ca.clone(), ..real(url.name(), role, url) };
        if recorders.len() > targets.len() {
            return Err(Error::Scenario(
                "there are more recorders than targets: name each behind the target that it watches".into(),
            ));
        }
        let edges = targets.iter().cloned().map(|url| (Role::Edge, url));
        let mut places = vantages;
        if places.is_empty() {
            places.push(Place::here());
        }
        // On one host there may be several; an agent that is named twice is one.
        let keeps = |place: &Place| place.name.is_some() || place.kind == Kind::Fleet;
        let mut taken: BTreeSet<String> =
            places.iter().filter(|place| keeps(place)).map(|place| place.clone().vantage().name).collect();
        let apart_from = |taken: &mut BTreeSet<String>, place: Place| {
            let (keeps_its_name, mut spec) = (keeps(&place), place.vantage());
            if !keeps_its_name {
                spec.name = free(&spec.name, &|name| taken.contains(name));
                taken.insert(spec.name.clone());
            }
            spec
        };
        let vantages: Vec<VantageSpec> = places.into_iter().map(|place| apart_from(&mut taken, place)).collect();
        let loads = vantages.iter().filter_map(|v| {
            let quota = CpuQuota { on: v.name.clone(), cpus: cpus?, burners: 0 };
            Some((format!("load-{}", v.name), Fault::CpuQuota(quota)))
        });
        let mut scenario = Self {
            description: format!("{} from {}", first, vantages.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ")),
            name,
            seed: 1,
            rounds: ROUNDS,
            baseline_rounds: 0,
            together: false,
            offloads: true,
            bearable,
            client,
            faults: loads.collect::<BTreeMap<_, _>>(),
            targets: edges.chain(controls.into_iter().map(|url| (Role::Control, url))).map(target).collect(),
            vantages,
            expect: None,
        };
        for (target, recorder) in scenario.targets.iter_mut().zip(recorders) {
            target.recorder = Some(recorder);
        }
        apart(&mut scenario.targets);
        scenario.name.truncate(100);
        Ok(scenario)
    }

    /// Puts its vantages and targets elsewhere: a place or a URL without a name stands for the only one there is.
    ///
    /// # Errors
    /// If that is not clear, or the scenario has no such vantage or target.
    pub fn relocate(&mut self, elsewhere: Elsewhere) -> Result<(), Error> {
        let Elsewhere { vantages, targets, controls, ca } = elsewhere;
        for place in vantages {
            let names: Vec<String> = self.vantages.iter().map(|v| v.name.clone()).collect();
            let at = which("vantage", place.name.as_deref(), &names)?;
            self.vantages[at] = VantageSpec { name: names[at].clone(), ..place.vantage() };
        }
        let of_role = |scenario: &Self, role| -> Vec<usize> {
            (0..scenario.targets.len()).filter(|i| scenario.targets[*i].role == role).collect()
        };
        let controls = controls.into_iter().map(|url| (Role::Control, Instead { name: None, url }));
        for (role, Instead { name, url }) in targets.into_iter().map(|t| (Role::Edge, t)).chain(controls) {
            let among: Vec<usize> = if name.is_some() { (0..self.targets.len()).collect() } else { of_role(self, role) };
            let names: Vec<String> = among.iter().map(|i| self.targets[*i].name.clone()).collect();
            let at = among[which("target", name.as_deref(), &names)?];
            let old = &self.targets[at];
            self.targets[at] = TargetSpec { ca: ca.clone(), ..real(old.name.clone(), old.role, url) };
        }
        self.check().map_err(|wrong| Error::Scenario(wrong.what))
    }

    /// Puts each agent of a fleet in place of the vantage that means several: a group, or `*`.
    ///
    /// # Errors
    /// Those of `meant`; if a fault is on such a vantage, or a name would be there twice.
    pub fn each_agent<E: From<Error>>(&mut self, meant: impl Fn(&str) -> Result<Vec<String>, E>) -> Result<(), E> {
        let mut vantages = Vec::new();
        for spec in std::mem::take(&mut self.vantages) {
            if spec.kind != Kind::Fleet {
                vantages.push(spec);
                continue;
            }
            let pattern = spec.host.clone().unwrap_or_else(|| spec.name.clone());
            let agents = meant(&pattern)?;
            if agents == [pattern] {
                vantages.push(spec);
            } else {
                vantages.extend(agents.into_iter().map(|agent| VantageSpec { name: agent, host: None, ..spec.clone() }));
            }
        }
        self.vantages = vantages;
        self.check().map_err(|wrong| Error::Scenario(wrong.what).into())
    }

    /// The scenario as a file.
    ///
    /// # Errors
    /// If it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|e| Error::Scenario(e.to_string()))
    }
}

/// Numbers those of one name: several paths of one host, a control beside the accused on the same port.
fn apart(targets: &mut [TargetSpec]) {
    for i in 1..targets.len() {
        let (before, rest) = targets.split_at_mut(i);
        let taken = |name: &str| before.iter().any(|target| target.name == name);
        rest[0].name = free(&rest[0].name, &taken);
    }
}

/// A name, with a number where it is taken.
fn free(name: &str, taken: &dyn Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

fn which(what: &str, name: Option<&str>, names: &[String]) -> Result<usize, Error> {
    let known = names.join(", ");
    match (name, names) {
        (Some(name), _) => names
            .iter()
            .position(|n| n == name)
            .ok_or_else(|| Error::Scenario(format!("--{what} {name}=…: the scenario has no such {what}; it has {known}"))),
        (None, [_]) => Ok(0),
        (None, []) => Err(Error::Scenario(format!("the scenario has no {what} whose place that could be"))),
        (None, _) => Err(Error::Scenario(format!("which {what} is it? The scenario has {known}: write NAME=…"))),
    }
}

fn real(name: String, role: Role, url: RealTarget) -> TargetSpec {
    TargetSpec {
        name,
        role,
        url: Some(url),
        address: None,
        ca: None,
        recorder: None,
        server: ServerKind::default(),
        rtt: Length::millis(40),
        jitter: Length::default(),
        baseline_rtt: None,
        chain_bytes: None,
        hello_retry: false,
        client_certificate: false,
        before_tls: None,
        nodelay: true,
        command: Vec::new(),
        processes: Vec::new(),
        files: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use agent::ClientKind;

    use super::*;

    fn url(text: &str) -> RealTarget {
        text.parse().expect("it is a target")
    }

    fn place(text: &str) -> Place {
        text.parse().expect("it is a place")
    }

    fn wanted() -> Wanted {
        Wanted {
            targets: vec![url("https://login.example.com/")],
            controls: vec![url("https://www.example.net:8443/x")],
            vantages: vec![place("here"), place("ssh:me@customer box")],
            client: ClientSpec::new(ClientKind::Probe),
            cpus: Some(0.4),
            ca: None,
            recorders: vec!["ssh:edge-7:/run/c.sock".parse().expect("it is one")],
            bearable: Bearable::default(),
        }
    }

    #[test]
    fn a_url_is_a_scenario_that_a_file_can_hold() {
        let scenario = Scenario::of_urls(wanted()).expect("it is one");
        let names: Vec<&str> = scenario.vantages.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["here", "customer-box"]);
        assert_eq!(scenario.faults.len(), 2, "the load is on both");
        let text = scenario.to_toml().expect("it can be written");
        let again = Scenario::parse("saved.toml", &text, &[]).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(again.to_toml().expect("it can be written"), text);
        assert_eq!(again.targets[1].url, Some(url("https://www.example.net:8443/x")));
    }

    #[test]
    fn vantages_on_one_host_have_names_of_their_own() {
        let vantages = ["ssh:a@box", "ssh://b@box:2223", "box-2=here", "ssh:b@box", "ssh:[fd77::2]"].map(place).to_vec();
        let scenario = Scenario::of_urls(Wanted { vantages, cpus: None, ..wanted() }).expect("it is one");
        let names: Vec<&str> = scenario.vantages.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["box", "box-2223", "box-2", "box-3", "fd77--2-"]);
        assert_eq!(scenario.vantages[1].host.as_deref(), Some("ssh://b@box:2223"));
    }

    #[test]
    fn an_agent_that_is_named_twice_is_no_two_vantages() {
        let of = |places: &[&str]| {
            let vantages = places.iter().map(|text| place(text)).collect();
            Scenario::of_urls(Wanted { vantages, cpus: None, ..wanted() }).and_then(|scenario| scenario.with("x", &[]))
        };
        let twice = of(&["fleet:fra", "fleet:fra"]).expect_err("it would be opened twice").to_string();
        assert!(twice.contains("\"fra\""), "{twice}");
        let names = of(&["ssh:fra", "fleet:fra"]).map(|s| s.vantages.iter().map(|v| v.name.clone()).collect::<Vec<_>>());
        assert_eq!(names.expect("they are two"), ["fra-2", "fra"]);
    }

    #[test]
    fn targets_on_one_host_and_port_have_names_of_their_own() {
        let targets = ["https://a.example/x", "https://a.example/y"].map(url).to_vec();
        let controls = vec![url("https://b.example/x"), url("https://b.example/y")];
        let wanted = Wanted { targets, controls, recorders: Vec::new(), ..wanted() };
        let scenario = Scenario::of_urls(wanted).expect("it is one");
        let names: Vec<&str> = scenario.targets.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a.example", "a.example-2", "b.example", "b.example-2"]);
    }

    #[test]
    fn a_setting_reaches_a_host_whose_name_has_dots() {
        let text = Scenario::of_urls(wanted()).expect("it is one").to_toml().expect("it can be written");
        let set = |setting: &str| Scenario::parse("saved.toml", &text, &[setting.to_owned()]);
        let scenario = set("target.login.example.com.baseline_rtt=40ms").expect("there is such a target");
        assert_eq!(scenario.targets[0].baseline_rtt, Some(Length::millis(40)));
        assert!(scenario.targets[1].baseline_rtt.is_none());
        assert!(set("target.login.example.co.baseline_rtt=40ms").is_err(), "a part of a name is none");
    }

    #[test]
    fn what_a_run_of_urls_may_be_is_no_labs_measure() {
        let long = format!("https://{}.elb.us-east-1.amazonaws.com/", "k8s-production-ingress-".repeat(2) + "0123456789abcde");
        let vantages = (0..70).map(|n| place(&format!("n{n}=ssh:h{n}"))).collect();
        let bearable = Bearable { handshakes: 10_000, ..Bearable::default() };
        let many = Wanted { targets: vec![url(&long)], vantages, cpus: None, recorders: Vec::new(), bearable, ..wanted() };
        let scenario = Scenario::of_urls(many).and_then(|scenario| scenario.with("x", &[]));
        let scenario = scenario.expect("a host's name has 253 bytes, and there may be many hosts");
        assert!(scenario.targets[0].name.len() > 63 && scenario.vantages.len() == 70);

        let error = Scenario::of_urls(Wanted { controls: vec![url("https://login.example.com/other")], ..wanted() });
        let error = error.and_then(|scenario| scenario.with("x", &[])).expect_err("it would be compared with itself").to_string();
        assert!(error.contains("is the target") && !error.contains("line"), "{error}");
    }

    #[test]
    fn a_scenario_moves_with_its_load() {
        let text = "name = \"x\"\n[client]\nkind = \"probe\"\n[[vantage]]\nname = \"t2\"\n[[target]]\nname = \"edge\"\nrole = \"edge\"\n\
                    [[target]]\nname = \"other\"\nrole = \"control\"\nserver = \"nginx\"\n[faults.q]\nkind = \"cpu_quota\"\non = \"t2\"\ncpus = 0.4\n";
        let mut scenario = Scenario::parse("x.toml", text, &[]).expect("it is valid");
        let there = |s: &str| s.parse::<Instead>().expect("it is a target");
        let moved = scenario.clone().relocate(Elsewhere {
            vantages: vec![place("ssh:box")],
            targets: vec![there("https://a.example/")],
            ..Elsewhere::default()
        });
        assert!(moved.expect_err("the control is the lab's").to_string().contains("other"));
        let all = vec![there("edge=https://a.example/?q=1"), there("other=https://b.example/")];
        let elsewhere = Elsewhere { vantages: vec![place("t2=ssh:box")], targets: all, ..Elsewhere::default() };
        scenario.relocate(elsewhere).expect("it moves");
        assert_eq!((scenario.vantages[0].name.as_str(), scenario.vantages[0].kind), ("t2", Kind::Ssh));
        assert_eq!(scenario.targets[0].url.as_ref().map(RealTarget::path).as_deref(), Some("/?q=1"));
        assert!(scenario.targets[1].role == Role::Control && scenario.faults.len() == 1);
    }

    #[test]
    fn what_the_lab_alone_can_do_stays_there() {
        let text = "name = \"x\"\n[client]\nkind = \"probe\"\n[[vantage]]\nname = \"a\"\n[[target]]\nname = \"edge\"\nrole = \"edge\"\n\
                    [faults.d]\nkind = \"detour\"\nto = \"edge\"\nextra_rtt = \"80ms\"\n";
        let mut scenario = Scenario::parse("x.toml", text, &[]).expect("it is valid");
        let targets = vec!["https://a.example/".parse().expect("it is a target")];
        let elsewhere = Elsewhere { vantages: vec![place("here")], targets, ..Elsewhere::default() };
        let error = scenario.relocate(elsewhere).expect_err("a detour needs the wire").to_string();
        assert!(error.contains("faults.d") && error.contains("only the lab"), "{error}");
    }

    #[test]
    fn a_group_is_each_of_its_agents() {
        let meant = |pattern: &str| {
            Ok::<_, Error>(if pattern == "eu" { vec!["ams".to_owned(), "fra".into()] } else { vec![pattern.into()] })
        };
        let shown = |text: &str| {
            let places = place(text).each(meant)?;
            Ok::<_, Error>(
                places
                    .into_iter()
                    .map(|p| p.vantage())
                    .map(|v| format!("{}={}", v.name, v.host.unwrap_or_default()))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(shown("fleet:eu").expect("two"), ["ams=ams", "fra=fra"]);
        assert_eq!(shown("x=fleet:fra").expect("one"), ["x=fra"]);
        assert_eq!(shown("ssh:eu").expect("another kind"), ["eu=eu"]);
        assert!(shown("x=fleet:eu").expect_err("two").to_string().contains("2 agents"));

        let text = |fault: &str| {
            format!(
                "name = \"x\"\n[client]\nkind = \"probe\"\n[[vantage]]\nname = \"eu\"\nkind = \"fleet\"\n\
                     [[target]]\nname = \"edge\"\nrole = \"edge\"\nurl = \"https://a.example/\"\n{fault}"
            )
        };
        let parse = |fault: &str| Scenario::parse("x.toml", &text(fault), &[]).expect("it is valid");
        let mut scenario = parse("");
        scenario.each_agent(meant).expect("they are there");
        assert_eq!(scenario.vantages.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["ams", "fra"]);
        let loaded = parse("[faults.q]\nkind = \"cpu_quota\"\non = \"eu\"\ncpus = 0.4\n").each_agent(meant);
        let error = loaded.expect_err("on which of them?").to_string();
        assert!(error.contains("eu"), "{error}");
    }

    #[test]
    fn what_is_no_place_is_said() {
        let ec2 = place("t2=ec2:eu-central-1/t2.medium").vantage();
        assert_eq!((ec2.name.as_str(), ec2.provided_by()), ("t2", Some("ec2")));
        assert_eq!(ec2.settings["type"], "t2.medium");
        assert_eq!(place("ec2").vantage().name, "ec2");
        for text in ["lab", "ssh:", "x=", "ftp:box", "fleet:", "ec2:", ""] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
