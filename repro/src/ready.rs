//! What can be known before the lab is built: whether results can be written, and whether the programs are there.

use std::path::Path;

use agent::ClientKind;
use vantage::command_line::{installed, named};

use crate::Error;
use crate::scenario::Scenario;
use crate::vantages::Kind;

/// Whether `scenario` can be run here, with its results below `results`.
///
/// # Errors
/// Says what is missing, and what to do.
pub fn ready(scenario: &Scenario, results: &Path) -> Result<(), Error> {
    programs(scenario)?;
    let failed = |source| Error::Write { path: results.display().to_string(), source };
    std::fs::create_dir_all(results).map_err(failed)?;
    let try_out = results.join(format!(".whostalled-{}", std::process::id()));
    std::fs::write(&try_out, b"").map_err(failed)?;
    std::fs::remove_file(&try_out).map_err(failed)
}

fn programs(scenario: &Scenario) -> Result<(), Error> {
    // What another host lacks, its vantage says.
    if scenario.vantages.iter().any(|vantage| matches!(vantage.kind, Kind::Lab | Kind::Here)) {
        match scenario.client.kind {
            ClientKind::Curl => installed("curl", "apt-get install curl")?,
            ClientKind::Command => named("client.command", &scenario.client.command)?,
            ClientKind::Probe => {}
        }
    }
    for target in scenario.targets.iter().filter(|target| target.url.is_none()) {
        target.server.server().ready(target)?;
        for process in &target.processes {
            named(&format!("target.{}.process.{}.command", target.name, process.name), &process.command)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(client: &str) -> Scenario {
        let text = format!(
            "name = \"x\"\n[client]\n{client}\n[[vantage]]\nname = \"office\"\n[[target]]\nname = \"edge\"\nrole = \"edge\"\n"
        );
        Scenario::parse("x.toml", &text, &[]).expect("it is valid")
    }

    #[test]
    fn a_client_that_is_not_here_is_missed_before_the_lab_is_built() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let here = |client: &str| ready(&scenario(client), folder.path()).map_err(|e| e.to_string());
        let error = here("kind = \"command\"\ncommand = [\"no-such-client\"]").expect_err("it is not here");
        assert!(error.contains("client.command") && error.contains("no-such-client"), "{error}");
        let error = here("kind = \"command\"\ncommand = [\"/no/such/client\"]").expect_err("it is not here");
        assert!(error.contains("/no/such/client"), "{error}");
        assert_eq!(here("kind = \"command\"\ncommand = [\"sh\", \"-c\", \"true\"]"), Ok(()));
        assert_eq!(here("kind = \"command\"\ncommand = [\"{ca}\"]"), Ok(()));
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing is left behind");
    }

    #[test]
    fn results_that_cannot_be_written_are_said_before_the_lab_is_built() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("results");
        std::fs::write(&file, "a file, not a folder").expect("it is writable");
        let error = ready(&scenario("kind = \"probe\""), &file).expect_err("it is no folder").to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
        assert!(ready(&scenario("kind = \"probe\""), &folder.path().join("a/b")).is_ok());
    }
}
