//! One writer a journal.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::JournalError;
use crate::disk::{Disk, RealDisk, is_at};

const NAME: &str = "lock";

/// What keeps a second writer out.
#[derive(Debug)]
pub(super) enum Lock {
    /// Nobody else sees the directory.
    #[cfg(test)]
    Unneeded,
    /// Goes with the file.
    Held(File),
    /// The disk did not let it be made: it is tried again before each sync.
    Refused,
}

impl Lock {
    /// Takes the lock if it is not held, or no longer the directory's, which was deleted or moved; but not
    /// on another disk, where a journal's own was taken away from under it.
    pub(super) fn ensure(&mut self, dir: &Path) -> Result<(), JournalError> {
        match self {
            #[cfg(test)]
            Self::Unneeded => return Ok(()),
            Self::Held(file) if is_at(file, &dir.join(NAME)).unwrap_or(true) => return Ok(()),
            Self::Held(file) => {
                let io = |source| JournalError::Io { path: dir.into(), source };
                if file.metadata().map_err(io)?.dev() != device_for(dir).map_err(io)? {
                    return Err(io(io::Error::other(
                        "its disk is gone, and another is in its place",
                    )));
                }
                *self = Self::Refused;
            }
            Self::Refused => {}
        }
        *self = Self::Held(make(dir)?);
        Ok(())
    }
}

/// The device of a directory, or, if it is not there, of that in which it would be made.
fn device_for(dir: &Path) -> io::Result<u64> {
    let ancestors = dir.ancestors().map(|dir| match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    });
    for dir in ancestors {
        match dir.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata => return Ok(metadata?.dev()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
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
