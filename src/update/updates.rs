//! The directory of updates.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use minisign_verify::PublicKey;

use super::signature::{self, SignatureError};
use super::state::State;
use super::{Kind, Release, Slot, UpdateOptions};
use crate::disk::{self, Disk, RealDisk};

const STATE: &str = "state.json";
const LOCK: &str = "lock";
const IN_USE: &str = "in-use";
const SIGNATURE: &str = "minisig";
/// Larger than any program or model, so that no file fills the memory.
const MAX_BYTES: u64 = 64 << 20;

/// Why an update is not taken, or not known.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum UpdateError {
    /// The update's file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Its signature can't be read.
    #[error(
        "can't read its signature {}: {source}; who made the file signs it by `minisign -S`, and both \
         are copied together",
        path.display()
    )]
    Unsigned { path: PathBuf, source: io::Error },
    /// It is too large for either kind.
    #[error("{} has more than {MAX_BYTES} bytes, as no stripped program and no model has", path.display())]
    Large { path: PathBuf },
    /// It is neither.
    #[error("{} is neither a program (ELF) nor a model (.tflite)", path.display())]
    Kind { path: PathBuf },
    /// It is not signed by whom it must be.
    #[error("{}: {source}", path.display())]
    Signature { path: PathBuf, source: SignatureError },
    /// Another kind is on trial.
    #[error(
        "a {kind} is on trial; let it prove itself, or take it back first: `mien update roll-back`"
    )]
    OnTrial { kind: &'static str },
    /// The directory can't be used.
    #[error("updates in {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// What is known of updates is damaged.
    #[error(
        "{} is damaged ({why}); what was installed with the system runs; delete it, and install again",
        path.display()
    )]
    State { path: PathBuf, why: String },
    /// A release is not what was installed.
    #[error("{} is not what was installed: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
}

/// A file that is its maker's.
#[derive(Debug)]
pub struct Verified {
    /// What it is.
    pub kind: Kind,
    /// It.
    pub release: Release,
    bytes: Vec<u8>,
    signature: String,
}

/// Kept by the one process that uses updates.
#[derive(Debug)]
#[expect(dead_code, reason = "it holds the lock")]
pub struct Occupied(Option<File>);

/// The directory, and whose updates are taken.
#[derive(Debug)]
pub struct Updates {
    dir: PathBuf,
    key: PublicKey,
    disk: Box<dyn Disk + Sync>,
}

impl Updates {
    /// As configured; nothing is touched.
    pub fn new(options: &UpdateOptions) -> Result<Self, UpdateError> {
        Self::on(Box::new(RealDisk), options)
    }

    pub(super) fn on(
        disk: Box<dyn Disk + Sync>,
        options: &UpdateOptions,
    ) -> Result<Self, UpdateError> {
        let dir = options.directory.clone();
        let key = signature::key(&options.key)
            .map_err(|source| UpdateError::Signature { path: dir.clone(), source })?;
        Ok(Self { dir, key, disk })
    }

    /// Reads an update and the signature beside it, FILE.minisig; takes nothing.
    pub fn verify(&self, path: &Path) -> Result<Verified, UpdateError> {
        let bytes = read(path, |path, source| UpdateError::Read { path, source })?;
        let signature = path.with_added_extension(SIGNATURE);
        let signature = read(&signature, |path, source| UpdateError::Unsigned { path, source })?;
        self.verified(path, bytes, &String::from_utf8_lossy(&signature))
    }

    pub(super) fn verified(
        &self,
        path: &Path,
        bytes: Vec<u8>,
        signature: &str,
    ) -> Result<Verified, UpdateError> {
        let comment = signature::verify(&self.key, &bytes, signature)
            .map_err(|source| UpdateError::Signature { path: path.into(), source })?;
        let kind = Kind::of(&bytes).ok_or_else(|| UpdateError::Kind { path: path.into() })?;
        let release = Release::new(&bytes, comment);
        Ok(Verified { kind, release, bytes, signature: signature.into() })
    }

    /// Puts a verified file on the disk, not yet on trial; where it lies.
    pub fn store(&self, verified: &Verified) -> Result<PathBuf, UpdateError> {
        let Verified { kind, release, bytes, signature } = verified;
        let path = self.path(*kind, release);
        let store = || {
            self.disk.create_dir(&self.dir)?;
            disk::replace(
                &*self.disk,
                &path.with_added_extension(SIGNATURE),
                signature.as_bytes(),
            )?;
            disk::replace(&*self.disk, &path, bytes)
        };
        store().map_err(|source| self.failed(source))?;
        Ok(path)
    }

    /// Deletes stored files that are neither in use nor on trial.
    pub fn discard(&self) -> Result<(), UpdateError> {
        let _lock = self.lock().map_err(|source| self.failed(source))?;
        let state = self.load()?;
        self.clean(&state).map_err(|source| self.failed(source))
    }

    /// Puts a stored file on trial, from the next start on; whether it is not in use already. One at a
    /// time, so that neither answers for the other.
    pub fn offer(&self, verified: &Verified) -> Result<bool, UpdateError> {
        let Verified { kind, release, .. } = verified;
        self.change(|updates, state| {
            let other = Kind::ALL.into_iter().find(|other| other != kind);
            if let Some(other) = other.filter(|other| slot(state, *other).trial.is_some()) {
                return Err(UpdateError::OnTrial { kind: other.name() });
            }
            // Whoever changed the state meanwhile may have taken it for a leftover.
            if updates.stored(*kind, release).is_err() {
                updates.store(verified)?;
            }
            Ok(slot(state, *kind).offer(release.clone()))
        })?
    }

