//! Bundles that an earlier controller did not live to store: in its stead they are written to a folder, for people and for `explain`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use agent::Bundle;

use crate::message::KeptId;
use crate::{Error, Name};

/// Writes a bundle, and its packets beside it; when this returns, they are on the disk.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn store(folder: &Path, agent: &Name, id: &KeptId, bundle: &Bundle) -> Result<PathBuf, Error> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::File { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let path = folder.join(format!("{agent}-{}-{}.json", id.session, id.number));
    let bytes = serde_json::to_vec(bundle).map_err(|e| failed(&path)(e.into()))?;
    if !bundle.frames.0.is_empty() {
        let packets = path.with_extension("pcapng");
        write(&packets, &bundle.frames.0).map_err(failed(&packets))?;
    }
    write(&path, &bytes).map_err(failed(&path))?;
    Ok(path)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // A name is on the disk when its folder is.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
