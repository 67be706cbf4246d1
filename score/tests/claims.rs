//! Every claim of every finding, looked up in its packets: over trials of the whole fault matrix, and over captures of others.
//!
//! The folders of captures are those of [`testing::captures`] (each also with its folders); where there is none, the test says that it was
//! skipped. `WHOSTALLED_CLAIMS=1` prints every claim that does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use analysis::claims::{Broken, Rule, check};
use analysis::clock::Span;
use analysis::conversation::milestone::Milestone;
use analysis::judging::ledger::{Entry, Kind, Missing, Owner};
use analysis::judging::verdict::{End, Judgement, Reading, Verdict};
use explain::judging::Finding;
use explain::placing::Placed;
use explain::{Options, Sink, claims, explain};
use sim::Trial;
use sim::cases::{CASES, Grade, NAMES, Setup};
use sim::tls::Version;
use testing::Need;
use whostalled_score::captured::{add_hosts, captures};

/// Trials of each case, version and grade.
const SEEDS: u64 = 2;

/// Claims about trials that are known not to hold, at most. It only ever becomes less.
const KNOWN: [(Rule, u64); 4] = [(Rule::Work, 90), (Rule::Round, 30), (Rule::Ending, 3), (Rule::Words, 3)];
/// The same of the cases that were found on real traffic.
const KNOWN_OF_FOUND: [(Rule, u64); 4] = [(Rule::Work, 60), (Rule::Round, 15), (Rule::Words, 14), (Rule::Limit, 13)];
/// The same of those in which late, lost and put off look alike: words of a client that paused within a message, or whose kernel put an
/// acknowledgement off.
const KNOWN_OF_LATE: [(Rule, u64); 3] = [(Rule::Words, 4), (Rule::Work, 4), (Rule::Loss, 4)];
/// The first of those that were found.
const FOUND: u8 = 52;
/// And of those.
const LATE: u8 = 84;
/// The same about captures, per hundred findings.
const KNOWN_OF_A_HUNDRED: u64 = 8;

/// What did not hold, by rule, with how many findings were looked at.
#[derive(Default)]
struct Tally {
    findings: u64,
    by_rule: BTreeMap<Rule, u64>,
    arithmetic: Vec<String>,
}

impl Tally {
    fn note(&mut self, place: &str, finding: &Finding) {
        self.findings += 1;
        for broken in claims::broken(finding) {
            *self.by_rule.entry(broken.rule()).or_default() += 1;
            let said = format!("{place} #{} {}: {:?}: {broken}", finding.id, label(finding), broken.rule());
            if std::env::var_os("WHOSTALLED_CLAIMS").is_some() {
                println!("{said}\n    {}\n    {}", claims::sentence(finding).unwrap_or_default(), ledger(finding));
            }
            if Broken::is_arithmetic(&broken) {
                self.arithmetic.push(said);
            }
        }
    }

    /// Fails where sums do not add up, or what is cited is not there.
    fn say(&self) {
        println!("{} findings, not holding: {:?}", self.findings, self.by_rule);
        assert!(self.arithmetic.is_empty(), "{:#?}", self.arithmetic);
    }

    /// Fails where sums do not add up, or more does not hold than is known.
    fn hold(&self, known: &[(Rule, u64)]) {
        self.say();
        for (rule, n) in &self.by_rule {
            let most = known.iter().find(|(r, _)| r == rule).map_or(0, |(_, most)| *most);
            assert!(n <= &most, "{n} claims of {rule:?} do not hold; known are {most}. WHOSTALLED_CLAIMS=1 shows them");
        }
    }
}

/// A ledger in one line.
fn ledger(finding: &Finding) -> String {
    let entries = finding.judged.iter().flat_map(|o| &o.reading.ledger.entries);
    let line = |e: &Entry| format!("{:?} {:?}/{:?} {} {:?}", e.phase, e.owner, e.kind, e.span, e.packets);
    entries.map(line).collect::<Vec<_>>().join("; ")
}

fn label(finding: &Finding) -> String {
    let seen = finding.placed.seen;
    finding.judged.as_ref().map_or(String::new(), |o| format!("{} ({seen:?})", o.judgement.verdict.label()))
}

/// Looks at every finding, with the hosts' evidence of a trial where there is one.
struct Looking<'a> {
    tally: &'a mut Tally,
    place: String,
    hosts: Option<&'a Trial>,
}

