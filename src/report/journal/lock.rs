//! One writer a journal.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::JournalError;
use super::disk::{Disk, RealDisk, is_at};

const NAME: &str = "lock";

/// What keeps a second writer out.
#[derive(Debug)]
pub(super) enum Lock {
    /// Nobody else sees the directory.
    #[cfg(test)]
    Unneeded,
    /// Goes with the file.
    Held(File),
    /// The disk did not let it be made. It takes no record either: it is tried again with those.
    Refused,
}

impl Lock {
    /// Takes the lock if it is not held, or no longer the directory's, which was deleted or moved.
    pub(super) fn ensure(&mut self, dir: &Path) -> Result<(), JournalError> {
        match self {
            #[cfg(test)]
            Self::Unneeded => return Ok(()),
            Self::Held(file) if is_at(file, &dir.join(NAME)).unwrap_or(true) => return Ok(()),
            Self::Held(_) | Self::Refused => *self = Self::Refused,
        }
        *self = Self::Held(make(dir)?);
        Ok(())
    }
}

/// Makes the directory if need be and locks it.
pub(super) fn take(dir: &Path) -> Result<Lock, JournalError> {
    match make(dir) {
        Ok(file) => Ok(Lock::Held(file)),
        Err(JournalError::Unwritable { source, .. }) if dir.is_dir() && is_refusal(&source) => {
            Ok(Lock::Refused)
        }
        Err(error) => Err(error),
    }
}

/// Locks a journal that must be there.
pub(super) fn existing(dir: &Path) -> Result<File, JournalError> {
    RealDisk.list(dir).map_err(|source| JournalError::Io { path: dir.into(), source })?;
    make(dir)
}

/// Whether the disk may take it another time.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

fn make(dir: &Path) -> Result<File, JournalError> {
    let unwritable = |source| JournalError::Unwritable { dir: dir.into(), source };
    if !dir.is_dir() {
        RealDisk.create_dir(dir).map_err(unwritable)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            RealDisk.sync_dir(parent).map_err(unwritable)?;
        }
    }
    let path = dir.join(NAME);
    let file = match File::options().write(true).create(true).truncate(false).open(&path) {
        // One that is there can be locked all the same.
        Err(error) if is_refusal(&error) => File::open(&path).map_err(|_| error),
        file => file,
    };
    let file = file.map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { dir: dir.into() }),
        Err(TryLockError::Error(source)) => Err(unwritable(source)),
    }
}
