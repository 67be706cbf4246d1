//! Vantages that a provider brought up, until they are taken down: by whoever is done with them, else when this is dropped.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use provider::{Ask, Caps, Join, Line, Order, Reach, Request, Settings, Vantage, Wanted};

use records::run::Provided;
use repro::Scenario;
use repro::vantages::Kind;
use settings::words::visible;
use vantage::Leave;
use vantage::ssh::Ssh;

use crate::args::{Most, Nats, Run};
use crate::fleets::Reached;
use crate::handed_over;
use crate::providing::{NotProvided, Program, findable, settings_of};
use crate::saying::aside;
use crate::vantage_verbs::agent;

type Failure = Box<dyn std::error::Error>;

/// What is wanted of a provider.
pub(crate) struct Raising<'a> {
    pub(crate) program: Program,
    pub(crate) settings: Settings,
    /// Whose they are.
    pub(crate) run: String,
    /// This order of it: no other of the run is taken down with it.
    pub(crate) order: String,
    pub(crate) vantages: Vec<Wanted>,
    pub(crate) most: &'a Most,
    pub(crate) nats: &'a Nats,
}

/// Vantages that are there, or may be.
pub(crate) struct Raised {
    program: Program,
    settings: Settings,
    run: String,
    order: String,
    /// They are somebody else's to take down.
    kept: bool,
    pub(crate) vantages: Vec<Vantage>,
}

impl Raising<'_> {
    /// The request for them.
    pub(crate) fn request(&self, dry_run: bool) -> Result<(Request, Caps), Failure> {
        let Most { lifetime, max_instances, max_hours, max_cost, ref agent_nats, .. } = *self.most;
        let caps = Caps { instances: max_instances, hours: max_hours, usd: max_cost };
        let vantages = u32::try_from(self.vantages.len()).unwrap_or(u32::MAX);
        caps.bear(vantages, 0, lifetime.as_secs_f64() / 3600.0, 0.0)?;
        let join = match agent_nats.as_ref().or(self.nats.nats.as_ref()) {
            None => Join::Ssh,
            Some(url) => {
                let read = |path: &std::path::PathBuf| {
                    std::fs::read_to_string(path).map_err(|e| format!("--nats-ca {}: {e}", path.display()))
                };
                Join::Nats { url: url.clone(), ca: self.nats.nats_ca.as_ref().map(read).transpose()? }
            }
        };
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        let expires_at = now + lifetime.as_secs();
        let (run, order, vantages) = (self.run.clone(), Some(self.order.clone()), self.vantages.clone());
        let order = Order { run, order, expires_at, caps, join, vantages };
        Ok((Request::new(Ask::Up(order), dry_run, self.settings.clone()), caps))
    }

    /// Brings them up and waits until those of a fleet have joined it. What began is taken down if not all of them do.
    pub(crate) fn up(self, fleet: &Reached, stop: &AtomicBool, heard: &mut dyn FnMut(&Line)) -> Result<Raised, Failure> {
        let (request, caps) = self.request(false)?;
        let present = fleet.present()?;
        if let Some(taken) = self.vantages.iter().filter_map(|wanted| wanted.agent.as_ref()).find(|name| present.contains(name)) {
            return Err(format!(
                "an agent {taken} is in the fleet already and would be taken for what is brought up: name another (--name; in a scenario, \
                 `host` of the vantage), or take that one down"
            )
            .into());
        }
        let Raising { program, settings, run, order, .. } = self;
        let mut raised = Raised { program, settings, run, order, kept: false, vantages: Vec::new() };
        handed_over::begins(&raised.run, &raised.order, &raised.program, raised.request_down(), stop)
            .map_err(|e| format!("signals cannot be heard, so nothing was brought up: {e}"))?;
        let mut there = Vec::new();
        let done = raised.program.ask(&request, Some(caps), stop, &mut |line| {
            if let Line::Vantage(vantage) = line {
                there.push(vantage.clone());
            }
            heard(line);
        });
        // What a provider began and left, or says nothing of, is taken down where `raised` is dropped.
        if matches!(&done, Err(NotProvided::Wrong(wrong)) if wrong.left.is_empty()) {
            raised.keep();
        }
        done?;
        for wanted in &self.vantages {
            let found = there.iter().find(|vantage| vantage.name == wanted.name && vantage.reach.is_some());
            let vantage =
                found.ok_or_else(|| format!("the provider {} did not say where {} is", raised.program.name, wanted.name))?;
            raised.vantages.push(vantage.clone());
        }
        for vantage in &raised.vantages {
            if let Some(Reach::Fleet { agent }) = &vantage.reach {
                let what = format!("waiting until {agent} joins the fleet");
                heard(&Line::Progress { what, done: None, of: None });
                fleet.await_agent(agent, self.most.join_within, stop).map_err(|why| {
                    format!(
                        "{} ({}) runs and does not join as {agent}: {why}; its console tells why (docs/ec2.md, \"When it does not join\")",
                        vantage.name, vantage.id
                    )
                })?;
            }
        }
        Ok(raised)
    }
}