impl Sink for Looking<'_> {
    fn placed(&mut self, placed: &mut Placed) {
        let ends = &placed.handshake.endpoints;
        let ours = |t: &Trial| (ends.client, ends.server) == t.at_client;
        if let Some(trial) = self.hosts.filter(|t| ours(t)) {
            add_hosts(trial, placed);
        }
    }

    fn finding(&mut self, finding: Finding, _: &[PathBuf]) -> ControlFlow<()> {
        self.tally.note(&self.place, &finding);
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: u64) {}
}

fn look(tally: &mut Tally, folder: &Path, setup: Setup) {
    let Some(planned) = setup.plan() else { return };
    let trial = Trial::run(&planned.plan, setup.seed);
    let name = NAMES[usize::from(setup.case) - 1];
    let place =
        format!("case {} ({name}) {:?} {:?} {} ms seed {}", setup.case, setup.version, setup.grade, setup.severity, setup.seed);
    let hosts = (setup.grade == Grade::BothAndHost && setup.seed.is_multiple_of(2)).then_some(&trial);
    explain(&captures(&trial, setup.grade, folder), &mut Looking { tally, place, hosts });
}

#[test]
fn claims_about_trials_hold() {
    let tally = over(1..FOUND);
    assert!(tally.findings > 1_000, "{} findings", tally.findings);
    tally.hold(&KNOWN);
}

#[test]
fn claims_about_trials_of_what_was_found_hold() {
    let tally = over(FOUND..LATE);
    assert!(tally.findings > 1_000, "{} findings", tally.findings);
    tally.hold(&KNOWN_OF_FOUND);
}

#[test]
fn claims_about_trials_of_what_looks_alike_hold() {
    let tally = over(LATE..CASES + 1);
    assert!(tally.findings > 300, "{} findings", tally.findings);
    tally.hold(&KNOWN_OF_LATE);
}

/// All that is said of trials of these cases.
fn over(cases: std::ops::Range<u8>) -> Tally {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut tally = Tally::default();
    for case in cases {
        for grade in [Grade::BothAndHost, Grade::Client, Grade::Server] {
            for version in Version::ALL {
                for n in 0..SEEDS {
                    // With and without the hosts' evidence, at odd and even seeds.
                    let (severity, seed) = (if n % 2 == 0 { 50 } else { 500 }, u64::from(case) * 1_001 + n);
                    look(&mut tally, folder.path(), Setup { case, severity, version, grade, seed });
                }
            }
        }
    }
    tally
}

/// The judged handshake of a trial.
fn finding(case: u8, grade: Grade) -> Finding {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let setup = Setup { case, severity: 500, version: Version::Tls13, grade, seed: 7 };
    let trial = Trial::run(&setup.plan().expect("the case makes sense").plan, setup.seed);
    let mut last = Last(None);
    explain(&captures(&trial, grade, folder.path()), &mut last);
    last.0.expect("a handshake is found")
}

struct Last(Option<Finding>);

impl Sink for Last {
    fn finding(&mut self, finding: Finding, _: &[PathBuf]) -> ControlFlow<()> {
        self.0 = Some(finding);
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: u64) {}
}

/// What is found wrong once an opinion and its sentence were changed, beside what was before.
fn wrong(of: &Finding, change: impl Fn(&mut Reading, &mut Judgement, &mut String)) -> BTreeSet<Rule> {
    let opinion = of.judged.as_ref().expect("it is judged");
    let (mut reading, mut judgement) = (opinion.reading.clone(), opinion.judgement.clone());
    let mut sentence = claims::sentence(of).expect("it is judged");
    change(&mut reading, &mut judgement, &mut sentence);
    let mut before = claims::broken(of);
    let found = check(&of.placed.handshake, &reading, &judgement, &sentence).into_iter();
    let new = found.filter(|b| before.iter().position(|known| known == b).map(|i| before.remove(i)).is_none());
    new.map(|b| b.rule()).collect()
}

