//! What a run gathers, batch by batch, and what becomes of it at the end: verdicts, records, the run folder.

use std::collections::{BTreeMap, BTreeSet};

use agent::Losses;
use analysis::clock::{Instant, Span};
use lab::truth::Injected;
use records::FORMAT;
use records::handshake::HandshakeRecord;
use records::lanes::Stamped;
use records::run::{Best, ClientEnded, Expectation, Footing, Manifest, RunRecord, SpinEvent, Starts};

use crate::Error;
use crate::batch::{Batch, Start};
use crate::failures::{Failed, Failures};
use crate::folder::Folder;
use crate::judge::{Evidence, Measured, distributions, judge_all, record, share_what_was_learned};
use crate::manifest::timed;
use crate::run::{Outcome, Page};
use crate::scenario::{OneOrMore, Scenario};
use crate::seen::Seen;
use crate::vantages::Facts;

/// A run is void if the wire sent more than this share of its packets late …
const MOST_LATE: f64 = 0.02;

/// With fewer, one value alone would be the 99th percentile.
const ENOUGH_FOR_P99: usize = 100;

/// What a run has gathered so far.
pub(crate) struct Gathered {
    pub(crate) footing: Footing,
    measured: Vec<Measured>,
    pub(crate) truth: Vec<Injected>,
    /// What each host's capture had lost when it was last heard of.
    pub(crate) losses: BTreeMap<String, Losses>,
    /// Targets at which somebody watches.
    watched: BTreeSet<String>,
    /// How late clients started that were to start with others.
    starts: Vec<Start>,
    failures: Failures,
    /// Clients that did what they were to do.
    succeeded: u64,
}

impl Gathered {
    /// Nothing yet, but what was known before the first batch.
    pub(crate) fn new(footing: Footing, truth: Vec<Injected>, watched: BTreeSet<String>) -> Self {
        Self {
            footing,
            measured: Vec::new(),
            truth,
            losses: BTreeMap::new(),
            watched,
            starts: Vec::new(),
            failures: Failures::default(),
            succeeded: 0,
        }
    }

