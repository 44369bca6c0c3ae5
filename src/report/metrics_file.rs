//! The file for the textfile collector of Prometheus' node exporter. It is replaced as a whole, so that nobody reads half of one.

use std::io::Write;
use std::path::Path;
use std::{fs, io};

use super::earlier::Earlier;
use super::ended::Ended;
use super::metrics::encode;

/// The collector is another user, whatever the command's umask is.
#[cfg(unix)]
const MODE: u32 = 0o644;

/// Replaces the file, where there is something to say.
///
/// # Errors
/// Where there is no room, or no right to write there or to read what is there.
pub(super) fn write(path: &Path, ended: &dyn Ended) -> io::Result<()> {
    let earlier = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        // What it knows must not be lost.
        Err(error) => return Err(error),
    };
    let earlier = Earlier::of_file(earlier);
    let samples = [ended.samples(&earlier), ended.left_alone(&earlier)].concat();
    if samples.is_empty() {
        return Ok(());
    }
    let text = encode(&samples, None).map_err(io::Error::other)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    // No name that the collector reads.
    builder.prefix(".fga-sync-").suffix(".tmp");
    let mut file = builder.tempfile_in(directory.unwrap_or(Path::new(".")))?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(MODE);
        file.as_file().set_permissions(mode)?;
    }
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
