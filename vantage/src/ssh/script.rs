//! What the shell over there is asked to do: one script in one session, so that whoever must type a passphrase types it once.
//!
//! ```text
//! there                                        here
//!    │ ── is kept|bare MACHINE ─────────────────►│
//!    │ ◄──────────────────────────────────── go ─┤   or nothing: it is another kind of machine
//!    │ ── next, for each piece of the program ──►│   only if it is not kept there, whole
//!    │ ◄──────────────────────────── the piece ──┤   nothing is sent unasked: `head` may read beyond what it was told
//!    │ ── start ────────────────────────────────►│   and the program says the rest
//! ```
//!
//! In: the program's size and hash. Out: words for any login shell, and what the lines that come back mean.

use std::fmt::Write;

use super::copy::Binary;

/// Bytes of one piece: the round trip of each is small beside it, and even a thin line takes it in minutes.
pub(super) const PIECE: u64 = 512 << 10;
/// How long the other side waits for a piece, where it has a program that can tell.
const PIECE_S: u32 = 600;
/// Where copies lie over there.
const FOLDER: &str = "${XDG_CACHE_HOME:-$HOME/.cache}/whostalled";

/// A line of the script's; what a login shell's own files print stands between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// What machine it is, and whether the program is there.
    Is { kept: bool, machine: String },
    /// It waits for a piece.
    Next,
    /// The program begins to speak.
    Start,
}

/// How such lines begin: no host prints a hash of ours by itself.
fn mark(binary: &Binary) -> String {
    format!("whostalled-{}", binary.short())
}

/// What a line says, if it is the script's.
pub(super) fn heard(binary: &Binary, line: &str) -> Option<Said> {
    let words = line.trim().strip_prefix(&mark(binary))?.strip_prefix(' ')?;
    match words.split_once(' ').unwrap_or((words, "")) {
        ("kept", machine) => Some(Said::Is { kept: true, machine: machine.to_owned() }),
        ("bare", machine) => Some(Said::Is { kept: false, machine: machine.to_owned() }),
        ("next", _) => Some(Said::Next),
        ("start", _) => Some(Said::Start),
        _ => None,
    }
}