    /// Whether this process may use updates: one at a time, for as long as it keeps what this gives.
    /// None: another does.
    pub fn occupy(&self) -> Result<Option<Occupied>, UpdateError> {
        let file = match File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.dir.join(IN_USE))
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(Occupied(None)));
            }
            Err(source) => return Err(self.failed(source)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Occupied(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(self.failed(source)),
        }
    }

    /// What to start now, verified; none: what was installed with the system. Counts as a start if it is
    /// on trial.
    pub fn start(&self, kind: Kind) -> Result<Option<(Release, PathBuf)>, UpdateError> {
        let slot_now = self.slot(kind)?;
        let release = match slot_now.trial {
            Some(_) => self.change(|_, state| slot(state, kind).start())?,
            // Also on a disk that can't be written.
            None => slot_now.current,
        };
        let Some(release) = release else { return Ok(None) };
        match self.stored(kind, &release) {
            Ok(path) => Ok(Some((release, path))),
            Err(error) => {
                // What is on trial need not be tried again; for what is in use it may be a disk's passing
                // trouble.
                self.reject(kind, &release, &error.to_string())?;
                Err(error)
            }
        }
    }

    /// A release on trial has proved itself: it is in use from now on. Whether it was on trial.
    pub fn prove(&self, kind: Kind, sha256: &str) -> Result<bool, UpdateError> {
        self.change(|_, state| slot(state, kind).prove(sha256))
    }

    /// Leaves a release, if it is on trial.
    pub fn reject(&self, kind: Kind, release: &Release, why: &str) -> Result<(), UpdateError> {
        let is_on_trial =
            |slot: &Slot| slot.trial.as_ref().is_some_and(|trial| trial.release == *release);
        if !is_on_trial(&self.slot(kind)?) {
            return Ok(());
        }
        self.change(|_, state| {
            let slot = slot(state, kind);
            if is_on_trial(slot) {
                slot.reject(why);
            }
        })
    }

    /// Goes back to what was before; whether there was anything to go back from.
    pub fn roll_back(&self, kind: Kind) -> Result<bool, UpdateError> {
        self.change(|_, state| slot(state, kind).roll_back())
    }

    /// What there is of a kind.
    pub fn slot(&self, kind: Kind) -> Result<Slot, UpdateError> {
        Ok(slot(&mut self.load()?, kind).clone())
    }

    fn path(&self, kind: Kind, release: &Release) -> PathBuf {
        self.dir.join(&release.sha256).with_extension(kind.extension())
    }

    /// Where a release's file lies, if it still is what was signed and installed.
    pub fn stored(&self, kind: Kind, release: &Release) -> Result<PathBuf, UpdateError> {
        let path = self.path(kind, release);
        let read = |path: &Path| {
            let bytes = self.disk.read(path);
            bytes.map_err(|source| UpdateError::Read { path: path.into(), source })
        };
        let signature = read(&path.with_added_extension(SIGNATURE))?;
        let verified = self.verified(&path, read(&path)?, &String::from_utf8_lossy(&signature))?;
        match verified.kind == kind && verified.release == *release {
            true => Ok(path),
            false => Err(UpdateError::Damaged { path, why: "it is another file".into() }),
        }
    }

    /// Changes the state; returns when the disk has it, and deletes what no slot needs any more.
    fn change<T>(&self, change: impl FnOnce(&Self, &mut State) -> T) -> Result<T, UpdateError> {
        let _lock = self.lock().map_err(|source| self.failed(source))?;
        let mut state = self.load()?;
        let before = state.clone();
        let result = change(self, &mut state);
        if state != before {
            let text = serde_json::to_string_pretty(&state)
                .map_err(|error| self.failed(io::Error::other(error)))?;
            disk::replace(&*self.disk, &self.dir.join(STATE), text.as_bytes())
                .map_err(|source| self.failed(source))?;
            if let Err(error) = self.clean(&state) {
                log::warn!("updates in {}: can't delete old files: {error}", self.dir.display());
            }
        }
        Ok(result)
    }

    /// Held while the state is read and replaced, against another process. Without a directory there is
    /// nothing to hold.
    fn lock(&self) -> io::Result<Option<File>> {
        match File::create(self.dir.join(LOCK)) {
            Ok(file) => file.lock().map(|()| Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn load(&self) -> Result<State, UpdateError> {
        let path = self.dir.join(STATE);
        let bytes = match self.disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(source) => return Err(self.failed(source)),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| UpdateError::State { path, why: error.to_string() })
    }

    /// Deletes files that no slot needs.
    fn clean(&self, state: &State) -> io::Result<()> {
        let needed: Vec<&str> = state.program.needed().chain(state.model.needed()).collect();
        let is_needed = |name: &str| {
            [STATE, LOCK, IN_USE].contains(&name)
                || needed.iter().any(|sha256| name.starts_with(sha256))
        };
        for (name, _) in self.disk.list(&self.dir)? {
            if !is_needed(&name) {
                self.disk.remove(&self.dir.join(name))?;
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> UpdateError {
        UpdateError::Io { path: self.dir.clone(), source }
    }
}

fn slot(state: &mut State, kind: Kind) -> &mut Slot {
    match kind {
        Kind::Program => &mut state.program,
        Kind::Model => &mut state.model,
    }
}

/// Reads a file that is neither endless nor too large; `failed` is what is wrong if it can't be read.
fn read(
    path: &Path,
    failed: impl Fn(PathBuf, io::Error) -> UpdateError,
) -> Result<Vec<u8>, UpdateError> {
    let failed = |source| failed(path.into(), source);
    let found = std::fs::metadata(path).map_err(failed)?;
    match () {
        // A pipe may never end, nor may a device.
        () if !found.is_file() => Err(failed(io::Error::other("it is no regular file"))),
        () if found.len() > MAX_BYTES => Err(UpdateError::Large { path: path.into() }),
        () => std::fs::read(path).map_err(failed),
    }
}
