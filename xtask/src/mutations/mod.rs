//! Whether the tests of the core notice mistakes in it. In: the list, a copy of the working tree. Out: each mistake with the test that
//! caught it; bad if one survived.
//!
//! Each is made in a copy of its own under `target/mutations`, where the tests of `analysis` and `explain` run, those of captures that
//! are no part of the repository left out. What does not compile is no mistake that a test could catch: the list is wrong then.

mod list;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::Found;
use list::{ALL, Mutation};

/// What became of one.
#[derive(PartialEq, Eq, Debug)]
enum Fate {
    /// A test failed: its name.
    Caught(String),
    /// No test did.
    Survived,
    /// It does not compile.
    Invalid(String),
}

/// Makes the mistakes whose words contain `wanted`, one after another.
pub(crate) fn run(shell: &Shell, wanted: &str) -> Result<Found> {
    let tree = shell.current_dir().join("target/mutations/tree");
    shell.remove_path(&tree)?;
    let files = cmd!(shell, "git ls-files").quiet().read()?;
    for file in files.lines().filter(|file| shell.path_exists(file)) {
        let copy = tree.join(file);
        shell.create_dir(copy.parent().context("a folder")?)?;
        shell.copy_file(file, copy)?;
    }
    let inside = shell.clone();
    inside.change_dir(&tree);
    inside.set_var("CARGO_TARGET_DIR", shell.current_dir().join("target/mutations/target"));
    inside.set_var("CARGO_PROFILE_TEST_DEBUG", "0");
    if let Fate::Caught(what) | Fate::Invalid(what) = test(&inside)? {
        bail!("the tests fail without any mistake: {what}");
    }
    let (mut made, mut caught) = (0, 0);
    println!("| mistake | file | caught by |\n|---|---|---|");
    for mutation in ALL.iter().filter(|mutation| mutation.what.contains(wanted)) {
        let text = inside.read_file(mutation.file)?;
        inside.write_file(mutation.file, mutation.applied(&text)?)?;
        let fate = test(&inside)?;
        inside.write_file(mutation.file, text)?;
        made += 1;
        let said = match &fate {
            Fate::Caught(test) => {
                caught += 1;
                format!("`{test}`")
            }
            Fate::Survived => "**nobody**".to_owned(),
            Fate::Invalid(why) => format!("**does not compile**: {why}"),
        };
        println!("| {} | `{}` | {said} |", mutation.what, mutation.file);
    }
    println!("\n{caught} of {made} caught");
    Ok(Found::good_if(made > 0 && caught == made))
}

impl Mutation {
    fn applied(&self, text: &str) -> Result<String> {
        if text.matches(self.from).count() != 1 {
            bail!("{}: {:?} does not stand there once: xtask/src/mutations/list.rs", self.file, self.from);
        }
        Ok(text.replacen(self.from, self.to, 1))
    }
}

fn test(shell: &Shell) -> Result<Fate> {
    let tests = cmd!(shell, "cargo test --locked --quiet -p whostalled-analysis -p whostalled-explain --lib --tests");
    // Nothing but what anybody can have decides.
    let elsewhere = ["WHOSTALLED_CORPUS", "WHOSTALLED_REPORTS", "WHOSTALLED_FAULTS", "WHOSTALLED_REQUIRE"];
    let tests = elsewhere.into_iter().fold(tests, |tests, variable| tests.env_remove(variable));
    let output = tests.quiet().ignore_status().output().context("cargo test")?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Ok(fate(output.status.success(), &said))
}

fn fate(good: bool, said: &str) -> Fate {
    if good {
        return Fate::Survived;
    }
    // The name of the test, not of the thread that panicked: it may be a helper of the test's.
    let failed = |line: &str| line.strip_prefix("---- ")?.strip_suffix(" stdout ----").map(str::to_owned);
    if let Some(test) = said.lines().find_map(failed) {
        return Fate::Caught(test);
    }
    let first = said.lines().find(|line| line.starts_with("error")).unwrap_or("no test failed by name");
    Fate::Invalid(first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_can_still_be_made() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        for mutation in ALL {
            let text = std::fs::read_to_string(root.join(mutation.file)).expect("it is there");
            assert_ne!(mutation.applied(&text).expect("it stands there once"), text, "{}", mutation.what);
        }
    }

    #[test]
    fn what_a_test_says_is_told_from_what_the_compiler_says() {
        let failed = "running 2 tests\n\nfailures:\n\n---- a::b stdout ----\nthread '<unnamed>' (12) panicked at x.rs:1:2:\n\nerror: test failed";
        assert_eq!(fate(false, failed), Fate::Caught("a::b".into()));
        assert_eq!(fate(false, "error[E0308]: mismatched types"), Fate::Invalid("error[E0308]: mismatched types".into()));
        assert_eq!(fate(true, "ok"), Fate::Survived);
    }
}
