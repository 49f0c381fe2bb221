//! What updates are in use and on trial, and whether those in use are sound.

use std::path::{Path, PathBuf};

use mien::update::{Kind, Release, Slot, UpdateError, UpdateOptions, Updates};

use super::{Finding, Verdict, is_anothers};

/// Updates as they are on the disk.
pub struct Found {
    directory: PathBuf,
    kinds: Result<Vec<OfKind>, UpdateError>,
}

/// Those of a kind, and where the one in use lies, if there is one and it is what was installed.
struct OfKind {
    kind: Kind,
    slot: Slot,
    stored: Option<Result<PathBuf, UpdateError>>,
}

impl Found {
    /// Looks for them. The files in use are verified, here alone.
    pub fn look(options: &UpdateOptions) -> Self {
        let of_kind = |updates: &Updates, kind| {
            let slot = updates.slot(kind)?;
            let stored = slot.current.as_ref().map(|release| updates.stored(kind, release));
            Ok(OfKind { kind, slot, stored })
        };
        let look = |updates| Kind::ALL.into_iter().map(|kind| of_kind(&updates, kind)).collect();
        let kinds = Updates::new(options).and_then(look);
        Self { directory: options.directory.clone(), kinds }
    }

    /// The model in use, if it is an update's and sound.
    pub fn model(&self) -> Option<&Path> {
        let model = self.kinds.as_ref().ok()?.iter().find(|found| found.kind == Kind::Model)?;
        model.stored.as_ref()?.as_deref().ok()
    }

    /// What to tell of them.
    pub fn finding(&self) -> Finding {
        if is_anothers(&self.directory) {
            let text = format!(
                "{}: is another user's, and only who owns it uses it; check it as the service's: \
                 `sudo -u mien mien check …`",
                self.directory.display()
            );
            return ("update", Verdict::Note, text);
        }
        match &self.kinds {
            Ok(kinds) => {
                let (verdicts, texts): (Vec<_>, Vec<_>) = kinds.iter().map(OfKind::judge).unzip();
                ("update", Verdict::worst(verdicts), texts.join("\n"))
            }
            Err(error) => ("update", Verdict::Failed, error.to_string()),
        }
    }
}

impl OfKind {
    fn judge(&self) -> (Verdict, String) {
        let Self { kind, slot, stored } = self;
        let of = |release: Option<&Release>| match release {
            Some(release) => release.comment.clone(),
            None => "the system's".into(),
        };
        let mut verdict = Verdict::Good;
        let mut text = format!("{}: {}", kind.name(), of(slot.current.as_ref()));
        if let Some(trial) = &slot.trial {
            text += &format!(", on trial {}", of(Some(&trial.release)));
            verdict = Verdict::Note;
        } else if let Some(rejected) = &slot.rejected {
            text += &format!(", not {}: {}", of(Some(&rejected.release)), rejected.why);
            verdict = Verdict::Note;
        }
        if let Some(Err(error)) = stored {
            text += &format!(
                ", but {error}; the system's runs instead. Install the update anew, or go back for good: \
                 `mien update roll-back {}`",
                kind.name()
            );
            verdict = Verdict::Failed;
        }
        (verdict, text)
    }
}