impl Raised {
    /// They stay until somebody else takes them down.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
        handed_over::ended(&self.order);
    }

    fn request_down(&self) -> Request {
        let ask = Ask::Down { run: self.run.clone(), order: Some(self.order.clone()) };
        Request::new(ask, false, self.settings.clone())
    }

    /// Takes them down.
    pub(crate) fn down(&mut self) -> Result<(), NotProvided> {
        self.kept = true;
        // Although we were told to stop.
        self.program.ask(&self.request_down(), None, &AtomicBool::new(false), &mut |line| {
            if let Line::Gone { id } = line {
                aside(format_args!("{}: {id} is gone", self.program.name));
            }
        })?;
        handed_over::ended(&self.order);
        Ok(())
    }
}

/// Brings up the vantages of a scenario that a provider has to bring up, and puts what is there in their place; those of one provider and the
/// same settings are one order.
pub(crate) fn raised_for(
    args: &Run,
    scenario: &mut Scenario,
    fleet: &Reached,
    stop: &AtomicBool,
) -> Result<Vec<(Raised, Vec<Provided>)>, Failure> {
    let mut orders: Vec<(String, Settings, Vec<Wanted>)> = Vec::new();
    for spec in &scenario.vantages {
        let Some(by) = spec.provided_by() else { continue };
        let file = settings_of(&Program::find(by)?.name, args.settings.as_deref(), &[])?;
        let mut settings = file.clone();
        settings.extend(spec.settings.clone());
        findable(&file, &settings)?;
        let named = spec.host.as_ref().unwrap_or(&spec.name);
        let wanted = Wanted { name: spec.name.clone(), agent: agent(named, args.nats.nats.is_some()) };
        match orders.iter_mut().find(|(of, with, _)| of == by && *with == settings) {
            Some((_, _, all)) => all.push(wanted),
            None => orders.push((by.to_owned(), settings, vec![wanted])),
        }
    }
    let mut raisings = Vec::new();
    for (n, (by, settings, vantages)) in orders.into_iter().enumerate() {
        let (program, run) = (Program::find(&by)?, run_id(&format!("{}-{n}", scenario.name)));
        let (order, most, nats) = (provider::fresh(), &args.most, &args.nats);
        raisings.push((by, Raising { program, settings, run, order, vantages, most, nats }));
    }
    if raisings.len() > 1 {
        together(&raisings, stop)?;
    }
    let mut all = Vec::new();
    for (by, raising) in raisings {
        let mut last = String::new();
        let raised = raising.up(fleet, stop, &mut |line| {
            if let Some(said) = said(line).filter(|said| *said != last) {
                aside(format_args!("{by}: {}", visible(&said)));
                last = said;
            }
        })?;
        let mut provided = Vec::new();
        for vantage in &raised.vantages {
            let facts = vantage.facts.clone().into();
            provided.push(Provided { vantage: vantage.name.clone(), provider: by.clone(), id: vantage.id.clone(), facts });
            let Some(spec) = scenario.vantages.iter_mut().find(|spec| spec.name == vantage.name) else { continue };
            match &vantage.reach {
                Some(Reach::Fleet { agent }) => spec.provided(Kind::Fleet, agent.clone()),
                Some(Reach::Ssh { host }) => {
                    aside(format_args!("{by}: waiting until {} takes ssh", visible(host)));
                    // It runs, and starts its services only now.
                    let ssh = Ssh { host: host.clone(), keep: false, leave: Leave { load: false, capture: false } };
                    ssh.await_host(&vantage.name, args.most.join_within, stop)?;
                    spec.provided(Kind::Ssh, host.clone());
                }
                None => {}
            }
        }
        all.push((raised, provided));
    }
    Ok(all)
}

