//! A folder for what a run writes while it lasts: certificates, configurations, outputs of clients.
//!
//! It lies where everybody may write, so its name cannot be guessed, it is this user's alone, and a folder that somebody else put in its
//! place is not used. Its lock tells [`crate::clean`], also in another PID namespace, that its run lives.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::{Builder, TempDir};

use crate::Error;
use crate::clean::locked;
use crate::cpu::PREFIX;

/// Such a folder; it goes with this.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _lock: Option<File>,
}

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// If there is no room for temporary files.
    pub fn make() -> Result<Self, Error> {
        let prefix = format!("{PREFIX}{}.", std::process::id());
        let made = Builder::new().prefix(&prefix).permissions(Permissions::from_mode(0o700)).tempdir();
        let folder = made.map_err(Error::system(format!("making a folder in {}", std::env::temp_dir().display())))?;
        let lock = locked(folder.path());
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes another one if it is gone, or no longer ours: what lives long sees hosts clean their temporary files.
    ///
    /// # Errors
    /// As [`Scratch::make`].
    pub fn be_there(&mut self) -> Result<(), Error> {
        if is_ours(self.path()) {
            return Ok(());
        }
        let another = Self::make()?;
        // What stands there now is somebody else's, who may have put a link into it.
        std::mem::replace(self, another).folder.disable_cleanup(true);
        Ok(())
    }
}

/// Whether it is a folder, no link, of this user, that nobody else may look into.
fn is_ours(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder)
        .is_ok_and(|is| is.is_dir() && is.uid() == nix::unistd::geteuid().as_raw() && is.permissions().mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_private_and_its_name_cannot_be_guessed() {
        let (one, other) = (Scratch::make().expect("room"), Scratch::make().expect("room"));
        assert_ne!(one.path(), other.path());
        assert!(is_ours(one.path()));
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_put_in_its_place_is_not_used() {
        let elsewhere = tempfile::tempdir().expect("room");
        std::fs::write(elsewhere.path().join("precious"), "").expect("our own folder");
        let open = |path: &Path| {
            std::fs::create_dir(path).expect("room");
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).expect("our own folder");
        };
        let link = |path: &Path| symlink(elsewhere.path(), path).expect("room");
        for put in [&open as &dyn Fn(&Path), &link] {
            let mut scratch = Scratch::make().expect("room");
            let first = scratch.path().to_owned();
            scratch.be_there().expect("room");
            assert_eq!(scratch.path(), first, "it is there");
            std::fs::remove_dir(&first).expect("our own folder");
            put(&first);
            scratch.be_there().expect("room");
            assert_ne!(scratch.path(), first);
            assert!(is_ours(scratch.path()) && elsewhere.path().join("precious").exists());
            let _ = std::fs::remove_dir(&first).or_else(|_| std::fs::remove_file(&first));
        }
    }
}
