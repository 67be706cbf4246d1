//! One run from start to verdict.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use analysis::clock::Instant;
use lab::rootless::Privilege;
use lab::sample::steal;
use lab::truth::Injected;
use records::FORMAT;
use records::handshake::HandshakeRecord;
use records::lanes::{Stamped, comments};
use records::run::{ClientEnded, Expectation, Footing, Manifest, RunRecord};

use crate::Error;
use crate::batch::{self, Batch};
use crate::fault::{FaultKind, FaultSpec};
use crate::folder::Folder;
use crate::judge::{Evidence, Measured, distributions, judge_all, record};
use crate::scenario::{OneOrMore, Scenario};
use crate::stage::Stage;

/// A run is void if the wire sent more than this share of its packets late …
const MOST_LATE: f64 = 0.02;

/// How to run.
pub struct RunOptions<'a> {
    /// Where run folders go.
    pub results: PathBuf,
    /// What this process may do.
    pub privilege: Privilege,
    /// Set to stop.
    pub interrupted: &'a AtomicBool,
    /// Told how far the run is: (what, done, of how many).
    pub progress: &'a dyn Fn(&str, u64, u64),
    /// Renders `report.html`: the run, its handshakes, what was injected.
    pub page: &'a dyn Fn(&RunRecord, &[HandshakeRecord], &[String]) -> String,
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
    let hosts: Vec<String> =
        scenario.vantages.iter().map(|v| v.name.clone()).chain(scenario.targets.iter().map(|t| t.name.clone())).collect();
    let cells: u64 = (scenario.vantages.len() * scenario.targets.len()) as u64;
    let total = cells * u64::from(scenario.rounds);
    (options.progress)("building the lab", 0, total);
    let mut folder = Folder::create(options.results.join(&run_id), &scenario.name, hosts.clone())?;
    let manifest = manifest(&run_id, scenario);
    folder.json("run.json", &manifest)?;
    let stage = Stage::build(scenario, options.privilege)?;
    stage.set_wire_faults(scenario);

    let stolen_before = steal();
    let mut state = State { footing: Footing::default(), measured: Vec::new(), truth: static_truth(scenario), stolen_before };
    for injected in &state.truth {
        folder.append("truth.ndjson", injected)?;
    }
    let mut done = 0;
    let measured = (|| {
        for round in 0..scenario.rounds {
            for (vantage, target) in order(scenario, round) {
                (options.progress)(&format!("round {}: {vantage} → {}", round + 1, target.name), done, total);
                let first = folder.next_packet();
                let batch = batch::run(&stage, scenario, vantage, target, first, options.interrupted)?;
                state.take(&stage, &mut folder, scenario, round + 1, vantage, &target.name, batch)?;
                done += 1;
            }
        }
        Ok(())
    })();
    if let Err(error) = measured {
        let losses: Vec<_> = hosts.iter().map(|h| stage.captures[h].losses()).collect();
        folder.finish(&losses)?;
        return Err(error);
    }
    (options.progress)("judging", done, total);
    state.finish(stage, folder, scenario, &manifest, &hosts, options.page)
}

/// The cells of one round; each round begins with another cell, so that no cell is always first.
fn order(scenario: &Scenario, round: u32) -> Vec<(&str, &crate::scenario::TargetSpec)> {
    let mut cells: Vec<_> =
        scenario.vantages.iter().flat_map(|v| scenario.targets.iter().map(|t| (v.name.as_str(), t))).collect();
    let shift = round as usize % cells.len();
    cells.rotate_left(shift);
    cells
}

struct State {
    footing: Footing,
    /// What the hypervisor had taken when the run began, in nanoseconds since boot.
    stolen_before: u64,
    measured: Vec<Measured>,
    truth: Vec<Injected>,
}

