//! When a file that is being written is whole: it stood still for a while.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use alerting::secret::{PlainOrSecret, Secret};

use crate::checks::{Auth, CheckFile};

/// What stood still for so long is whole.
const STILL: Duration = Duration::from_secs(1);

/// Something that is looked at again and again.
#[derive(Debug)]
pub(crate) struct Settling<T> {
    /// As it was taken.
    taken: T,
    /// As it was at the last look, and since when, if that is not as it was taken.
    moving: Option<(T, Instant)>,
}

impl<T: PartialEq> Settling<T> {
    pub(crate) fn new(taken: T) -> Self {
        Self { taken, moving: None }
    }

    /// How it is at `at`; gives whether it changed, and stood still since. Then it is taken.
    pub(crate) fn look(&mut self, now: T, at: Instant) -> bool {
        match self.moving.take() {
            _ if now == self.taken => false,
            Some((before, since)) if before == now && at.saturating_duration_since(since) >= STILL => {
                self.taken = now;
                true
            }
            Some((before, since)) if before == now => {
                self.moving = Some((before, since));
                false
            }
            Some(_) | None => {
                self.moving = Some((now, at));
                false
            }
        }
    }
}

/// Files that a check file names and that are read with it: where they are renewed, it is read again. Receivers' secrets are read for each
/// message, and `/probe`'s modules when somebody asks for that.
pub(crate) fn files(file: &CheckFile) -> Vec<PathBuf> {
    let of_secret = |secret: &Secret| if let Secret::File(path) = secret { Some(path.clone()) } else { None };
    let mut files: Vec<PathBuf> = file.defaults.ca.iter().cloned().collect();
    for check in &file.checks {
        files.extend([&check.ca, &check.certificate, &check.key].into_iter().flatten().cloned());
        files.extend(check.headers.values().filter_map(|value| match value {
            PlainOrSecret::Secret(secret) => of_secret(secret),
            PlainOrSecret::Plain(_) => None,
        }));
    }
    files.extend(file.watch.tls.iter().flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]));
    files.extend(file.watch.auth.as_ref().and_then(|auth| match auth {
        Auth::Basic { password, .. } => of_secret(password),
        Auth::Bearer(token) => of_secret(token),
    }));
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_is_taken_when_it_is_whole_and_once() {
        let begin = Instant::now();
        let mut settling = Settling::new("old");
        let mut look = |ms: u64, now| settling.look(now, begin + Duration::from_millis(ms));
        for (ms, now) in [(0, "old"), (200, "ha"), (400, "ha"), (900, "half"), (1_100, "half"), (1_800, "half"), (1_850, "whole")]
        {
            assert!(!look(ms, now), "{ms}");
        }
        assert!(!look(2_800, "whole") && look(2_850, "whole"), "it stood still for a second");
        assert!(!look(5_000, "whole") && !look(5_100, "other") && !look(9_000, "whole"), "as it was: nothing is new");
    }

    #[test]
    fn files_that_are_read_with_a_check_file_are_known() {
        let text = "[watch]\nauth = { bearer = { file = \"/page\" } }\ntls = { certificate = \"/c.pem\", key = \"/k.pem\" }\n\
            [defaults]\nca = \"/ca.pem\"\n[[check]]\nname = \"a\"\ntarget = \"https://a.test/\"\n\
            headers = { A = { file = \"/token\" }, B = { env = \"B\" }, C = \"c\" }\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n";
        let files = files(&CheckFile::parse(text).expect("it is valid"));
        let files: Vec<&str> = files.iter().filter_map(|path| path.to_str()).collect();
        assert_eq!(files, ["/c.pem", "/ca.pem", "/k.pem", "/page", "/token"]);
    }
}
