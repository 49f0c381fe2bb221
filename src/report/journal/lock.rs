//! One writer a journal.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::JournalError;
use super::disk::{Disk, RealDisk};

const NAME: &str = "lock";

/// Makes the directory if need be and locks it.
pub(super) fn take(dir: &Path) -> Result<File, JournalError> {
    let unwritable = |source| JournalError::Unwritable { dir: dir.into(), source };
    if !dir.is_dir() {
        RealDisk.create_dir(dir).map_err(unwritable)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            RealDisk.sync_dir(parent).map_err(unwritable)?;
        }
    }
    let path = dir.join(NAME);
    let file = match File::options().write(true).create(true).truncate(false).open(&path) {
        // Records can wait in memory for the disk to be writable again.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
        file => file,
    };
    lock(dir, file.map_err(unwritable)?)
}

/// Locks a journal that must be there.
pub(super) fn existing(dir: &Path) -> Result<File, JournalError> {
    RealDisk.list(dir).map_err(|source| JournalError::Io { path: dir.into(), source })?;
    take(dir)
}

fn lock(dir: &Path, file: File) -> Result<File, JournalError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { dir: dir.into() }),
        Err(TryLockError::Error(source)) => {
            Err(JournalError::Unwritable { dir: dir.into(), source })
        }
    }
}