impl State {
    #[allow(clippy::too_many_arguments)] // one call, each a different thing
    fn take(
        &mut self,
        stage: &Stage,
        folder: &mut Folder,
        scenario: &Scenario,
        round: u32,
        vantage: &str,
        target: &str,
        batch: Batch,
    ) -> Result<(), Error> {
        let notes: Vec<(u64, String)> = batch.handshakes.iter().flat_map(comments).collect();
        folder.frames(&batch.frames, &notes)?;
        for client in &batch.clients {
            let batch::ClientEnd { pid, code, timed_out, said, complained } = client.clone();
            let (event, vantage, target) = (ClientEnded::EVENT.to_owned(), vantage.to_owned(), target.to_owned());
            let ended = ClientEnded { event, round, vantage, target, pid, code, timed_out, said, complained };
            folder.append("events.ndjson", &ended)?;
        }
        self.footing.clients += batch.clients.len() as u64;
        self.footing.clients_timed_out += batch.clients.iter().filter(|c| c.timed_out).count() as u64;
        self.footing.captured += batch.frames.len() as u64;
        let mut injected: Vec<Injected> = stage.lab.truth.try_iter().collect();
        for file in [format!("{target}-truth.ndjson"), "dns-truth.ndjson".into()] {
            let path = stage.scratch(&file);
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            injected.extend(text.lines().filter_map(|l| serde_json::from_str(l).ok()));
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::write(&path, ""));
        }
        let begun = self.measured.len();
        for handshake in batch.handshakes {
            let said = batch.clients.iter().map(|c| &c.said).find(|s| port_of(s) == Some(handshake.endpoints.client.port()));
            let (client_app, client_kernel) = said.map(reported).unwrap_or_default();
            injected.extend(said.and_then(|s| paused(s, handshake.endpoints.client)));
            self.measured.push(Measured {
                id: self.measured.len() as u64 + 1,
                round,
                vantage: vantage.to_owned(),
                target: target.to_owned(),
                handshake,
                client_app,
                client_kernel,
            });
        }
        // Provisional: what this batch alone says. The run's own baselines come at the end.
        let both = judge_all(scenario, &self.measured[begun..], Evidence::BothEnds);
        for (measured, judged) in self.measured[begun..].iter().zip(both.handshakes) {
            folder.append("handshakes.ndjson", &record(measured, judged, None))?;
        }
        for one in &injected {
            folder.append("truth.ndjson", one)?;
        }
        self.truth.extend(injected);
        Ok(())
    }

    fn finish(
        mut self,
        stage: Stage,
        folder: Folder,
        scenario: &Scenario,
        manifest: &Manifest<&Scenario>,
        hosts: &[String],
        page: &dyn Fn(&RunRecord, &[HandshakeRecord], &[String]) -> String,
    ) -> Result<Outcome, Error> {
        let losses: Vec<_> = hosts.iter().map(|h| stage.captures[h].losses()).collect();
        let wire = stage.lab.wire.lateness();
        self.footing.capture_lost = losses.iter().map(|l| l.dropped + l.evicted).sum();
        self.footing.wire_forwarded = wire.forwarded;
        self.footing.wire_late = wire.late;
        self.footing.wire_worst_ms = wire.worst_ns as f64 / 1e6;
        self.footing.wire_real_time = wire.real_time;
        self.footing.stolen_ms = steal().saturating_sub(self.stolen_before) as f64 / 1e6;
        self.footing.gave_up = stage.gave_up.clone();
        self.footing.void = void(&self.footing);
        drop(stage);

        let both = judge_all(scenario, &self.measured, Evidence::BothEnds);
        let edge = judge_all(scenario, &self.measured, Evidence::EdgeOnly);
        let (phases, histograms) = distributions(&both);
        let record_of = |(m, (b, e)): (&Measured, (&Option<_>, &Option<_>))| record(m, b.clone(), e.clone());
        let handshakes: Vec<HandshakeRecord> =
            self.measured.iter().zip(both.handshakes.iter().zip(&edge.handshakes)).map(record_of).collect();
        let expectations = expectations(scenario, &both.verdict, &edge.verdict);
        let run = RunRecord {
            format: FORMAT,
            run_id: manifest.run_id.clone(),
            scenario: scenario.name.clone(),
            description: scenario.description.clone(),
            started: manifest.started.clone(),
            kernel: manifest.kernel.clone(),
            both_ends: both.verdict,
            edge_only: edge.verdict,
            sentences: both.sentences,
            edge_sentences: edge.sentences,
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
        folder.finish(&losses)?;
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
    both: &analysis::judging::run::RunVerdict,
    edge: &analysis::judging::run::RunVerdict,
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
    let mut found = vec![run("both ends", &expect.verdict, both)];
    found.extend(expect.edge_only.as_ref().map(|labels| run("edge only", labels, edge)));
    if let Some(labels) = &expect.control {
        for cell in both.cells.iter().filter(|c| c.role == analysis::judging::run::Role::Control) {
            let held = labels.labels().iter().any(|l| cell.verdict.is(l));
            found.push(entry(&format!("control {} → {}", cell.vantage, cell.target), labels, cell.verdict.label(), held));
        }
    }
    found
}

/// Faults whose injector keeps no log of its own.
fn static_truth(scenario: &Scenario) -> Vec<Injected> {
    let of = |owner: &str, ms, what: String| Injected { client: None, target: None, owner: owner.into(), ms, what };
    scenario
        .faults()
        .filter_map(|f: &FaultSpec| {
            let (on, to) = (f.on.clone().unwrap_or_default(), f.to.clone().unwrap_or_default());
            match f.kind {
                FaultKind::CpuQuota => Some(of("host", None, format!("CPU of {on} limited to {}", f.cpus.unwrap_or_default()))),
                FaultKind::CpuBurners => {
                    Some(of("host", None, format!("{} burners on the CPU of {on}", f.burners.unwrap_or_default())))
                }
                FaultKind::Stop => Some(of("client_host", None, format!("clients of {on} stopped in cycles"))),
                // Connect, ServerFlight and Finish each take one round trip.
                FaultKind::Detour => {
                    let extra = f.extra_rtt.unwrap_or_default().as_millis();
                    let injected = of("path", Some(extra * 3.0), format!("{extra} ms longer round trips to {to}"));
                    Some(Injected { target: Some(to), ..injected })
                }
                FaultKind::Mtu => Some(of(
                    "path",
                    None,
                    format!("packets over {} bytes vanish on the way to {to}", f.bytes.unwrap_or_default()),
                )),
                FaultKind::AcceptQueue => Some(of("edge_host", None, format!("{on} accepts slowly behind a short queue"))),
                _ => None,
            }
        })
        .collect()
}

fn port_of(said: &serde_json::Value) -> Option<u16> {
    let curl = said.get("local_port").and_then(serde_json::Value::as_u64).and_then(|p| u16::try_from(p).ok());
    curl.or_else(|| said.get("local")?.as_str()?.parse::<std::net::SocketAddr>().ok().map(|a| a.port()))
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

/// `run.json`.
fn manifest<'a>(run_id: &str, scenario: &'a Scenario) -> Manifest<&'a Scenario> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Manifest {
        format: FORMAT,
        run_id: run_id.to_owned(),
        started: timestamp().1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: read("/proc/sys/kernel/osrelease"),
        clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        scenario,
    }
}

/// Sorts by time, tells what was run, and cannot collide with a run beside it.
fn run_id(scenario: &str) -> String {
    format!("{}-{scenario}-{}", timestamp().0, std::process::id())
}

/// Now, as `20261123T201500.123` and in RFC 3339 (UTC).
fn timestamp() -> (String, String) {
    let now = jiff::Timestamp::now();
    let of_folder = now.strftime("%Y%m%dT%H%M%S%.3f").to_string();
    (of_folder, now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
