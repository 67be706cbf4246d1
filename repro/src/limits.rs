//! What a scenario may ask for: names that exist, numbers that a machine can bear, words that can be shown.
//!
//! Every refusal names its place in the file.

use agent::{ClientKind, ClientSpec, MOST_CLIENTS};
use analysis::judging::run::Role;
use analysis::judging::vocabulary::Label;
use settings::Wrong;
use settings::words::{plain, plain_lines};
use toml::Spanned;

use crate::duration::Length;
use crate::scenario::{Bearable, OneOrMore, Scenario};
use crate::targets::{RealTarget, TargetSpec};
use crate::vantages::Kind;

/// Rounds of a run.
pub const MOST_ROUNDS: u32 = 10_000;
/// Hosts of a lab: each is a network namespace with a thread that captures.
const MOST_HOSTS: usize = 64;
/// Handshakes of a run: all of them are in memory at its end.
const MOST_HANDSHAKES: u64 = 1_000_000;
/// A longer round trip outlasts every client's patience.
pub(crate) const MOST_RTT: Length = Length::secs(60);
/// The longest client, and the longest fault.
pub(crate) const MOST_TIME: Length = Length::secs(600);
/// Bytes of a name: it is part of the run folder's.
const MOST_NAME: usize = 100;
/// Bytes of a name of the lab's, which is a label of a host's (RFC 1035, section 2.3.4), and of a real host's, with its port behind it.
const MOST_LABEL: usize = 63;
const MOST_HOST_NAME: usize = 260;

