//! Files that are there whole or not at all: written beside their place, then renamed over it.

use std::path::Path;
use std::{fs, io};

/// Writes a file whole.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written(path, |part| fs::write(part, bytes))
}

/// Has `write` make a file beside `path`, and renames it over `path`.
pub fn written<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    write(&part)?;
    Ok(fs::rename(part, path)?)
}
