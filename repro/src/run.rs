//! One run from start to verdict: plans out to the ends of each cell, bundles back, judged, written down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use agent::{Destination, Hello, Losses};
use analysis::clock::Instant;
use lab::rootless::Privilege;
use lab::truth::Injected;
use records::FORMAT;
use records::handshake::HandshakeRecord;
use records::lanes::Stamped;
use records::run::{Best, ClientEnded, ClockAhead, Expectation, Footing, Manifest, RunRecord};
use vantage::Vantage;

use crate::Error;
use crate::batch::{self, Batch, Cell, Order};
use crate::conditions::Conditions;
use crate::folder::Folder;
use crate::judge::{Evidence, Measured, distributions, judge_all, record};
use crate::manifest::{manifest, run_id};
use crate::scenario::{OneOrMore, Scenario};
use crate::seen::Seen;
use crate::targets::TargetSpec;
use crate::vantages::{Facts, Opening, Provider, open};

/// A run is void if the wire sent more than this share of its packets late …
const MOST_LATE: f64 = 0.02;

/// Renders a page: the run, its handshakes, what was injected.
pub type Page<'a> = dyn Fn(&RunRecord, &[HandshakeRecord], &[String]) -> String + 'a;

/// How to run.
pub struct RunOptions<'a> {
    /// Where run folders go.
    pub results: PathBuf,
    /// What this process may do in the lab.
    pub privilege: Privilege,
    /// Do without packets, where the hosts are real.
    pub no_capture: bool,
    /// Set to stop.
    pub interrupted: &'a AtomicBool,
    /// Told how far the run is: (what, done, of how many).
    pub progress: &'a dyn Fn(&str, u64, u64),
    /// Renders `report.html`.
    pub page: &'a Page<'a>,
}

/// What a run gives back.
pub struct Outcome {
    /// The run.
    pub record: RunRecord,
    /// Its handshakes.
    pub handshakes: Vec<HandshakeRecord>,
    /// What was injected.
    pub truth: Vec<Injected>,
    /// Where everything lies.
    pub folder: PathBuf,
}