impl Scenario {
    /// Whether it can be run.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        self.check_words()?;
        self.check_numbers()?;
        check_client(&self.client).map_err(|wrong| wrong.within("client"))?;
        for (n, target) in self.targets.iter().enumerate() {
            target.check().map_err(|wrong| wrong.of(&format!("target {}", target.name)).within(n).within("target"))?;
        }
        for (n, target) in self.targets.iter().enumerate().filter(|_| self.client.kind != ClientKind::Probe) {
            let asked = [("before_tls", target.before_tls.is_some()), ("client_certificate", target.client_certificate)];
            if let Some((key, _)) = asked.iter().find(|(_, asked)| *asked) {
                let what = format!("`{key}` needs our own client: client.kind = \"probe\"");
                return Err(Wrong::at(key, what).within(n).within("target"));
            }
        }
        self.check_hosts()?;
        self.check_places()?;
        for (name, fault) in &self.faults {
            fault.check(self).map_err(|wrong| wrong.of(&format!("faults.{name}")).within(name.as_str()).within("faults"))?;
        }
        let Some(expect) = self.expect.as_ref().map(Spanned::get_ref) else { return Ok(()) };
        let labels = [Some(&expect.verdict), expect.edge_only.as_ref(), expect.control.as_ref()];
        labels.into_iter().flatten().flat_map(OneOrMore::labels).try_for_each(|label| {
            let no_verdict = |wrong| format!("expect: {label:?} is no verdict; see docs/verdicts.md: {wrong}");
            Label::check(label).map_err(|wrong| Wrong::at("expect", no_verdict(wrong)))
        })
    }

    fn check_words(&self) -> Result<(), Wrong> {
        let name = |what: String| Wrong::at("name", what);
        plain("the scenario's name", &self.name).map_err(|e| name(e.into()))?;
        let usable = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
        if self.name.trim().is_empty()
            || self.name.starts_with('.')
            || !self.name.chars().all(usable)
            || self.name.len() > MOST_NAME
        {
            return Err(name(format!(
                "the name {:?} becomes part of a folder's: letters, digits, spaces, `-`, `_` and `.`, at most {MOST_NAME} bytes, and \
                 no `.` at its beginning",
                self.name
            )));
        }
        plain_lines("the description", &self.description).map_err(|e| Wrong::at("description", e))?;
        for fault in self.faults.keys() {
            plain("the fault's name", fault).map_err(|e| Wrong::at(fault, e).within("faults"))?;
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Wrong> {
        for (key, none) in [("vantage", self.vantages.is_empty()), ("target", self.targets.is_empty())] {
            if none {
                return Err(Wrong::at(key, "a scenario needs at least one [[vantage]] and one [[target]]"));
            }
        }
        if self.in_lab() && self.vantages.len() + self.targets.len() > MOST_HOSTS {
            let key = if self.vantages.len() > self.targets.len() { "vantage" } else { "target" };
            return Err(Wrong::at(key, format!("a lab has at most {MOST_HOSTS} hosts: leave out vantages or targets")));
        }
        if !(1..=MOST_ROUNDS).contains(&self.rounds) {
            return Err(Wrong::at("rounds", format!("rounds = {}: from 1 to {MOST_ROUNDS}", self.rounds)));
        }
        if self.baseline_rounds > MOST_ROUNDS {
            return Err(Wrong::at(
                "baseline_rounds",
                format!("baseline_rounds = {}: at most {MOST_ROUNDS}", self.baseline_rounds),
            ));
        }
        if !(1..=MOST_CLIENTS).contains(&self.client.concurrency) {
            let what = format!("concurrency = {}: from 1 to {MOST_CLIENTS}, each is a process", self.client.concurrency);
            return Err(Wrong::at("concurrency", what).within("client"));
        }
        let cells = (self.vantages.len() * self.targets.len()) as u64;
        let all = cells * u64::from(self.all_rounds()) * self.client.concurrency as u64;
        let Bearable { clients, handshakes } = self.bearable;
        if !self.in_lab() && (self.client.concurrency > clients || all > handshakes) {
            let what = format!(
                "{} clients at once, {all} handshakes in all: real targets get {clients} and {handshakes} at most, unless `[bearable]` says \
                 more (clients, handshakes)",
                self.client.concurrency
            );
            return Err(Wrong::at("bearable", what));
        }
        if all > MOST_HANDSHAKES {
            let what = format!(
                "{cells} cells, {} rounds, {} clients: {all} handshakes, and a run has {MOST_HANDSHAKES} at most",
                self.all_rounds(),
                self.client.concurrency
            );
            return Err(Wrong::at("rounds", what));
        }
        Ok(())
    }

    fn check_hosts(&self) -> Result<(), Wrong> {
        let vantages = self.vantages.iter().enumerate().map(|(n, v)| ("vantage", n, v.name.as_str()));
        let targets = self.targets.iter().enumerate().map(|(n, t)| ("target", n, t.name.as_str()));
        let mut seen = Vec::new();
        for (kind, n, name) in vantages.chain(targets) {
            let wrong = |what: String| Wrong::at("name", what).within(n).within(kind);
            let dots = !self.in_lab();
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || dots && matches!(c, '.' | '_');
            let most = if dots { MOST_HOST_NAME } else { MOST_LABEL };
            if name.len() > most {
                return Err(wrong(format!("host name {name:?}: it has {} bytes, and {most} are the most", name.len())));
            }
            let usable = !name.is_empty() && name.chars().all(fits) && !name.starts_with('.');
            if !usable || self.in_lab() && name == "resolver" {
                let what = if dots { "`-`, `.` and `_`" } else { "`-`; \"resolver\" is the lab's own" };
                return Err(wrong(format!("host name {name:?}: use letters, digits and {what}")));
            }
            if seen.contains(&name) {
                return Err(wrong(format!("two hosts are called {name:?}")));
            }
            seen.push(name);
        }
        Ok(())
    }
}

impl Scenario {
    /// Whether its vantages can reach its targets, and its faults can be brought about there.
    fn check_places(&self) -> Result<(), Wrong> {
        for (n, vantage) in self.vantages.iter().enumerate() {
            let wrong = |key: &str, what: String| Err(Wrong::at(key, what).within(n).within("vantage"));
            if vantage.kind.is_lab() != self.in_lab() {
                let what = "the lab has no way out: its vantages and real ones cannot be in one run";
                return wrong("kind", format!("vantage {}: {what}", vantage.name));
            }
            let named = vantage.provider.is_some();
            if named != (vantage.kind == Kind::Provider) {
                let what = format!("vantage {}: `provider` is for the kind \"provider\", which needs it", vantage.name);
                return wrong(if named { "provider" } else { "kind" }, what);
            }
            if !vantage.settings.is_empty() && !vantage.kind.is_provided() {
                let what = format!("vantage {}: `settings` is for the kinds \"ec2\" and \"provider\"", vantage.name);
                return wrong("settings", what);
            }
            match (vantage.kind, &vantage.host) {
                (Kind::Ssh | Kind::Fleet | Kind::Ec2 | Kind::Provider, _) => {}
                (Kind::Lab | Kind::Here, Some(_)) => {
                    return wrong(
                        "host",
                        format!("vantage {}: `host` is for the kinds \"ssh\", \"fleet\", \"ec2\" and \"provider\"", vantage.name),
                    );
                }
                (Kind::Lab | Kind::Here, None) => {}
            }
        }
        for (n, target) in self.targets.iter().enumerate() {
            let what = match (self.in_lab(), &target.url) {
                (true, Some(_)) => {
                    "is real, and the lab has no way out: give the vantages kind = \"here\", \"ssh\", \"fleet\" or \"ec2\""
                }
                (false, None) => "is a server of the lab, which real vantages cannot reach: give it a `url`",
                (true, None) | (false, Some(_)) => continue,
            };
            return Err(Wrong::at("name", format!("target {} {what}", target.name)).within(n).within("target"));
        }
        self.check_controls()?;
        let elsewhere = self.faults.iter().find(|(_, fault)| !self.in_lab() && !fault.kind().anywhere(self));
        elsewhere.map_or(Ok(()), |(name, _)| {
            let what = format!("faults.{name}: only the lab can do that, and the hosts of this scenario are real");
            Err(Wrong::at(name.as_str(), what).within("faults"))
        })
    }
}

impl Scenario {
    /// Whether controls are others than the accused: one server twice tells nothing.
    fn check_controls(&self) -> Result<(), Wrong> {
        let real = |role| {
            let of_role = self.targets.iter().enumerate().filter(move |(_, target)| target.role == role);
            of_role.filter_map(|(n, target)| Some((n, target, target.url.as_ref()?)))
        };
        for (n, control, url) in real(Role::Control) {
            let same = |(_, edge, of_edge): &(usize, &TargetSpec, &RealTarget)| {
                (of_edge.host(), of_edge.port(), edge.address) == (url.host(), url.port(), control.address)
            };
            if let Some((_, edge, _)) = real(Role::Edge).find(same) {
                let what = format!("control {} is the target {} itself: compare with another server", control.name, edge.name);
                return Err(Wrong::at("url", what).within(n).within("target"));
            }
        }
        Ok(())
    }
}

fn check_client(client: &ClientSpec) -> Result<(), Wrong> {
    if client.kind == ClientKind::Command && client.command.is_empty() {
        return Err(Wrong::at("kind", "a client of kind \"command\" needs `command = [\"program\", …]`"));
    }
    let ours = [("resume", client.resume), ("nodelay", !client.nodelay)];
    if let (true, Some((key, _))) = (client.kind != ClientKind::Probe, ours.iter().find(|(_, told)| *told)) {
        return Err(Wrong::at(key, format!("`{key}` is for our own client: kind = \"probe\"")));
    }
    at_most("spread", client.spread, MOST_RTT)?;
    at_most("timeout", client.timeout, MOST_TIME)
}

/// Whether the length at `key` is one that a run can bear.
///
/// # Errors
/// If not.
pub(crate) fn at_most(key: &str, time: Length, most: Length) -> Result<(), Wrong> {
    if time <= most {
        Ok(())
    } else {
        Err(Wrong::at(key, format!("{key} is {} s: at most {} s", time.0.as_secs_f64(), most.0.as_secs())))
    }
}