#[test]
fn what_is_false_is_found() {
    let stall = finding(2, Grade::BothAndHost);
    let none = |_: &mut Reading, _: &mut Judgement, _: &mut String| ();
    assert!(wrong(&stall, none).is_empty());
    let client = |r: &Reading| r.ledger.entries.iter().position(|e| e.span > Span::from_millis(400)).expect("it stalled");
    let longer = |r: &mut Reading, _: &mut Judgement, _: &mut String| {
        let k = client(r);
        r.ledger.entries[k].span += Span::from_millis(30);
        r.ledger.entries[k].baseline += Span::from_millis(30);
        r.ledger.total += Span::from_millis(30);
    };
    assert!(wrong(&stall, longer).contains(&Rule::Work));
    let unsummed = |r: &mut Reading, _: &mut Judgement, _: &mut String| r.ledger.total += Span::from_millis(1);
    assert!(wrong(&stall, unsummed).contains(&Rule::Sums));
    let impossible = |r: &mut Reading, _: &mut Judgement, _: &mut String| {
        let k = client(r);
        r.ledger.entries[k].kind = Some(Kind::Detour);
    };
    assert!(wrong(&stall, impossible).contains(&Rule::Sums), "no client is a detour");
    let nowhere = |r: &mut Reading, _: &mut Judgement, _: &mut String| r.ledger.entries[0].packets = [5_000, 5_001].into();
    assert!(wrong(&stall, nowhere).contains(&Rule::Cited));
    let unfinished = |r: &mut Reading, _: &mut Judgement, _: &mut String| r.end = End::Stopped { after: Milestone::SynAck };
    assert!(wrong(&stall, unfinished).contains(&Rule::Ending));
    let lost = |r: &mut Reading, _: &mut Judgement, _: &mut String| {
        let k = client(r);
        let entry = &mut r.ledger.entries[k];
        (entry.owner, entry.kind, entry.worked) = (Owner::Loss, Some(Kind::Out), None);
    };
    assert!(wrong(&stall, lost).contains(&Rule::Loss));
    let held = |r: &mut Reading, _: &mut Judgement, _: &mut String| {
        let k = client(r);
        let entry = &mut r.ledger.entries[k];
        (entry.owner, entry.kind, entry.worked) = (Owner::Protocol, Some(Kind::Nagle), None);
    };
    assert!(wrong(&stall, held).contains(&Rule::Limit));
    let said = |_: &mut Reading, _: &mut Judgement, s: &mut String| s.push_str(" It took 77.7 ms.");
    assert_eq!(wrong(&stall, said), [Rule::Words].into());
    let aborted = |_: &mut Reading, j: &mut Judgement, _: &mut String| {
        j.verdict = Verdict::Aborted { by: Owner::Path, after: Milestone::ClientHello };
    };
    assert!(wrong(&stall, aborted).contains(&Rule::Aborted));
    let open = |_: &mut Reading, j: &mut Judgement, _: &mut String| j.leave_open(Owner::Path.into(), Missing::ClientCapture);
    assert!(wrong(&stall, open).contains(&Rule::Open));
    let far = |r: &mut Reading, _: &mut Judgement, _: &mut String| {
        let round = r.ledger.entries.iter_mut().find(|e| e.round_trip).expect("there is a round trip");
        round.packets[1] = round.packets[0];
    };
    assert!(wrong(&stall, far).contains(&Rule::Round));
    let again = |r: &mut Reading, _: &mut Judgement, _: &mut String| {
        let entry = r.ledger.entries[client(r)].clone();
        r.ledger.entries.push(entry);
    };
    assert!(wrong(&stall, again).contains(&Rule::Once));
}

#[test]
fn claims_about_captures_hold() {
    let folders: Vec<PathBuf> = [Need::Corpus, Need::Reports].into_iter().filter_map(testing::captures).collect();
    if folders.is_empty() {
        return;
    }
    let mut tally = Tally::default();
    for captures in folders.iter().flat_map(|folder| sets(folder)) {
        let place = captures.iter().map(|c| c.display().to_string()).collect::<Vec<_>>().join(" + ");
        explain(&Options { captures, ..Options::default() }, &mut Looking { tally: &mut tally, place, hosts: None });
    }
    assert!(tally.findings > 0, "the folders hold captures");
    tally.say();
    let most = tally.findings * KNOWN_OF_A_HUNDRED / 100;
    let rounds_apart: u64 = tally.by_rule.iter().filter(|(rule, _)| **rule != Rule::Round).map(|(_, n)| n).sum();
    assert!(rounds_apart <= most, "{rounds_apart} claims do not hold, of {} findings", tally.findings);
}

/// The captures below a folder, each by itself and, where a name says that it is one end's (`x.c.pcap`, `x.s.pcap`), both together.
fn sets(folder: &Path) -> Vec<Vec<PathBuf>> {
    let mut found: Vec<Vec<PathBuf>> = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    let paths: BTreeSet<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            found.extend(sets(path));
        } else if name.contains(".pcap") {
            found.push(vec![path.clone()]);
        }
        for (client, edge) in [(".c.", ".s."), ("client.", "edge.")] {
            let other = path.with_file_name(name.replace(client, edge));
            if name.contains(client) && paths.contains(&other) {
                found.push(vec![path.clone(), other]);
            }
        }
    }
    found
}
