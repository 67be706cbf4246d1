//! Every page and report in a real browser: 390, 1280 and 2560 pixels, dark and light, by keyboard, for a screen reader (axe-core).
//! Screenshots lie in `target/pages`. Needs Chromium and Node; `npm ci` in `e2e/browser` brings the rest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::certificates::{Certificates, make};
use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::http::{Http, total};
use e2e::ports::free_port;
use e2e::process::{Running, Said, binary, program, repository, run};
use e2e::servers;
use e2e::waiting::wait_for;
use testing::Need;

/// How long a thing may take that takes no time.
const SOON: u64 = 30;
/// How long the browser may take for all pages, in seconds.
const PATIENCE: u64 = 600;

/// A watcher with a good check, one that is slow and one that refuses; its address, and the processes.
fn watcher(folder: &Path, certificates: &Certificates) -> (String, Vec<Running>, Edge) {
    let edge = Edge::opened(certificates);
    let (slow, slow_url) = servers::slow(certificates, folder, 300);
    let at = format!("127.0.0.1:{}", free_port());
    let text = format!(
        "[watch]\nvantage = \"fra-1\"\nstore = \"{}\"\nlisten = \"{at}\"\n[gate]\nrun_delay = \"5s\"\ndata_waiting = \"5s\"\nlateness = \"30s\"\n\
         reference = \"5s\"\n[defaults]\ninterval = \"300ms\"\ntimeout = \"3s\"\nca = \"{}\"\nfire = {{ k = 2, n = 3 }}\n\
         [[check]]\nname = \"login\"\ntarget = \"https://127.0.0.1:{}/\"\n[[check]]\nname = \"a check with a rather long name, as people give them\"\n\
         target = \"{slow_url}\"\n[[check]]\nname = \"refused\"\ntarget = \"127.0.0.1:9\"\n[[check]]\nname = \"elsewhere\"\n\
         target = \"https://127.0.0.1:{}/\"\nrole = \"control\"\n",
        folder.join("store.db").display(),
        certificates.ca.display(),
        edge.port,
        edge.port
    );
    let file = folder.join("checks.toml");
    std::fs::write(&file, text).expect("a folder of our own");
    let log = File::create(folder.join("watch.log")).expect("a folder of our own");
    let watch = Running::start(Command::new(binary()).arg("watch").arg(&file).stderr(log));
    let http = Http::plain();
    let firing = || total(&http.get(&format!("http://{at}/metrics")).text(), "whostalled_alert_firing") >= 2.0;
    assert!(
        wait_for(SOON, firing),
        "two checks should be in trouble: {}",
        std::fs::read_to_string(folder.join("watch.log")).unwrap_or_default()
    );
    (at, vec![slow, watch], edge)
}

/// A recorder on loopback that has kept a handshake; its address. Absent, which is said, without the rights.
fn recorder(t: &mut Checks, folder: &Path, certificates: &Certificates) -> Option<(String, Running, Edge)> {
    if !nix::unistd::geteuid().is_root() {
        t.skip(Need::Root, "the recorder's page needs a recorder");
        return None;
    }
    let edge = Edge::opened(certificates);
    let at = format!("127.0.0.1:{}", free_port());
    let log = File::create(folder.join("recorder.log")).expect("a folder of our own");
    let mut command = Command::new(binary());
    command.args(["capture", "--iface", "lo", "--memory", "8MiB", "--listen", &at, "--port", &edge.port.to_string()]);
    let recorder = Running::start(command.current_dir(folder).stderr(log));
    let http = Http::plain();
    assert!(wait_for(SOON, || http.get(&format!("http://{at}/-/healthy")).status == 200), "the recorder should be up");
    let kept = wait_for(SOON, || {
        let client = edge.handshake().to_string();
        let mut ask = Command::new(binary());
        ask.args(["capture", "trigger", &client]).current_dir(folder);
        run(ask, 40).code == Some(0)
    });
    assert!(kept, "a handshake should be kept");
    Some((at, recorder, edge))
}

/// Runs the binary in a folder; one of these codes must come.
fn ran(folder: &Path, arguments: &[&str], codes: &[i32]) -> Said {
    let mut command = Command::new(binary());
    let said = run(
        {
            command.args(arguments).current_dir(folder);
            command
        },
        120,
    );
    assert!(said.code.is_some_and(|code| codes.contains(&code)), "{arguments:?}: {said:?}");
    said
}

/// The page that a run has left in its folder of results.
fn left_in(results: &Path, page: &str) -> PathBuf {
    let folders = std::fs::read_dir(results).expect("a folder of results").flatten();
    let found = folders.map(|folder| folder.path().join(page)).find(|page| page.is_file());
    found.unwrap_or_else(|| panic!("{}: a run with {page}", results.display()))
}

