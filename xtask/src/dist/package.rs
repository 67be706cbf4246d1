//! The Debian package. In: the binary, the pages, and what lies in `dist`. Out: a .deb.
//!
//! dpkg-deb makes it: the binary is static, so that nothing has to be found out about what it depends on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use super::{Release, binary::Binary};

/// What is copied as it is: from the repository, to the host, with which rights.
const FILES: &[(&str, &str, &str)] = &[
    ("dist/checks.toml", "etc/whostalled/checks.toml", "0640"),
    ("dist/capture.toml", "etc/whostalled/capture.toml", "0640"),
    ("dist/systemd/whostalled-watch.service", "usr/lib/systemd/system/whostalled-watch.service", "0644"),
    ("dist/systemd/whostalled-capture.service", "usr/lib/systemd/system/whostalled-capture.service", "0644"),
    ("dist/debian/sysusers.conf", "usr/lib/sysusers.d/whostalled.conf", "0644"),
    ("dist/debian/copyright", "usr/share/doc/whostalled/copyright", "0644"),
];
/// Folders of the repository that become examples.
const EXAMPLES: &[&str] = &["grafana", "kubernetes", "nats", "prometheus"];
/// What dpkg runs around it.
const SCRIPTS: &[&str] = &["postinst", "prerm", "postrm"];

pub(super) fn build(shell: &Shell, release: &Release, binary: &Binary, pages: &Path) -> Result<PathBuf> {
    let root = release.file("debian");
    let place = |from: &Path, to: &str, rights: &str| -> Result<()> {
        let to = root.join(to);
        cmd!(shell, "install -D --mode {rights} {from} {to}").quiet().run()?;
        Ok(())
    };
    place(&binary.program, "usr/bin/whostalled", "0755")?;
    for (from, to, rights) in FILES {
        place(Path::new(from), to, rights)?;
    }
    let documentation = root.join("usr/share/doc/whostalled");
    for page in
        ["README.md", "docs/capture.md", "docs/explain.md", "docs/method.md", "docs/run.md", "docs/verdicts.md", "docs/watch.md"]
    {
        let name = Path::new(page).file_name().and_then(|name| name.to_str()).context("a page's name")?;
        place(Path::new(page), &format!("usr/share/doc/whostalled/{name}"), "0644")?;
    }
    let examples = documentation.join("examples");
    shell.create_dir(&examples)?;
    for name in EXAMPLES {
        let from = Path::new("dist").join(name);
        cmd!(shell, "cp --recursive {from} {examples}").quiet().run()?;
    }
    let version = debian_version(release);
    changelogs(shell, release, &documentation, &version)?;
    manual(shell, pages, &root)?;
    let completions = pages.join("completions");
    place(&completions.join("bash/whostalled.bash"), "usr/share/bash-completion/completions/whostalled", "0644")?;
    place(&completions.join("zsh/_whostalled"), "usr/share/zsh/vendor-completions/_whostalled", "0644")?;
    place(&completions.join("fish/whostalled.fish"), "usr/share/fish/vendor_completions.d/whostalled.fish", "0644")?;
    for script in SCRIPTS {
        place(&Path::new("dist/debian").join(script), &format!("DEBIAN/{script}"), "0755")?;
    }
    let configuration: String =
        FILES.iter().filter(|(_, to, _)| to.starts_with("etc/")).map(|(_, to, _)| format!("/{to}\n")).collect();
    shell.write_file(root.join("DEBIAN/conffiles"), configuration)?;
    sums(shell, &root)?;
    let kibibytes = cmd!(shell, "du --summarize --apparent-size --block-size=1024 {root}").quiet().read()?;
    let kibibytes = kibibytes.split_whitespace().next().context("du says no size")?.to_owned();
    let control = shell.read_file("dist/debian/control")?.replace("@VERSION@", &version).replace("@SIZE@", &kibibytes);
    shell.write_file(root.join("DEBIAN/control"), control)?;
    cmd!(shell, "chmod -R u=rwX,go=rX {root}").quiet().run()?;
    for (_, to, rights) in FILES.iter().filter(|(_, to, _)| to.starts_with("etc/")) {
        let file = root.join(to);
        cmd!(shell, "chmod {rights} {file}").quiet().run()?;
    }
    let package = release.file(&format!("whostalled_{version}_amd64.deb"));
    let date = &release.date;
    cmd!(shell, "dpkg-deb --root-owner-group -Zxz --build {root} {package}")
        .env("SOURCE_DATE_EPOCH", date)
        .quiet()
        .ignore_stdout()
        .run()?;
    shell.remove_path(&root)?;
    Ok(package)
}

/// `0.1.0-1`, the first packaging of this version: `-` in ours would be read as the end of it.
fn debian_version(release: &Release) -> String {
    format!("{}-1", release.version.replace('-', "~"))
}

/// Ours and the package's own, as Debian wants them: compressed, in the documentation.
fn changelogs(shell: &Shell, release: &Release, documentation: &Path, version: &str) -> Result<()> {
    let epoch = format!("@{}", release.date);
    let when = cmd!(shell, "date --utc --rfc-email --date={epoch}").quiet().read()?;
    let maintainer = shell.read_file("dist/debian/control")?;
    let maintainer =
        maintainer.lines().find_map(|line| line.strip_prefix("Maintainer: ")).context("control names no maintainer")?;
    let entry = format!(
        "whostalled ({version}) unstable; urgency=medium\n\n  * Revision {}.\n\n -- {maintainer}  {when}\n",
        release.revision
    );
    let (own, package) = (documentation.join("changelog"), documentation.join("changelog.Debian"));
    shell.copy_file("CHANGELOG.md", &own)?;
    shell.write_file(&package, entry)?;
    cmd!(shell, "gzip --best --no-name {own} {package}").quiet().run()?;
    Ok(())
}

fn manual(shell: &Shell, pages: &Path, root: &Path) -> Result<()> {
    let to = root.join("usr/share/man/man1");
    shell.create_dir(&to)?;
    for page in shell.read_dir(pages.join("man"))? {
        shell.copy_file(&page, &to)?;
    }
    let all = shell.read_dir(&to)?;
    cmd!(shell, "gzip --best --no-name {all...}").quiet().run()?;
    Ok(())
}

/// What `dpkg --verify` compares with.
fn sums(shell: &Shell, root: &Path) -> Result<()> {
    let _inside = shell.push_dir(root);
    let script = "find . -type f -not -path './DEBIAN/*' -not -path './etc/*' -printf '%P\\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums";
    cmd!(shell, "sh -c {script}").quiet().run()?;
    Ok(())
}
