//! `mien update`, and what a starting and a running kiosk do about updates.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mien::config::Config;
use mien::engine::Model;
use mien::kiosk::controls::Controls;
use mien::update::{Kind, MAX_STARTS, Occupied, Release, Updates};

use crate::args::UpdateCommand;
use crate::check::is_anothers;
use crate::self_test;

/// By this the program that an update brought knows that it is that, and which.
const RELEASE: &str = "MIEN_UPDATE";
/// A kiosk that has watched for so long has shown that it works.
const PROVED_AFTER: Duration = Duration::from_secs(60);
/// Pauses of the camera up to this long are none.
const PATIENCE: Duration = Duration::from_secs(10);
/// A self-test takes a second on a Raspberry Pi 3.
const SELF_TEST_LIMIT: Duration = Duration::from_secs(120);

/// Does what `command` says.
pub fn run(command: &UpdateCommand) -> anyhow::Result<ExitCode> {
    match command {
        UpdateCommand::Install { file, config } => install(file, config)?,
        UpdateCommand::Status { config } => status(&updates(&Config::read(config)?, config)?)?,
        UpdateCommand::RollBack { kind, config } => {
            roll_back(&updates(&Config::read(config)?, config)?, *kind)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Of a configuration, read from `file`.
fn updates(config: &Config, file: &Path) -> anyhow::Result<Updates> {
    let options = config.update.as_ref().with_context(|| {
        format!("config {} takes no updates: set `key` in [update]", file.display())
    })?;
    Ok(Updates::new(options)?)
}

fn install(file: &Path, config_file: &Path) -> anyhow::Result<()> {
    let config = Config::read(config_file)?;
    let updates = updates(&config, config_file)?;
    let directory = &config.journal.directory;
    ensure!(
        !is_anothers(directory),
        "{} is another user's, whose updates must be too: `sudo -u mien mien update install …`",
        directory.display()
    );
    let verified = updates.verify(file)?;
    let (kind, release) = (verified.kind, &verified.release);
    let mut out = io::stdout();
    writeln!(out, "{}, signed as: {}", kind.name(), release.comment)?;
    writeln!(out, "SHA-256 {}", release.sha256)?;
    let stored = updates.store(&verified)?;
    let tested = match kind {
        Kind::Program => test_program(&stored, config_file),
        Kind::Model => Model::read(&stored).map(drop).map_err(Into::into),
    };
    let offered = tested.and_then(|()| Ok(updates.offer(&verified)?));
    if offered.is_err() {
        updates.discard()?;
    }
    match offered.with_context(|| format!("{} is not installed", file.display()))? {
        true => writeln!(
            out,
            "On trial from the next start: `sudo systemctl restart mien`. It stays once it has watched for \
             {} s; otherwise the kiosk goes back after {MAX_STARTS} starts.",
            PROVED_AFTER.as_secs()
        )?,
        false => writeln!(out, "It is in use already.")?,
    }
    Ok(())
}

/// Has a program test itself where it will run, with the configuration that it will have.
fn test_program(program: &Path, config: &Path) -> anyhow::Result<()> {
    ensure_startable(program)?;
    let mut test = Command::new(program);
    test.args(["self-test", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null());
    let mut test = test.spawn().context("it does not start on this machine")?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = test.try_wait()? {
            break status;
        }
        if started.elapsed() > SELF_TEST_LIMIT {
            test.kill()?;
            test.wait()?;
            bail!("its self-test did not end in {} s", SELF_TEST_LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    };
    ensure!(status.success(), "its self-test failed: {status}");
    Ok(())
}

/// Whether a program is for this CPU, made executable. The kernel's own answer is not waited for: what it
/// does not know, C libraries give to a shell.
fn ensure_startable(program: &Path) -> anyhow::Result<()> {
    let head = |path: &Path| -> io::Result<[u8; 20]> {
        let mut head = [0; 20];
        File::open(path)?.read_exact(&mut head)?;
        Ok(head)
    };
    let theirs = head(program).context("it is too short for a program")?;
    let own = head(Path::new("/proc/self/exe"))?;
    // Word size, byte order, CPU (System V ABI, chapter 4).
    let is_alike = theirs[4..6] == own[4..6] && theirs[18..] == own[18..];
    ensure!(is_alike, "it is for another kind of machine");
    let mode = std::fs::metadata(program)?.permissions().mode();
    if mode & 0o111 != 0o111 {
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

fn status(updates: &Updates) -> anyhow::Result<()> {
    let mut out = io::stdout();
    for kind in Kind::ALL {
        let slot = updates.slot(kind)?;
        let name = |release: Option<&Release>| match release {
            Some(Release { comment, sha256 }) => format!("{comment} ({sha256:.12})"),
            None => "as installed with the system".into(),
        };
        writeln!(out, "{:<8} in use    {}", kind.name(), name(slot.current.as_ref()))?;
        if slot.current.is_some() {
            writeln!(out, "{:<8} before    {}", "", name(slot.previous.as_ref()))?;
        }
        if let Some(trial) = &slot.trial {
            let (release, starts) = (name(Some(&trial.release)), trial.starts);
            writeln!(out, "{:<8} on trial  {release}, {starts} of {MAX_STARTS} starts", "")?;
        }
        if let Some(rejected) = &slot.rejected {
            let release = name(Some(&rejected.release));
            writeln!(out, "{:<8} rejected  {release}: {}", "", rejected.why)?;
        }
    }
    Ok(())
}

/// Goes back from what is on trial, or, if a kind is named, from what is in use of it.
fn roll_back(updates: &Updates, named: Option<Kind>) -> anyhow::Result<()> {
    let on_trial = |kind: &Kind| updates.slot(*kind).is_ok_and(|slot| slot.trial.is_some());
    let kind = named
        .or_else(|| Kind::ALL.into_iter().find(on_trial))
        .context("nothing is on trial; say `program` or `model` to go back from what is in use")?;
    ensure!(updates.roll_back(kind)?, "no {} of an update is in use", kind.name());
    writeln!(io::stdout(), "{}: back to what was before, from the next start", kind.name())?;
    Ok(())
}

/// Whether this program came by an update.
pub fn is_update() -> bool {
    std::env::var_os(RELEASE).is_some()
}

/// The program that an update brought goes on in this one's place, with its arguments; returns if there
/// is none, or none that starts. Before the configuration is judged, which the other may know more of.
pub fn hand_over(config: Option<&Path>) {
    let Some(options) = config.and_then(Config::updates) else { return };
    if is_update() {
        return;
    }
    // What is on trial, then what is in use.
    for _ in 0..2 {
        let exec = || -> anyhow::Result<bool> {
            let updates = Updates::new(&options)?;
            // Given up by exec; the other takes it anew.
            let Some(_occupied) = updates.occupy()? else { return Ok(false) };
            let Some((release, path)) = updates.start(Kind::Program)? else { return Ok(false) };
            log::info!("going on as {}", release.comment);
            let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
            let mut command = Command::new(&path);
            command.args(arguments).env(RELEASE, &release.sha256);
            let error = ensure_startable(&path).err().unwrap_or_else(|| command.exec().into());
            log::error!("{} does not start: {error:#}", path.display());
            updates.reject(Kind::Program, &release, &format!("it does not start: {error:#}"))?;
            Ok(true)
        };
        match exec() {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => log::error!("{error:#}"),
        }
    }
}

/// What of a running kiosk came by an update.
#[derive(Default)]
pub struct Updated {
    updates: Option<Arc<Updates>>,
    /// No other process uses them meanwhile.
    _occupied: Option<Occupied>,
    /// The model to run.
    pub model: Option<PathBuf>,
    /// Kinds and hashes.
    releases: Vec<(Kind, String)>,
}

impl Updated {
    /// Chooses the model, unless one was named.
    pub fn choose(config: &Config, named: Option<&Path>) -> Self {
        let mut updated = Self { model: named.map(Into::into), ..Self::default() };
        let Some(options) = &config.update else { return updated };
        let occupied = Updates::new(options).and_then(|updates| Ok((updates.occupy()?, updates)));
        match occupied {
            Ok((Some(occupied), updates)) => {
                updated._occupied = Some(occupied);
                if let Ok(sha256) = std::env::var(RELEASE) {
                    updated.releases.push((Kind::Program, sha256));
                }
                if named.is_none() {
                    updated.choose_model(&updates);
                }
                updated.updates = Some(Arc::new(updates));
            }
            Ok((None, _)) => log::warn!("another mien uses the updates; this one does without"),
            Err(error) => log::error!("{error}"),
        }
        updated
    }

    fn choose_model(&mut self, updates: &Updates) {
        // What is on trial, then what is in use.
        for _ in 0..2 {
            match updates.start(Kind::Model) {
                Ok(None) => return,
                Ok(Some((release, path))) => match Model::read(&path) {
                    Ok(_) => {
                        log::info!("the model is {}", release.comment);
                        self.model = Some(path);
                        self.releases.push((Kind::Model, release.sha256));
                        return;
                    }
                    Err(error) => {
                        log::error!("{error}");
                        let rejected = updates.reject(Kind::Model, &release, &error.to_string());
                        rejected.unwrap_or_else(|error| log::error!("{error}"));
                    }
                },
                Err(error) => log::error!("{error}"),
            }
        }
    }

    /// It works: what of it is on trial stays.
    pub fn prove(&self) {
        prove(self.updates.as_deref(), &self.releases);
    }

    /// Proves it once the kiosk behind `controls` has watched for a while.
    pub fn watch(&self, controls: &Arc<Controls>) -> Option<Watch> {
        let updates = self.updates.clone().filter(|_| !self.releases.is_empty())?;
        let (controls, releases) = (Arc::clone(controls), self.releases.clone());
        let (ended, end) = mpsc::channel();
        let thread = thread::Builder::new().name("update".into()).spawn(move || {
            let (mut frames, mut came, mut since) = (0, Instant::now(), Instant::now());
            while end.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let health = controls.health();
                let (now, before) = (Instant::now(), std::mem::replace(&mut frames, health.frames));
                if frames > before && !health.has_problem() {
                    came = now;
                } else if came + PATIENCE < now {
                    since = now;
                }
                if frames > 0 && since + PROVED_AFTER < now {
                    if prove(Some(&updates), &releases) {
                        return;
                    }
                    // The disk may take it later.
                    since = now;
                }
            }
        });
        let thread =
            thread.inspect_err(|error| log::error!("can't watch the update: {error}")).ok();
        thread.map(|thread| Watch { ended: Some(ended), thread: Some(thread) })
    }
}

/// Whether there is nothing left to prove.
fn prove(updates: Option<&Updates>, releases: &[(Kind, String)]) -> bool {
    let Some(updates) = updates else { return true };
    let mut all = true;
    for (kind, sha256) in releases {
        match updates.prove(*kind, sha256) {
            Ok(true) => log::warn!("the updated {} has proved itself, and stays", kind.name()),
            Ok(false) => {}
            Err(error) => {
                log::error!("{error}");
                all = false;
            }
        }
    }
    all
}

/// Watches until it is dropped.
pub struct Watch {
    ended: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told.
            let _ = thread.join();
        }
    }
}

/// Runs what can be tested without a camera: the network on stored pictures, the configuration.
pub fn self_test(config: Option<&Path>) -> anyhow::Result<()> {
    let config = config.map(Config::read).transpose()?;
    self_test::run()?;
    let read = if config.is_some() { ", and the configuration holds" } else { "" };
    writeln!(io::stdout(), "the network gives the stored answers{read}")?;
    Ok(())
}
