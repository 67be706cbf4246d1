//! Disks: what a launch names, what an image has, and what becomes of both.

use serde::{Deserialize, Serialize};

use crate::model::Launch;

/// A disk of a launch.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// The device. If it is the image's root, this is what the root is to be; else it is one more.
    pub device: String,
    /// Its size; none: the image's.
    pub gb: Option<u64>,
    /// Its type: `gp3`; none: the image's.
    pub kind: Option<String>,
    /// It is encrypted.
    pub encrypted: bool,
    /// It goes with the instance.
    pub goes: bool,
}

/// An image whose root has another name than Amazon Linux's.
pub const OTHER_ROOT: &str = "ami-other-root";

/// The root of an image: its device and its size in GB.
pub(crate) fn root(image: &str) -> (&'static str, u64) {
    if image == OTHER_ROOT { ("/dev/sda1", 8) } else { ("/dev/xvda", 8) }
}

/// The disks that a launch makes, the image's root first unless it is named.
pub(crate) fn disks(launch: &Launch) -> Vec<Disk> {
    let (device, gb) = root(&launch.image);
    let of_image = Disk { device: device.to_owned(), gb: Some(gb), goes: true, ..Disk::default() };
    match &launch.disk {
        None => vec![of_image],
        Some(disk) if disk.device == device => vec![disk.clone()],
        Some(more) => vec![of_image, more.clone()],
    }
}