/// What verbs write into files; what needs the lab is not there without the rights, which is said. The watcher's store is in the folder.
fn reports(t: &mut Checks, folder: &Path, certificates: &Certificates, edge: &Edge) -> Vec<(&'static str, PathBuf)> {
    let file = |name: &str| folder.join(name).display().to_string();
    let recorded = repository().join("zoo/recorded/c003-python-python-client-stalls");
    let [client, server] = ["client", "edge"].map(|end| recorded.join(format!("{end}.pcap.zst")).display().to_string());
    ran(folder, &["explain", &client, &server, "--html", &file("explain.html")], &[0]);
    ran(folder, &["incidents", "--store", "store.db", "--html", &file("bulletin.html")], &[0]);

    let ca = certificates.ca.display().to_string();
    let target = format!("https://127.0.0.1:{}/", edge.port);
    let other = Edge::opened(certificates);
    let control = format!("https://127.0.0.1:{}/", other.port);
    let one_end = ["run", &target, "--control", &control, "--rounds", "2", "--clients", "2", "--no-capture", "--ca", &ca];
    ran(folder, &[&one_end[..], &["--results", "one-end"]].concat(), &[0]);
    let ([(_one, base), (_other, candidate)], html) = ([(); 2].map(|()| servers::openssl(certificates)), file("compared.html"));
    ran(folder, &["compare", &base, &candidate, "--ca", &ca, "--budget", "3s", "--html", &html], &[0, 1, 3]);

    let mut made: Vec<(&str, PathBuf)> =
        ["explain", "bulletin", "compared"].map(|name| (name, folder.join(format!("{name}.html")))).into();
    made.push(("run", left_in(&folder.join("one-end"), "report.html")));
    // Those that are kept are of some day: whether they fit is asked of what draws them today, too.
    made.extend(["library", "benchmarks"].map(|name| (name, repository().join(format!("docs/{name}.html")))));
    if !nix::unistd::geteuid().is_root() {
        t.skip(Need::Root, "the reports of the lab need the lab");
        return made;
    }
    let scenario = |name: &str| repository().join("scenarios").join(name).display().to_string();
    ran(folder, &["run", &scenario("client-stall-and-detour.toml"), "--results", "lab"], &[0, 1]);
    made.push(("lab", left_in(&folder.join("lab"), "report.html")));
    ran(folder, &["run", &scenario("incidents/3-hung-dependency.toml"), "--results", "played"], &[0, 1]);
    made.push(("played", left_in(&folder.join("played"), "incidents.html")));
    made
}

#[test]
fn pages_fit_every_screen_and_every_user() {
    let mut t = Checks::new();
    let scripts = repository().join("e2e/browser");
    let browser = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(program);
    let (Some(browser), Some(node), Some(npm)) = (browser, program("node"), program("npm")) else {
        return t.skip(Need::Tools, "pages are looked at with chromium, node and npm");
    };
    if !scripts.join("node_modules").is_dir() {
        let mut install = Command::new(npm);
        install.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&scripts);
        let said = run(install, 180);
        if said.code != Some(0) {
            return t.skip(Need::Tools, &format!("npm ci in e2e/browser: {}", said.err));
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certificates = make(folder.path());
    let (at, _processes, edge) = watcher(folder.path(), &certificates);
    let shots = repository().join("target/pages");
    std::fs::create_dir_all(&shots).expect("our own folder");
    let base = format!("http://{at}");
    let mut pages = vec![
        format!("now={base}/"),
        format!("check={base}/check/refused"),
        format!("slow={base}/check/a%20check%20with%20a%20rather%20long%20name%2C%20as%20people%20give%20them"),
        format!("incidents={base}/incidents"),
    ];
    let files = reports(&mut t, folder.path(), &certificates, &edge);
    pages.extend(files.iter().map(|(name, path)| format!("{name}=file://{}", path.display())));
    let recorder = recorder(&mut t, folder.path(), &certificates);
    pages.extend(recorder.iter().map(|(at, ..)| format!("recorder=http://{at}/")));
    let mut look = Command::new(node);
    look.arg(scripts.join("look.mjs")).arg(browser).arg(&shots).args(&pages).current_dir(&scripts).stdin(Stdio::null());
    let said = run(look, PATIENCE);
    // One finding a line; a check's own words are cut.
    print!("{}", said.out);
    t.check("nothing is wrong with any page", said.code == Some(0), || said.err.clone());
    let seen = pages.len() * 6;
    t.check("each was looked at three widths, dark and light", said.err.contains(&format!("{seen} views looked at")), || {
        said.err
    });
}
