//! A disk for tests: keeps apart what was written and what was synced, fails on demand, and on a
//! power cut keeps any part of the rest.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};

/// What a card writes at once, or not at all.
const SECTOR: usize = 512;

/// Shared by the journal and the test.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    files: Vec<Content>,
    /// What programs see.
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameChange>,
    faults: Faults,
    /// Changes until the power goes.
    power_for: Option<u64>,
}

/// How often the disk refuses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Of 256 writes and creations.
    pub writes: u16,
    /// Of 256 syncs.
    pub syncs: u16,
    /// `EROFS`, `ENOSPC` or `EIO`.
    pub errno: i32,
}

impl Faults {
    pub(crate) const ALL: u16 = 256;
}

#[derive(Debug, Default)]
struct Content {
    /// What programs see.
    seen: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, usize),
    Move(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: fastrand::Rng::with_seed(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            faults: Faults::default(),
            power_for: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The power goes after so many changes more.
    pub(crate) fn cut_power_after(&self, changes: u64) {
        self.state().power_for = Some(changes);
    }

    /// Flips a bit somewhere in the last file of this directory, also in what was synced.
    pub(crate) fn flip_bit(&self, dir: &Path) {
        let mut state = self.state();
        let Some((Content { seen, synced, .. }, rng)) = state.last_file(dir) else { return };
        let bit = rng.usize(..seen.len().max(1) * 8);
        for bytes in [seen, synced] {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Overwrites the end of the last file of this directory, from anywhere on, also of what was
    /// synced, with zeros or noise.
    pub(crate) fn damage_end(&self, dir: &Path) {
        let mut state = self.state();
        let Some((Content { seen, synced, .. }, rng)) = state.last_file(dir) else { return };
        assert_eq!(seen, synced);
        let damaged = &mut seen[rng.usize(..synced.len())..];
        damaged.fill(0);
        if rng.bool() {
            rng.fill(damaged);
        }
        synced.clone_from(seen);
    }

    /// The disk as another process sees it; it does not fail any more.
    pub(crate) fn without_power_cut(&self) -> Self {
        self.set_faults(Faults::default());
        self.state().power_for = None;
        self.clone()
    }

    /// The disk as it is found after a power cut: of the unsynced writes some came through, in any
    /// order, also in part; of the changes of names some. Programs still running see the old disk.
    pub(crate) fn after_power_cut(&self) -> Self {
        let mut state = self.state();
        let State { rng, files, synced_names, unsynced_names, .. } = &mut *state;
        let mut names = synced_names.clone();
        for change in unsynced_names.iter().filter(|_| rng.bool()) {
            match change.clone() {
                NameChange::Add(path, file) => drop(names.insert(path, file)),
                NameChange::Move(from, to, file) => {
                    names.remove(&from);
                    names.insert(to, file);
                }
                NameChange::Remove(path) => drop(names.remove(&path)),
            }
        }
        let files = files.iter().map(|content| survivor(content, rng)).collect();
        let after = Self::new(rng.u64(..));
        after.state().files = files;
        after.state().synced_names = names.clone();
        after.state().names = names;
        after
    }
}

/// A file's content after a power cut.
fn survivor(content: &Content, rng: &mut fastrand::Rng) -> Content {
    let mut pieces = Vec::new();
    for change in &content.unsynced {
        match change {
            Change::Len(len) => pieces.push(Change::Len(*len)),
            Change::Write(offset, bytes) => pieces.extend(torn(*offset, bytes, rng)),
        }
    }
    if rng.bool() {
        rng.shuffle(&mut pieces);
    }
    let keep = rng.u8(..);
    let mut bytes = content.synced.clone();
    pieces.iter().filter(|_| rng.u8(..) <= keep).for_each(|piece| apply(piece, &mut bytes));
    Content { seen: bytes.clone(), synced: bytes, unsynced: Vec::new() }
}

/// A write as the sectors it falls into, or cut at any byte.
fn torn(offset: usize, bytes: &[u8], rng: &mut fastrand::Rng) -> Vec<Change> {
    let mut cuts = vec![offset, offset + bytes.len()];
    cuts.extend((offset..offset + bytes.len()).filter(|at| at % SECTOR == 0));
    if rng.bool() && !bytes.is_empty() {
        cuts.push(offset + rng.usize(..bytes.len()));
    }
    cuts.sort_unstable();
    let pieces = cuts.windows(2).filter(|cut| cut[0] < cut[1]);
    pieces
        .map(|cut| Change::Write(cut[0], bytes[cut[0] - offset..cut[1] - offset].to_vec()))
        .collect()
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    match change {
        Change::Len(len) => bytes.resize(*len, 0),
        Change::Write(offset, new) => {
            let end = offset + new.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*offset..end].copy_from_slice(new);
        }
    }
}

impl State {
    /// Counts a change towards the power cut. Without power nothing is changed any more.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.power_for {
            Some(0) => return Err(io::Error::other("no power")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    fn refuses(&mut self, of_256: u16) -> bool {
        u16::from(self.rng.u8(..)) < of_256
    }

    fn refuse_write(&mut self) -> io::Result<()> {
        self.change()?;
        let faults = self.faults;
        if self.refuses(faults.writes) {
            return Err(io::Error::from_raw_os_error(faults.errno));
        }
        Ok(())
    }

    /// Whether this sync fails.
    fn refuse_sync(&mut self) -> io::Result<()> {
        self.change()?;
        let faults = self.faults;
        if self.refuses(faults.syncs) {
            return Err(io::Error::from_raw_os_error(faults.errno));
        }
        Ok(())
    }

    /// Of this directory, by name.
    fn last_file(&mut self, dir: &Path) -> Option<(&mut Content, &mut fastrand::Rng)> {
        let (_, &file) = self.names.iter().rfind(|(path, _)| path.parent() == Some(dir))?;
        Some((&mut self.files[file], &mut self.rng))
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn make(&mut self, file: usize, change: Change) {
        apply(&change, &mut self.files[file].seen);
        self.files[file].unsynced.push(change);
    }
}

impl Disk for SimulatedDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok(inside.map(|(path, &file)| (name(path), state.files[file].seen.len() as u64)).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        Ok(state.files[state.file(path)?].seen.clone())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.refuse_write()?;
        let file = match state.file(path) {
            Ok(file) => file,
            Err(_) => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.names.insert(path.into(), file);
                state.unsynced_names.push(NameChange::Add(path.into(), file));
                file
            }
        };
        state.make(file, Change::Len(0));
        Ok(Box::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.state().file(path)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.refuse_write()?;
        let file = state.file(from)?;
        state.names.remove(from);
        state.names.insert(to.into(), file);
        state.unsynced_names.push(NameChange::Move(from.into(), to.into(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.refuse_write()?;
        state.file(path)?;
        state.names.remove(path);
        state.unsynced_names.push(NameChange::Remove(path.into()));
        Ok(())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.refuse_sync()?;
        let inside = |path: &PathBuf| path.parent() == Some(dir);
        state.unsynced_names.retain(|change| match change {
            NameChange::Add(path, _) | NameChange::Remove(path) => !inside(path),
            NameChange::Move(_, to, _) => !inside(to),
        });
        let State { names, synced_names, .. } = &mut *state;
        synced_names.retain(|path, _| !inside(path));
        synced_names
            .extend(names.iter().filter(|(path, _)| inside(path)).map(|(p, f)| (p.clone(), *f)));
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
}

impl DiskFile for SimulatedFile {
    /// A refused write may have taken some of the bytes.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let refused = state.refuse_write();
        if state.power_for == Some(0) && refused.is_err() {
            return refused;
        }
        let taken = if refused.is_ok() { bytes.len() } else { state.rng.usize(..=bytes.len()) };
        state.make(self.file, Change::Write(offset as usize, bytes[..taken].to_vec()));
        refused
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.refuse_write()?;
        state.make(self.file, Change::Len(len as usize));
        Ok(())
    }

    /// A failed sync may have dropped what it should have written; the next one won't know of it.
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let refused = state.refuse_sync();
        if state.power_for == Some(0) && refused.is_err() {
            return refused;
        }
        let State { files, rng, .. } = &mut *state;
        let Content { synced, unsynced, .. } = &mut files[self.file];
        match refused {
            Ok(()) => unsynced.drain(..).for_each(|change| apply(&change, synced)),
            Err(_) => unsynced.retain(|_| rng.bool()),
        }
        refused
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        Ok(self.disk.state().names.get(path) == Some(&self.file))
    }
}
