//! Wrong check files, and files that change.

use e2e::checks::Checks;
use e2e::edge::Edge;
use e2e::ports::free_port;
use e2e::process::whostalled;
use e2e::waiting::wait_for;

use crate::watcher::{Config, Place, Watch};

#[test]
fn wrong_files_are_refused() {
    let mut t = Checks::new();
    let place = Place::new();
    let check = |rest: &str| format!("[[check]]\nname = \"a\"\n{rest}");
    let wrong = [
        ("an unknown field", check("target = \"a.test:443\"\nintervall = \"1s\"\n"), "line 4"),
        ("no port", check("target = \"a.test\"\n"), "write host:port"),
        (
            "no such certificate",
            format!("[defaults]\nca = \"/nowhere.pem\"\n{}", check("target = \"a.test:443\"\n")),
            "/nowhere.pem",
        ),
    ];
    for (name, text, wanted) in wrong {
        let said = whostalled(["watch".as_ref(), place.write("bad.toml", &text).as_os_str()]);
        t.check(format!("{name}: exit 2 and why"), said.refused(2, wanted), || said);
    }
}

#[test]
fn a_file_that_changes() {
    let mut t = Checks::new();
    let place = Place::new();
    let (edge, store) = (Edge::opened(&place.certificates), place.path("store.db"));
    let good = Config::new(&place, edge.port, free_port(), &store).text();
    let watch = Watch::start(&place, &good);
    t.check("it begins", wait_for(20, || watch.is_good("target")), || watch.api());
    watch.write(&format!("{good}\nbroken = ["));
    let refused = || watch.trouble("reload") == Some(true);
    t.check("a broken file is refused on reload, and said", wait_for(20, refused), || watch.api());
    let rounds = || watch.metric("whostalled_rounds_total");
    let before = rounds();
    t.check("while the checks before it go on", wait_for(20, || rounds() > before + 2.0), || (before, rounds()));
    watch.write(&format!("{good}\n[[check]]\nname = \"second\"\ntarget = \"127.0.0.1:{}\"\n", edge.port));
    t.check("a good one is taken up", wait_for(20, || watch.is_good("second")), || watch.api());
    t.check("and the trouble is over", watch.trouble("reload") == Some(false), || watch.api());
    let other = whostalled(["watch".as_ref(), watch.file.as_os_str()]);
    t.check("a port in use: exit 2 and why", other.refused(2, "cannot listen"), || other);
    let beside = place.path("beside.toml");
    let elsewhere = good.replace("LISTEN", &format!("127.0.0.1:{}", free_port()));
    std::fs::write(&beside, elsewhere).expect("the folder takes files");
    let other = whostalled(["watch".as_ref(), beside.as_os_str()]);
    t.check("a store in use: exit 2 and why", other.refused(2, "another watcher works with this store"), || other);
    watch.over(&mut t);
}
