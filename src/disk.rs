//! The little that the journal and updates need of a disk. Tests put one below them that fails, fills
//! up, and loses, reorders and tears what was not synced; `docs/journal.md` says what is assumed of it.

#[cfg(test)]
pub(crate) mod simulated;

use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Files in directories.
pub(crate) trait Disk: Debug + Send {
    /// Names and lengths of the plain files in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// An empty file, also where there was one before.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// A file to write to.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Replaces what `to` names, at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory if it is not there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Returns when the disk has the directory's entries.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file being written.
pub(crate) trait DiskFile: Debug + Send {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns when the disk has all its bytes and its length.
    fn sync(&self) -> io::Result<()>;
    /// Whether the path still names it.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
}

/// The machine's own.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => files.push((name, metadata.len())),
                Ok(_) => {}
                // Deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::options().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_at(self, path)
    }
}

/// Whether a path still names the file.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a whole file; returns when the disk has its bytes, though not yet its name.
pub(crate) fn write_synced(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
) -> io::Result<Box<dyn DiskFile>> {
    let file = disk.create(path)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    Ok(file)
}

/// Puts a whole file in a place, at once; returns when the disk has it.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    write_synced(disk, &beside, bytes)?;
    disk.rename(&beside, path)?;
    disk.sync_dir(path.parent().unwrap_or(path))
}