/// Runs a scenario.
///
/// # Errors
/// Harness failures only; what was measured until then is in the run folder.
pub fn run(scenario: &Scenario, options: &RunOptions<'_>) -> Result<Outcome, Error> {
    let run_id = run_id(&scenario.name);
    let cells: u64 = (scenario.vantages.len() * scenario.targets.len()) as u64;
    let total = cells * u64::from(scenario.rounds);
    (options.progress)(if scenario.in_lab() { "building the lab" } else { "reaching the vantages" }, 0, total);
    let conditions = Conditions::of(scenario, scenario.faults.values());
    let (privilege, no_capture) = (options.privilege, options.no_capture);
    let provider = open(scenario, &conditions, Opening { privilege, no_capture, interrupted: options.interrupted })?;
    let mut ends = Ends::of(provider.as_ref(), scenario)?;
    let names = scenario.vantages.iter().map(|v| &v.name).chain(scenario.targets.iter().map(|t| &t.name));
    let hosts = if scenario.in_lab() { names.cloned().collect() } else { Vec::new() };
    let mut folder = Folder::create(options.results.join(&run_id), &scenario.name, hosts)?;
    let manifest = manifest(&run_id, scenario, &ends.hello, ends.clocks.clone());
    folder.json("run.json", &manifest)?;

    let truth: Vec<Injected> = scenario.faults.values().filter_map(|fault| fault.kind().truth()).collect();
    let footing = Footing { gave_up: ends.gave_up.clone(), missing: ends.missing.clone(), ..Footing::default() };
    let watched = ends.watched();
    let mut state = State { footing, measured: Vec::new(), truth, losses: BTreeMap::new(), watched };
    for injected in &state.truth {
        folder.append("truth.ndjson", injected)?;
    }
    let mut done = 0;
    let measured = (|| {
        for round in 0..scenario.rounds {
            for (vantage, target) in order(scenario, round) {
                (options.progress)(&format!("round {}: {vantage} → {}", round + 1, target.name), done, total);
                let clients = batch::clients(scenario, &conditions, vantage, target, ends.destination(target)?);
                let load = conditions.loads.get(vantage).filter(|_| provider.plans_load()).copied();
                let first_packet = folder.next_packet();
                done += 1;
                let Some(cell) = ends.cell(vantage, target)? else { continue };
                match batch::run(cell, Order { batch: done, clients, load, first_packet }, options.interrupted) {
                    Ok(batch) => state.take(&mut folder, scenario, round + 1, vantage, &target.name, batch, provider.truth())?,
                    Err(Error::Vantage(error)) if provider.goes_on() => {
                        state.footing.missing.push(format!("from round {}: {error}", round + 1));
                        ends.lose(vantage)?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    })();
    if let Err(error) = measured {
        folder.finish(&state.losses)?;
        return Err(error);
    }
    let facts = provider.facts();
    drop(ends);
    drop(provider);
    (options.progress)("judging", done, total);
    state.finish(facts, folder, scenario, &manifest, options.page)
}

/// All ends of a run.
struct Ends<'p> {
    /// What the first vantage said.
    hello: Hello,
    vantages: BTreeMap<String, Box<dyn Vantage + 'p>>,
    edges: BTreeMap<String, (Destination, Option<Box<dyn Vantage + 'p>>)>,
    /// Clocks of other hosts.
    clocks: Vec<ClockAhead>,
    /// What vantages said that they must do without.
    gave_up: Vec<String>,
    /// Vantages that are not there, and why.
    missing: Vec<String>,
}

impl<'p> Ends<'p> {
    fn of(provider: &'p dyn Provider, scenario: &Scenario) -> Result<Self, Error> {
        let (mut first, mut clocks, mut gave_up, mut missing) = (None, Vec::new(), Vec::new(), Vec::new());
        let mut vantages = BTreeMap::new();
        for spec in &scenario.vantages {
            let vantage = match provider.vantage(&spec.name) {
                Ok(vantage) => vantage,
                Err(Error::Vantage(error)) if provider.goes_on() => {
                    missing.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let hello = vantage.hello();
            hello.check().map_err(vantage::Error::from)?;
            clocks.extend(vantage.ahead().map(|ahead| ClockAhead {
                vantage: spec.name.clone(),
                ahead_ms: ahead.ns as f64 / 1e6,
                error_ms: ahead.error_ns as f64 / 1e6,
            }));
            gave_up.extend(hello.permits.no_packets.as_ref().map(|why| format!("no packets at {}: {why}", spec.name)));
            first.get_or_insert(hello);
            vantages.insert(spec.name.clone(), vantage);
        }
        let mut edges = BTreeMap::new();
        for target in &scenario.targets {
            let edge = provider.edge(&target.name)?;
            edge.as_ref().map_or(Ok(()), |edge| edge.hello().check()).map_err(vantage::Error::from)?;
            edges.insert(target.name.clone(), (provider.destination(&target.name)?, edge));
        }
        let Some(hello) = first else { return Err(Error::NoVantage(missing)) };
        Ok(Self { hello, vantages, edges, clocks, gave_up, missing })
    }

    /// Whether anybody watches at a target.
    fn watched(&self) -> bool {
        self.edges.values().any(|(_, edge)| edge.is_some())
    }

    /// A vantage is gone.
    fn lose(&mut self, name: &str) -> Result<(), Error> {
        self.vantages.remove(name);
        if self.vantages.is_empty() { Err(Error::NoVantage(vec![format!("{name} is gone")])) } else { Ok(()) }
    }

    fn destination(&self, target: &TargetSpec) -> Result<&Destination, Error> {
        self.edges.get(&target.name).map(|(to, _)| to).ok_or_else(|| missing(&target.name))
    }

    /// Absent if its vantage is not there, or no longer.
    fn cell<'a>(&'a mut self, name: &'a str, target: &'a TargetSpec) -> Result<Option<Cell<'a, 'p>>, Error> {
        let Some(vantage) = self.vantages.get_mut(name) else { return Ok(None) };
        let (_, edge) = self.edges.get_mut(&target.name).ok_or_else(|| missing(&target.name))?;
        Ok(Some(Cell { name, vantage: vantage.as_mut(), target, edge: edge.as_deref_mut() }))
    }
}

fn missing(name: &str) -> Error {
    Error::NoHost(name.to_owned())
}

/// The cells of one round; each round begins with another cell, so that no cell is always first.
fn order(scenario: &Scenario, round: u32) -> Vec<(&str, &TargetSpec)> {
    let mut cells: Vec<_> =
        scenario.vantages.iter().flat_map(|v| scenario.targets.iter().map(|t| (v.name.as_str(), t))).collect();
    let shift = round as usize % cells.len();
    cells.rotate_left(shift);
    cells
}

struct State {
    footing: Footing,
    measured: Vec<Measured>,
    truth: Vec<Injected>,
    /// What each host's capture had lost when it was last heard of.
    losses: BTreeMap<String, Losses>,
    /// Whether anybody watched at a target.
    watched: bool,
}

impl State {
    #[allow(clippy::too_many_arguments)] // one call, each a different thing
    fn take(
        &mut self,
        folder: &mut Folder,
        scenario: &Scenario,
        round: u32,
        vantage: &str,
        target: &str,
        batch: Batch,
        mut injected: Vec<Injected>,
    ) -> Result<(), Error> {
        let notes: Vec<(u64, String)> = batch.seen.iter().flat_map(Seen::comments).collect();
        folder.frames(&batch.frames, &notes)?;
        for client in &batch.clients {
            let agent::ClientEnd { pid, code, timed_out, said, complained, trace: _ } = client.clone();
            let (event, vantage, target) = (ClientEnded::EVENT.to_owned(), vantage.to_owned(), target.to_owned());
            let ended = ClientEnded { event, round, vantage, target, pid, code, timed_out, said, complained };
            folder.append("events.ndjson", &ended)?;
        }
        self.losses.extend(batch.losses);
        for what in batch.gave_up {
            if !self.footing.gave_up.contains(&what) {
                self.footing.gave_up.push(what);
            }
        }
        self.footing.clients += batch.clients.len() as u64;
        self.footing.clients_timed_out += batch.clients.iter().filter(|c| c.timed_out).count() as u64;
        self.footing.captured += batch.frames.len() as u64;
        let begun = self.measured.len();
        for seen in batch.seen {
            let said = batch.clients.iter().find(|c| c.said_port() == Some(seen.client().port())).map(|c| &c.said);
            let (client_app, client_kernel) = said.map(reported).unwrap_or_default();
            injected.extend(said.and_then(|s| paused(s, seen.client())));
            self.measured.push(Measured {
                id: self.measured.len() as u64 + 1,
                round,
                vantage: vantage.to_owned(),
                target: target.to_owned(),
                seen,
                client_app,
                client_kernel,
            });
        }
        // Provisional: what this batch alone says. The run's own baselines come at the end.
        let all = judge_all(scenario, &self.measured[begun..], Evidence::All);
        for (measured, judged) in self.measured[begun..].iter().zip(all.handshakes) {
            folder.append("handshakes.ndjson", &record(measured, judged, None, self.watched))?;
        }
        for one in &injected {
            folder.append("truth.ndjson", one)?;
        }
        self.truth.extend(injected);
        Ok(())
    }

    fn finish(
        mut self,
        facts: Facts,
        folder: Folder,
        scenario: &Scenario,
        manifest: &Manifest<&Scenario>,
        page: &Page<'_>,
    ) -> Result<Outcome, Error> {
        self.footing.capture_lost = self.losses.values().map(Losses::lost).sum();
        if let Some(wire) = facts.lateness {
            self.footing.wire_forwarded = wire.forwarded;
            self.footing.wire_late = wire.late;
            self.footing.wire_worst_ms = wire.worst_ns as f64 / 1e6;
            self.footing.wire_real_time = wire.real_time;
        }
        self.footing.stolen_ms = facts.stolen_ns as f64 / 1e6;
        self.footing.gave_up.extend(facts.gave_up);
        // A real host's capture may lose packets of others: what it lost is a fact of each handshake.
        self.footing.void = facts.lateness.and_then(|_| void(&self.footing));

        let all = judge_all(scenario, &self.measured, Evidence::All);
        let edge = self.watched.then(|| judge_all(scenario, &self.measured, Evidence::EdgeOnly));
        let (phases, histograms) = distributions(&all);
        let of_edge = |i: usize| edge.as_ref().and_then(|edge| edge.handshakes[i].clone());
        let record_of = |(i, (m, judged)): (usize, (&Measured, &Option<_>))| record(m, judged.clone(), of_edge(i), self.watched);
        let handshakes: Vec<HandshakeRecord> = self.measured.iter().zip(&all.handshakes).enumerate().map(record_of).collect();
        let expectations = expectations(scenario, &all.verdict, edge.as_ref().map(|edge| &edge.verdict), self.watched);
        let (edge_only, edge_sentences) = edge.map_or((None, Vec::new()), |edge| (Some(edge.verdict), edge.sentences));
        let run = RunRecord {
            format: FORMAT,
            run_id: manifest.run_id.clone(),
            scenario: scenario.name.clone(),
            description: scenario.description.clone(),
            started: manifest.started.clone(),
            kernel: manifest.kernel.clone(),
            best: if self.watched { Best::BothEnds(all.verdict) } else { Best::ClientOnly(all.verdict) },
            edge_only,
            sentences: all.sentences,
            edge_sentences,
            phases,
            footing: std::mem::take(&mut self.footing),
            expectations,
        };
        let lines: Vec<u8> = handshakes
            .iter()
            .filter_map(|h| serde_json::to_vec(h).ok())
            .flat_map(|mut line| {
                line.push(b'\n');
                line
            })
            .collect();
        folder.write("handshakes.ndjson", &lines)?;
        folder.histograms(&histograms)?;
        folder.json("verdict.json", &run)?;
        folder.write("report.html", page(&run, &handshakes, &self.truth_lines()).as_bytes())?;
        let path = folder.path.clone();
        folder.finish(&self.losses)?;
        Ok(Outcome { record: run, handshakes, truth: self.truth, folder: path })
    }

    fn truth_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.truth.iter().filter(|t| t.client.is_none()).map(|t| t.what.clone()).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

/// Why a run cannot be judged, if so.
fn void(footing: &Footing) -> Option<String> {
    let late = footing.wire_late as f64 / footing.wire_forwarded.max(1) as f64;
    if late > MOST_LATE {
        return Some(format!(
            "the wire sent {:.1} % of its packets over 2 ms late (worst {:.1} ms): run again on a quieter machine{}",
            late * 100.0,
            footing.wire_worst_ms,
            if footing.wire_real_time { "" } else { ", or as root" }
        ));
    }
    (footing.capture_lost > 0)
        .then(|| format!("the captures lost {} packets: run again on a quieter machine", footing.capture_lost))
}

fn expectations(
    scenario: &Scenario,
    all: &analysis::judging::run::RunVerdict,
    edge: Option<&analysis::judging::run::RunVerdict>,
    watched: bool,
) -> Vec<Expectation> {
    let Some(expect) = scenario.expect.as_ref().map(toml::Spanned::get_ref) else { return Vec::new() };
    let entry = |evidence: &str, labels: &OneOrMore, seen: String, held: bool| Expectation {
        evidence: evidence.into(),
        expected: labels.labels().into_iter().map(str::to_owned).collect(),
        seen,
        held,
    };
    let run = |evidence, labels: &OneOrMore, v: &analysis::judging::run::RunVerdict| {
        entry(evidence, labels, v.verdict.label(), labels.labels().iter().any(|l| v.verdict.is(l)))
    };
    let mut found = vec![run(if watched { "both ends" } else { "client only" }, &expect.verdict, all)];
    // What the edge alone would have said is asked only where somebody watched there.
    found.extend(expect.edge_only.as_ref().zip(edge).map(|(labels, edge)| run("edge only", labels, edge)));
    if let Some(labels) = &expect.control {
        for cell in all.cells.iter().filter(|c| c.role == analysis::judging::run::Role::Control) {
            let held = labels.labels().iter().any(|l| cell.verdict.is(l));
            found.push(entry(&format!("control {} → {}", cell.vantage, cell.target), labels, cell.verdict.label(), held));
        }
    }
    found
}

/// Milestones as our own client reports them: by its program, by its socket.
fn reported(said: &serde_json::Value) -> (Vec<Stamped>, Vec<Stamped>) {
    let at = |field: &str| said.get(field).and_then(serde_json::Value::as_i64);
    let pick = |fields: &[(&str, &str)]| -> Vec<Stamped> {
        fields.iter().filter_map(|(field, name)| at(field).map(|ns| ((*name).to_owned(), Instant::from_nanos(ns)))).collect()
    };
    let app = [
        ("dns_start", "dns_start"),
        ("dns_end", "dns_end"),
        ("connected", "syn_ack"),
        ("client_hello", "client_hello"),
        ("flight_read", "server_flight_end"),
        ("client_finished", "client_finished"),
    ];
    (pick(&app), pick(&[("flight_at_kernel", "server_flight_end")]))
}

/// What our own client says it slept because it was told to.
fn paused(said: &serde_json::Value, client: std::net::SocketAddr) -> Option<Injected> {
    let ms = said.get("paused_ms")?.as_f64().filter(|ms| *ms > 0.0)?;
    Some(Injected { client: Some(client), target: None, owner: "client_app".into(), ms: Some(ms), what: "slept as told".into() })
}
