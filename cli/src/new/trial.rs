//! The trial of `new --from`: recordings of the zoo in, a table of how close their scenarios come out.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use repro::sketch::{Closeness, Sketch};

use super::{approach, explained};
use crate::exit;

/// Runs of each, at most.
const TRIES: u32 = 3;

/// `new-trial N RESULTS FOLDER…`: of each folder both captures are sketched, the sketch is run, and what comes out is a row.
pub fn trial(rest: &[String]) -> Result<u8, Box<dyn std::error::Error>> {
    let [most, results, zoo] = rest else { return Err("new-trial N RESULTS ZOO".into()) };
    let most: usize = most.parse()?;
    let privilege = lab::rootless::enter()?;
    let folders = spread(folders(Path::new(zoo))?, most);
    let (mut rows, mut sum) = (String::new(), Sum::default());
    for folder in &folders {
        let name = folder.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let row = match one(folder, Path::new(results), privilege) {
            Ok((sketch, closeness, tries)) => sum.row(&name, &sketch, &closeness, tries),
            Err(error) => sum.failed(&name, &error.to_string()),
        };
        eprint!("{row}");
        rows += &row;
    }
    println!("{}\n\n{HEAD}\n{}", sum.words(), rows.trim_end());
    Ok(if sum.alike * 100 >= folders.len() * 96 { exit::HELD } else { exit::FAILED })
}

const HEAD: &str = "| recording | verdict reported | of the run | slow phase | reported | of the run | round trip | runs | alike | not the same |\n\
                    |---|---|---|---|---|---|---|---|---|---|";

fn folders(zoo: &Path) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    let listed = std::fs::read_dir(zoo).map_err(|e| format!("{}: {e}", zoo.display()))?;
    let mut folders: Vec<PathBuf> = listed.flatten().map(|e| e.path()).filter(|p| p.join("truth.json").exists()).collect();
    folders.sort();
    Ok(folders)
}

/// So many of them, evenly: every kind of case is among them.
fn spread(all: Vec<PathBuf>, most: usize) -> Vec<PathBuf> {
    let n = all.len();
    let chosen = (0..most.min(n)).map(|i| i * n / most.min(n).max(1));
    let mut all: Vec<Option<PathBuf>> = all.into_iter().map(Some).collect();
    chosen.filter_map(|i| all[i].take()).collect()
}

type Tried = (Sketch, Closeness, u32);

fn one(folder: &Path, results: &Path, privilege: lab::rootless::Privilege) -> Result<Tried, Box<dyn std::error::Error>> {
    let captures = [folder.join("client.pcap.zst"), folder.join("edge.pcap.zst")];
    let name = folder.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let mut sketch = Sketch::of_records(&name, &explained(&captures)?, None)?;
    sketch.scenario.name = format!("trial-{name}");
    let run = approach(&mut sketch, TRIES, results, privilege)?;
    Ok((run.sketch, run.closeness, run.tries))
}

#[derive(Default)]
struct Sum {
    alike: usize,
    same_verdict: usize,
    slow: usize,
    round_trip: usize,
    all: usize,
}

impl Sum {
    fn row(&mut self, name: &str, sketch: &Sketch, closeness: &Closeness, tries: u32) -> String {
        self.all += 1;
        self.alike += usize::from(closeness.is_alike());
        let close = |row: &Option<repro::sketch::Compared>| row.as_ref().is_none_or(|row| row.close);
        self.same_verdict += usize::from(close(&closeness.verdict));
        self.slow += usize::from(close(&closeness.slow));
        self.round_trip += usize::from(close(&closeness.round_trip));
        let mut row = format!("| {name} |");
        let cell = |row: &mut String, text: &str| {
            let _ = write!(row, " {text} |");
        };
        let said = |compared: &Option<repro::sketch::Compared>| {
            compared.as_ref().map_or(("–".to_owned(), "–".to_owned(), "–".to_owned()), |c| {
                let ran = if c.close { c.ran.clone() } else { format!("**{}**", c.ran) };
                (c.what.clone(), c.reported.clone(), ran)
            })
        };
        let (_, reported, ran) = said(&closeness.verdict);
        cell(&mut row, &reported);
        cell(&mut row, &ran);
        let (what, reported, ran) = said(&closeness.slow);
        cell(&mut row, &what);
        cell(&mut row, &reported);
        cell(&mut row, &ran);
        let (_, reported, ran) = said(&closeness.round_trip);
        cell(&mut row, &format!("{reported}, {ran}"));
        cell(&mut row, &tries.to_string());
        cell(&mut row, if closeness.is_alike() { "yes" } else { "**no**" });
        cell(&mut row, &sketch.cannot.join("; ").replace('|', "/"));
        row + "\n"
    }

    fn failed(&mut self, name: &str, why: &str) -> String {
        self.all += 1;
        format!("| {name} | – | – | – | – | – | – | – | **no** | {} |\n", why.replace(['|', '\n'], " "))
    }

    fn words(&self) -> String {
        let Self { alike, same_verdict, slow, round_trip, all } = self;
        format!(
            "Of {all} recordings, {alike} give a scenario that is alike (the same verdict, the slow phase within 10 %): the verdict is the \
             same in {same_verdict}, the slow phase within 10 % in {slow}, the round trip within 10 % (or 2 ms) in {round_trip}."
        )
    }
}
