//! Judges rounds that were played before, by the incident files as they are now, and prints the table.
//!
//! ```text
//! cargo run -p whostalled-incidents --example judge_course -- results/incidents-…/rounds.json scenarios/incidents
//! ```

use std::error::Error;

use whostalled_incidents::course::Course;
use whostalled_incidents::judge::judge;
use whostalled_incidents::{Incident, Outcome, table};

fn main() -> Result<(), Box<dyn Error>> {
    let [_, rounds, folder] =
        <[String; 3]>::try_from(std::env::args().collect::<Vec<_>>()).map_err(|_| "name rounds.json and a folder")?;
    let played: Vec<(serde_json::Value, Course)> = serde_json::from_str(&std::fs::read_to_string(rounds)?)?;
    let mut incidents = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        incidents.push(Incident::parse(&path.display().to_string(), &std::fs::read_to_string(&path)?)?);
    }
    let judged = played.iter().filter_map(|(outcome, course)| {
        let name = outcome["name"].as_str()?;
        let incident = incidents.iter().find(|incident| incident.scenario.name == name)?;
        let healthy = course.rounds.iter().all(|round| round.on.is_empty());
        Some((judge(name, &incident.plan, course, healthy), healthy))
    });
    let (healthy, ill): (Vec<_>, Vec<_>) = judged.partition(|(_, healthy)| *healthy);
    let outcomes = |judged: Vec<(Outcome, bool)>| judged.into_iter().map(|(outcome, _)| outcome).collect::<Vec<_>>();
    for (outcomes, table) in [(outcomes(ill), table::incidents as fn(&[Outcome]) -> String), (outcomes(healthy), table::healthy)]
    {
        if !outcomes.is_empty() {
            println!("{}{}", table(&outcomes), table::wrong(&outcomes));
        }
    }
    Ok(())
}