/// That several orders cost no more together than one may, by their providers' own prices: before the first begins.
fn together(all: &[(String, Raising<'_>)], stop: &AtomicBool) -> Result<(), Failure> {
    let (mut sum, mut vantages) = (0.0, 0);
    for (by, raising) in all {
        let (request, caps) = raising.request(true)?;
        let mut price = 0.0;
        raising.program.ask(&request, Some(caps), stop, &mut |line| {
            if let Line::Price { usd, what, .. } = line {
                price = *usd;
                aside(format_args!("{by}: at most ${usd:.2}: {}", visible(what)));
            }
        })?;
        sum += price;
        vantages += u32::try_from(raising.vantages.len()).unwrap_or(u32::MAX);
        caps.bear(vantages, 0, 0.0, sum)?;
    }
    aside(format_args!("{} orders: at most ${sum:.2} together", all.len()));
    Ok(())
}

impl Drop for Raised {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        aside(format_args!("{}: taking down {}", self.program.name, self.run));
        if let Err(error) = self.down() {
            aside(format_args!("whostalled: {error}"));
        }
    }
}

/// A name for whose something is, which sorts by time.
pub(crate) fn run_id(of: &str) -> String {
    format!("{}-{of}-{}", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S"), std::process::id())
}

/// What a provider says, for people, on standard error.
pub(crate) fn said(line: &Line) -> Option<String> {
    Some(match line {
        Line::Progress { what, done: Some(done), of: Some(of) } => format!("{what}: {done:.1} of {of:.1}"),
        Line::Progress { what, .. } => what.clone(),
        Line::Price { usd, usd_per_hour, what } => format!("at most ${usd:.2} (${usd_per_hour:.4} an hour): {what}"),
        Line::Vantage(vantage) => shown(vantage),
        Line::Marked { id, why } => format!("{id}: {why}"),
        Line::Gone { id } => format!("{id} is gone"),
        Line::Done | Line::Failed(_) => return None,
    })
}

fn shown(vantage: &Vantage) -> String {
    let Vantage { name, run, id, state, reach, expires_at, usd_per_hour, facts } = vantage;
    let mut all = vec![format!("{name}  {id}  {state}  run {run}")];
    all.extend(match reach {
        Some(Reach::Fleet { agent }) => Some(format!("fleet:{agent}")),
        Some(Reach::Ssh { host }) => Some(format!("ssh:{host}")),
        None => None,
    });
    let end = expires_at.and_then(|end| jiff::Timestamp::from_second(i64::try_from(end).ok()?).ok());
    all.extend(end.map(|end| format!("until {}", end.strftime("%Y-%m-%d %H:%M:%SZ"))));
    all.extend(usd_per_hour.map(|usd| format!("${usd:.4} an hour")));
    let told_to_burn = facts.get("credits").and_then(|credits| credits.get("told_to_burn_minutes"));
    let facts: BTreeMap<&String, String> =
        facts.iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect();
    all.extend(["type", "zone"].iter().filter_map(|key| facts.get(&(*key).to_owned()).cloned()));
    all.extend(told_to_burn.map(|minutes| format!("told to burn its credits for {minutes} min")));
    all.join("  ")
}
