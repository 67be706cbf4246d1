//! What the binary does when a run starts it as a child.

use std::ffi::OsString;
use std::process::ExitCode;

use lab::exec::Placement;

use crate::comparing::lab_edge::LabEdge;
use crate::exit;

/// Runs a child's role, if the arguments name one.
pub fn dispatch(arguments: &[OsString]) -> Option<ExitCode> {
    let role = arguments.get(1)?.to_str()?;
    let words = in_utf_8(&arguments[2..]);
    let rest = words.as_deref().ok_or_else(|| "an argument is not UTF-8".to_owned());
    let result = match role {
        lab::exec::SUBCOMMAND => rest.and_then(placed),
        "lab-burn" => lab::cpu::burn(),
        "lab-edge" => rest.and_then(|rest| configured(rest, lab::edge::serve)),
        "lab-storm" => rest.and_then(|rest| configured(rest, |config| lab::storm::run(&config))),
        ::incidents::watcher::SUBCOMMAND => rest.and_then(|rest| configured(rest, |config| ::incidents::watcher::serve(&config))),
        "lab-dns" => rest.and_then(|rest| configured(rest, |config| lab::dns::serve(&config))),
        crate::comparing::wire::SUBCOMMAND => {
            rest.and_then(|rest| configured(rest, |wired| crate::comparing::wire::child(&wired)))
        }
        crate::comparing::lab_edge::SUBCOMMAND => rest.and_then(lab_edge),
        "library" => return Some(of_verb(rest.map_err(Into::into).and_then(crate::library::library))),
        "new-trial" => return Some(of_verb(rest.map_err(Into::into).and_then(crate::new::trial))),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{role}: {error}");
            ExitCode::from(exit::HARNESS)
        }
    })
}

/// A role's arguments, all of them or none: whoever starts a child writes them in UTF-8. Those of verbs are clap's to read.
fn in_utf_8(arguments: &[OsString]) -> Option<Vec<String>> {
    arguments.iter().map(|word| word.to_str().map(str::to_owned)).collect()
}

fn of_verb(result: Result<u8, Box<dyn std::error::Error>>) -> ExitCode {
    result.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::from(exit::HARNESS)
        },
        ExitCode::from,
    )
}

fn placed(rest: &[String]) -> Result<(), String> {
    let [placement, program, args @ ..] = rest else { return Err("a placement and a program are needed".into()) };
    let placement: Placement = serde_json::from_str(placement).map_err(|e| e.to_string())?;
    placement.become_program(program, args).map(|never| match never {}).map_err(|e| e.to_string())
}

fn lab_edge(rest: &[String]) -> Result<(), String> {
    let [edge, listen] = rest else { return Err("an edge and an address are needed".into()) };
    let edge: LabEdge = serde_json::from_str(edge).map_err(|e| e.to_string())?;
    let listen = listen.parse().map_err(|e| format!("{listen}: {e}"))?;
    edge.serve(listen).map_err(|e| e.to_string())
}

fn configured<T: serde::de::DeserializeOwned, E: std::fmt::Display>(
    rest: &[String],
    serve: impl FnOnce(T) -> Result<(), E>,
) -> Result<(), String> {
    let config = rest.first().ok_or("a configuration is needed")?;
    serve(serde_json::from_str(config).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_name_that_is_not_utf_8_is_left_to_the_verbs() {
        let name = || OsString::from_vec(b"caf\xe9.pcap".to_vec());
        for arguments in [vec![name()], vec!["explain".into(), name()], vec![]] {
            let all: Vec<OsString> = std::iter::once("whostalled".into()).chain(arguments).collect();
            assert!(dispatch(&all).is_none(), "{all:?}");
        }
        assert!(dispatch(&["whostalled".into(), "lab-edge".into(), name()]).is_some(), "a child says what it cannot use");
        assert_eq!(in_utf_8(&["results".into(), name(), "7".into()]), None, "no role works with a part of its arguments");
        assert_eq!(in_utf_8(&["results".into()]), Some(vec!["results".to_owned()]));
    }
}
