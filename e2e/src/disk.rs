//! A small disk that can be full. In: where, and how large. Out: a tmpfs that goes with its owner.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A mounted tmpfs; needs root.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one; `size` as mount(8) takes it.
    #[must_use]
    pub fn mount(folder: &Path, size: &str) -> Self {
        std::fs::create_dir_all(folder).expect("a folder of our own");
        let options = format!("size={size}");
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).expect("a tmpfs");
        Self(folder.to_owned())
    }

    /// Writes until there is no room; gives the file.
    #[must_use]
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("fill");
        let mut file = File::create(&path).expect("room for a file's name");
        while file.write_all(&[b'x'; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Who still has files open may keep them.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
