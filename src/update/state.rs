//! What is in use, what is on trial, and what was before: what becomes of it, without any disk.

use serde::{Deserialize, Serialize};

use super::Release;

/// Starts that a release on trial has to prove itself in.
pub const MAX_STARTS: u32 = 3;

/// Both kinds' slots, as `state.json` has them. Programs of any version read it, so what they do not know
/// they pass over, and nothing here changes its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub program: Slot,
    pub model: Slot,
}

/// What there is of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// In use; none: what was installed with the system.
    pub current: Option<Release>,
    /// In use before it, and what a roll back goes to; none: what was installed with the system.
    pub previous: Option<Release>,
    /// On trial.
    pub trial: Option<Trial>,
    /// The last that was not taken.
    pub rejected: Option<Rejected>,
}

/// A release that has not proved itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// It.
    pub release: Release,
    /// How often it was started.
    pub starts: u32,
}

/// A release that was tried and left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// It.
    pub release: Release,
    /// Why.
    pub why: String,
}

impl Slot {
    /// Puts a release on trial; whether it is not in use already.
    pub fn offer(&mut self, release: Release) -> bool {
        let is_new = self.current.as_ref() != Some(&release);
        if is_new {
            self.trial = Some(Trial { release, starts: 0 });
        }
        is_new
    }

    /// What to start now: what is on trial, as long as it may, else what is in use. A start counts from
    /// here on, so the slot must be on the disk before it begins.
    pub fn start(&mut self) -> Option<Release> {
        match &mut self.trial {
            Some(trial) if trial.starts >= MAX_STARTS => {
                self.reject(&format!("it did not prove itself in {MAX_STARTS} starts"));
                self.current.clone()
            }
            Some(trial) => {
                trial.starts += 1;
                Some(trial.release.clone())
            }
            None => self.current.clone(),
        }
    }

    /// What is on trial has proved itself. Whether it is the release of this hash.
    pub fn prove(&mut self, sha256: &str) -> bool {
        let proved = self.trial.take_if(|trial| trial.release.sha256 == sha256);
        let Some(Trial { release, .. }) = proved else { return false };
        self.previous = self.current.replace(release);
        self.rejected = None;
        true
    }

    /// Leaves what is on trial.
    pub fn reject(&mut self, why: &str) {
        if let Some(Trial { release, .. }) = self.trial.take() {
            self.rejected = Some(Rejected { release, why: why.into() });
        }
    }

    /// Goes back: from what is on trial to what is in use, or else to what was before. Whether there was
    /// anything to go back from.
    pub fn roll_back(&mut self) -> bool {
        let why = "rolled back";
        if self.trial.is_some() {
            self.reject(why);
            return true;
        }
        let Some(release) = self.current.take() else { return false };
        self.current = self.previous.take();
        self.rejected = Some(Rejected { release, why: why.into() });
        true
    }

    /// Hashes of the files that it needs.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        let trial = self.trial.as_ref().map(|trial| &trial.release);
        let releases = [self.current.as_ref(), self.previous.as_ref(), trial];
        releases.into_iter().flatten().map(|release| release.sha256.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(name: &str) -> Release {
        Release { sha256: name.into(), comment: String::new() }
    }

    #[test]
    fn a_release_that_proves_itself_stays() {
        let mut slot = Slot::default();
        assert_eq!(slot.start(), None);
        slot.offer(release("a"));
        assert_eq!(slot.start(), Some(release("a")));
        assert!(!slot.prove("b"));
        assert!(slot.prove("a") && !slot.prove("a"));
        slot.offer(release("b"));
        slot.start();
        slot.prove("b");
        assert_eq!((slot.start(), &slot.previous), (Some(release("b")), &Some(release("a"))));
        assert_eq!(slot.needed().collect::<Vec<_>>(), ["b", "a"]);
        // To what was before, then to the system's own, then nowhere.
        assert!(slot.roll_back());
        assert_eq!(slot.start(), Some(release("a")));
        assert!(slot.roll_back() && !slot.roll_back());
        assert_eq!(slot.start(), None);
    }

    #[test]
    fn a_release_that_does_not_is_left_for_the_one_in_use() {
        let mut slot = Slot { current: Some(release("a")), ..Slot::default() };
        slot.offer(release("b"));
        for _ in 0..MAX_STARTS {
            assert_eq!(slot.start(), Some(release("b")));
        }
        assert_eq!(slot.start(), Some(release("a")));
        assert_eq!(slot.rejected.as_ref().unwrap().release, release("b"));
        assert!(!slot.prove("b"), "too late");
        // It may be tried again; what is in use need not.
        slot.offer(release("b"));
        assert_eq!(slot.start(), Some(release("b")));
        assert!(slot.roll_back());
        assert!(!slot.offer(release("a")));
        assert_eq!(slot.trial, None);
    }
}