    /// Whether anybody watches at a target.
    fn is_watched(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Whether a handshake was seen from both ends.
    fn has_both(&self, measured: &Measured) -> bool {
        self.watched.contains(&measured.target) && measured.seen.is_seen_at_edge()
    }

    #[allow(clippy::too_many_arguments)] // one call, each a different thing
    /// Takes what a batch yielded, and writes it down.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn take(
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
            self.failures.note(vantage, target, client);
            let agent::ClientEnd { pid, code, timed_out, said, complained, trace: _ } = client.clone();
            let (event, vantage, target) = (ClientEnded::EVENT.to_owned(), vantage.to_owned(), target.to_owned());
            let ended = ClientEnded { event, round, vantage, target, pid, code, timed_out, said, complained };
            folder.append("events.ndjson", &ended)?;
        }
        if let Some(spin) = batch.spin {
            let (event, vantage, target) = (SpinEvent::EVENT.to_owned(), vantage.to_owned(), target.to_owned());
            let stolen_ms = batch.stolen.map(Span::millis);
            folder.append("events.ndjson", &SpinEvent { event, round, vantage, target, spin: timed(spin), stolen_ms })?;
        }
        self.starts.extend(batch.start);
        self.losses.extend(batch.losses);
        for what in batch.gave_up {
            if !self.footing.gave_up.contains(&what) {
                self.footing.gave_up.push(what);
            }
        }
        self.footing.clients += batch.clients.len() as u64;
        self.succeeded += batch.clients.iter().filter(|client| client.code == Some(0)).count() as u64;
        self.footing.clients_timed_out += batch.clients.iter().filter(|c| c.timed_out).count() as u64;
        self.footing.captured += batch.frames.len() as u64;
        let begun = self.measured.len();
        for seen in batch.seen {
            let client = batch.clients.iter().find(|client| seen.is_of(client));
            let (succeeded, failed) = (client.map(|client| client.code == Some(0)), client.and_then(Failed::of));
            let said = client.filter(|client| client.said_port() == Some(seen.client().port())).map(|client| &client.said);
            let (client_app, client_kernel) = said.map(reported).unwrap_or_default();
            injected.extend(said.and_then(|s| paused(s, seen.client())));
            let one_way = batch.edge_ahead.and_then(|ahead| seen.one_way(ahead));
            self.measured.push(Measured {
                id: self.measured.len() as u64 + 1,
                round,
                vantage: vantage.to_owned(),
                target: target.to_owned(),
                seen,
                one_way,
                succeeded,
                failed,
                client_app,
                client_kernel,
            });
        }
        share_what_was_learned(&mut self.measured);
        // Provisional: what this batch alone says. The run's own baselines come at the end.
        let all = judge_all(scenario, &self.measured[begun..], Evidence::All, &|_, _| true);
        for (measured, judged) in self.measured[begun..].iter().zip(all.handshakes) {
            folder.append("handshakes.ndjson", &record(measured, judged, None, self.has_both(measured)))?;
        }
        for one in &injected {
            folder.append("truth.ndjson", one)?;
        }
        self.truth.extend(injected);
        Ok(())
    }

    /// Judges all of it and writes the rest of the folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn finish(
        mut self,
        facts: Facts,
        lost: &BTreeSet<String>,
        folder: Folder,
        scenario: &Scenario,
        manifest: &Manifest<&Scenario>,
        page: &Page<'_>,
    ) -> Result<Outcome, Error> {
        self.footing.starts = starts(&self.starts);
        self.footing.capture_lost = self.losses.values().map(Losses::lost).sum();
        if let Some(wire) = facts.lateness {
            self.footing.wire_forwarded = wire.forwarded;
            self.footing.wire_late = wire.late;
            self.footing.wire_worst_ms = wire.worst_ns as f64 / 1e6;
            self.footing.wire_real_time = wire.real_time;
        }
        self.footing.stolen_ms = facts.stolen.millis();
        self.footing.gave_up.extend(facts.gave_up);
        // A real host's capture may lose packets of others: what it lost is a fact of each handshake.
        self.footing.void = facts.lateness.and_then(|_| void(&self.footing));

        // A vantage that was never there has no cells; where clients ran and nothing was seen of them, that is said of the cell.
        let measured = |vantage: &str| !lost.contains(vantage) || self.measured.iter().any(|m| m.vantage == vantage);
        let all = judge_all(scenario, &self.measured, Evidence::All, &|vantage, _| measured(vantage));
        // In the lab, what the edge's capture does not show has not reached it; a recorder may just not have found it.
        let both = self.is_watched() && (scenario.in_lab() || self.measured.iter().any(|m| self.has_both(m)));
        if self.is_watched() && !both && !self.measured.is_empty() {
            let what = "somebody watches at the target, but no handshake was seen from both ends: that takes packets at the clients' end too";
            self.footing.gave_up.push(what.into());
        }
        let edge = both.then(|| {
            let seen = |vantage: &str, target: &str| measured(vantage) && self.watched.contains(target);
            judge_all(scenario, &self.measured, Evidence::EdgeOnly, &seen)
        });
        let (phases, histograms) = distributions(&all);
        let of_edge = |i: usize| edge.as_ref().and_then(|edge| edge.handshakes[i].clone());
        let record_of =
            |(i, (m, judged)): (usize, (&Measured, &Option<_>))| record(m, judged.clone(), of_edge(i), self.has_both(m));
        let handshakes: Vec<HandshakeRecord> = self.measured.iter().zip(&all.handshakes).enumerate().map(record_of).collect();
        let expectations = expectations(scenario, &all.verdict, edge.as_ref().map(|edge| &edge.verdict), both);
        let (edge_only, edge_sentences) = edge.map_or((None, Vec::new()), |edge| (Some(edge.verdict), edge.sentences));
        let run = RunRecord {
            format: FORMAT,
            run_id: manifest.run_id.clone(),
            scenario: scenario.name.clone(),
            description: scenario.description.clone(),
            started: manifest.started.clone(),
            kernel: manifest.kernel.clone(),
            best: if both { Best::BothEnds(all.verdict) } else { Best::ClientOnly(all.verdict) },
            edge_only,
            sentences: all.sentences,
            edge_sentences,
            phases,
            failed: std::mem::take(&mut self.failures).into_records(),
            footing: std::mem::take(&mut self.footing),
            expectations,
        };
        folder.lines("handshakes.ndjson", &handshakes)?;
        folder.histograms(&histograms)?;
        folder.json("verdict.json", &run)?;
        folder.write("report.html", page(&run, &handshakes, &self.truth_lines()).as_bytes())?;
        let path = folder.path.clone();
        folder.finish(&self.losses)?;
        Ok(Outcome { record: run, handshakes, succeeded: self.succeeded, truth: self.truth, folder: path })
    }

    fn truth_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.truth.iter().filter(|t| t.client.is_none()).map(|t| t.what.clone()).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

/// Quantiles of how late clients started; absent where none were to start together.
fn starts(all: &[Start]) -> Option<Starts> {
    let mut late: Vec<Span> = all.iter().map(|start| start.late).collect();
    late.sort_unstable();
    let worst = late.last()?.millis();
    // The least value below which so many of a hundred lie.
    let quantile = |percent: usize| late[(late.len() * percent).div_ceil(100).saturating_sub(1)].millis();
    Some(Starts {
        n: late.len() as u64,
        p50_ms: quantile(50),
        p99_ms: (late.len() >= ENOUGH_FOR_P99).then(|| quantile(99)),
        worst_ms: worst,
        clock_error_ms: all.iter().filter_map(|start| start.clock_error).max().map(Span::millis),
    })
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