/// The script, as any login shell takes it: a POSIX shell and one word in single quotes, in which no shell finds anything to do, as it has
/// no single quote, `!`, backslash or end of line (csh and fish look at those there).
///
/// What is copied has a name of its own: homes are shared over networks, and so are process ids by containers. A copy that is not whole is
/// never started nor kept. Whatever ends the script, also the end of its input, removes what is not to be kept.
pub(super) fn script(binary: &Binary, keep: bool, arguments: &str) -> String {
    let (mark, short, size, sha256) = (mark(binary), binary.short(), binary.size, &binary.sha256);
    let mut script = String::from("trap \"\" HUP PIPE; umask 077; ");
    let _ = write!(script, "f=\"{FOLDER}\"; p=\"$f/{short}\"; c=\"\"; ");
    script.push_str("over() { if [ -n \"$c\" ]; then rm -f \"$c\"; rmdir \"$f\" 2>/dev/null; fi; }; trap over EXIT; ");
    let _ = write!(script, "say() {{ echo; echo \"{mark} $*\"; }}; ");
    let _ = write!(
        script,
        "whole() {{ [ -f \"$1\" ] && [ \"$(wc -c < \"$1\")\" -eq {size} ] && s=$(sha256sum < \"$1\" 2>/dev/null || true) && \
         {{ [ -z \"$s\" ] || [ \"${{s%% *}}\" = {sha256} ]; }}; }}; "
    );
    script.push_str("k=bare; whole \"$p\" && k=kept; say $k $(uname -sm); read g || exit 0; if [ $k = bare ]; then ");
    // Copies of runs that could not remove them.
    script.push_str("find \"$f\" -name \"*-*\" -mtime +1 -exec rm -f {} + 2>/dev/null; ");
    let _ = write!(script, "mkdir -p \"$f\" || exit 3; c=$(mktemp \"$f/{short}-XXXXXXXXXX\") || exit 3; ");
    let _ = write!(script, "t=; command -v timeout >/dev/null && t=\"timeout {PIECE_S}\"; n=0; ");
    let _ = write!(script, "while [ $n -lt {size} ]; do s=$(({size}-n)); [ $s -gt {PIECE} ] && s={PIECE}; say next; ");
    script.push_str("$t head -c $s >> \"$c\" || exit 3; n=$((n+s)); [ \"$(wc -c < \"$c\")\" -eq $n ] || exit 3; done; ");
    script.push_str("whole \"$c\" || { echo the copy is not what was sent >&2; exit 3; }; chmod 700 \"$c\" || exit 3; ");
    script.push_str(if keep { "mv -f \"$c\" \"$p\" || exit 3; c=\"\"; fi; " } else { "p=$c; fi; " });
    let _ = write!(script, "say start; \"$p\" {arguments}; exit $?");
    format!("sh -c '{script}'")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A program that says what it was given, longer than one piece.
    const PROGRAM: &str = "#!/bin/sh\necho \"heard: $* $(cat)\"\n# ";

    struct There {
        home: tempfile::TempDir,
        binary: Binary,
        bytes: Vec<u8>,
    }

    impl There {
        fn new() -> Self {
            let home = tempfile::tempdir().expect("room");
            let mut bytes = PROGRAM.as_bytes().to_vec();
            bytes.resize(PIECE as usize + 1_000, b'x');
            let file = home.path().join("program");
            std::fs::write(&file, &bytes).expect("our own folder");
            Self { binary: Binary::read(&file).expect("it is there"), home, bytes }
        }

        fn cache(&self) -> PathBuf {
            self.home.path().join(".cache/whostalled")
        }

        fn copies(&self) -> Vec<PathBuf> {
            std::fs::read_dir(self.cache()).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        }

        fn start(&self, shell: &str, keep: bool) -> Child {
            let mut command = Command::new(shell);
            command.arg("-c").arg(script(&self.binary, keep, "agent --stdio")).env("HOME", self.home.path());
            command.env_remove("XDG_CACHE_HOME").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("the shell is there")
        }

        /// Talks to it as the controller does, and breaks off behind so many bytes; all lines, and its code.
        fn talk(&self, shell: &str, keep: bool, cut: usize) -> (Vec<String>, Option<i32>) {
            let mut child = self.start(shell, keep);
            let (mut input, out) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("it was piped")));
            let (mut lines, mut sent) = (Vec::new(), 0);
            for line in out.lines() {
                let line = line.expect("it is text");
                let mut give = |bytes: &[u8]| input.as_mut().is_some_and(|i| std::io::Write::write_all(i, bytes).is_ok());
                match heard(&self.binary, &line) {
                    Some(Said::Is { .. }) => assert!(give(b"go\n")),
                    Some(Said::Next) => {
                        let until = (sent + PIECE as usize).min(self.bytes.len()).min(cut);
                        give(&self.bytes[sent..until]);
                        sent = until;
                        if sent == cut {
                            input = None;
                        }
                    }
                    Some(Said::Start) => {
                        give(b"question");
                        input = None;
                    }
                    None => {}
                }
                lines.push(line);
            }
            (lines, child.wait().expect("it ends").code())
        }
    }

    fn shells() -> impl Iterator<Item = &'static str> {
        ["sh", "dash", "bash", "rbash", "zsh", "fish", "csh", "tcsh"].into_iter().filter(|shell| lab::host::installed(shell))
    }

    #[test]
    fn no_shell_finds_anything_to_do_in_it() {
        let there = There::new();
        let script = script(&there.binary, true, "agent");
        let within = script.strip_prefix("sh -c '").and_then(|s| s.strip_suffix('\'')).expect("one word in quotes");
        assert!(!within.contains(['\'', '!', '\\', '\n']), "{within}");
        assert!(shells().count() > 0);
    }

    #[test]
    fn a_program_is_copied_started_and_removed_under_every_shell() {
        for shell in shells() {
            let there = There::new();
            let (lines, code) = there.talk(shell, false, usize::MAX);
            assert_eq!(lines.last().map(String::as_str), Some("heard: agent --stdio question"), "{shell}: {lines:?}");
            assert_eq!((code, there.cache().exists()), (Some(0), false), "{shell}");
        }
    }

    #[test]
    fn a_copy_that_was_cut_is_neither_started_nor_kept() {
        for cut in [0, 1_000, PIECE as usize, PIECE as usize + 999] {
            for keep in [false, true] {
                let there = There::new();
                let (lines, code) = there.talk("sh", keep, cut);
                assert!(code != Some(0) && !lines.iter().any(|line| line.contains("heard")), "{cut}: {lines:?}");
                assert_eq!(there.copies(), [] as [&Path; 0], "{cut}");
            }
        }
    }

    #[test]
    fn a_kept_copy_is_used_if_it_is_whole() {
        let there = There::new();
        let copied = |lines: &[String]| lines.iter().filter(|line| heard(&there.binary, line) == Some(Said::Next)).count();
        assert_eq!(copied(&there.talk("sh", true, usize::MAX).0), 2);
        let kept = there.copies();
        assert_eq!(kept, [there.cache().join(there.binary.short())]);
        assert_eq!(copied(&there.talk("sh", false, usize::MAX).0), 0);
        // As long, and not what it is called.
        let mut other = there.bytes.clone();
        other.reverse();
        for spoiled in [&there.bytes[..1_000], &other] {
            std::fs::write(&kept[0], spoiled).expect("our own folder");
            let (lines, code) = there.talk("sh", true, usize::MAX);
            assert_eq!((copied(&lines), code), (2, Some(0)), "{lines:?}");
            assert_eq!(std::fs::read(&kept[0]).expect("it is there"), there.bytes);
        }
        let mode = std::fs::metadata(&kept[0]).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn two_at_once_do_not_disturb_each_other() {
        let there = There::new();
        std::thread::scope(|scope| {
            for talk in [0; 4].map(|_| scope.spawn(|| there.talk("sh", false, usize::MAX))) {
                let (lines, code) = talk.join().expect("it does not panic");
                assert_eq!(code, Some(0), "{lines:?}");
            }
        });
        assert_eq!(there.copies(), [] as [&Path; 0]);
    }

    #[test]
    fn what_a_login_shell_prints_is_no_answer() {
        let there = There::new();
        let mark = mark(&there.binary);
        assert_eq!(heard(&there.binary, "Welcome to the box"), None);
        assert_eq!(heard(&there.binary, "Linux x86_64"), None);
        let is = Said::Is { kept: false, machine: "Linux x86_64".into() };
        assert_eq!(heard(&there.binary, &format!("{mark} bare Linux x86_64\r")), Some(is));
        let mut ended = there.start("sh", false);
        drop(ended.stdin.take());
        let mut out = String::new();
        ended.stdout.take().expect("it was piped").read_to_string(&mut out).expect("it is text");
        assert!(out.contains(&mark) && ended.wait().expect("it ends").success(), "not told to go, it goes: {out}");
    }
}
