//! Where this host gets Debian from. In: a release's code name. Out: the archive that apt has for it.

use std::process::Command;

/// The archive of a release, as apt's own lists name it: whoever works behind a mirror keeps doing so.
pub fn archive(codename: &str) -> Option<String> {
    let filter = format!("Codename: {codename}");
    let asked =
        Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", &filter]).output();
    let said = String::from_utf8(asked.ok()?.stdout).ok()?;
    said.lines().next().map(str::to_owned)
}
