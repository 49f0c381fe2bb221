//! Updates on a disk whose power goes at every step.

use std::path::{Path, PathBuf};

use minisign::KeyPair;

use super::*;
use crate::disk::simulated::SimulatedDisk;

const COMMENT: &str = "a comment";

fn signed(keys: &KeyPair, bytes: &[u8]) -> String {
    let signature = minisign::sign(Some(&keys.pk), &keys.sk, bytes, Some(COMMENT), None);
    signature.unwrap().into_string()
}

fn program(name: &str) -> Vec<u8> {
    [b"\x7fELF", name.as_bytes(), &[7; 3000]].concat()
}

struct Place {
    keys: KeyPair,
    options: UpdateOptions,
}

impl Place {
    fn new() -> Self {
        let keys = KeyPair::generate_unencrypted_keypair().unwrap();
        let key = keys.pk.to_base64();
        Self { keys, options: UpdateOptions { directory: "/updates".into(), key } }
    }

    fn updates(&self, disk: &SimulatedDisk) -> Updates {
        Updates::on(Box::new(disk.clone()), &self.options).unwrap()
    }

    fn install(&self, updates: &Updates, bytes: Vec<u8>) -> Result<Release, UpdateError> {
        let signature = signed(&self.keys, &bytes);
        let verified = updates.verified(Path::new("file"), bytes, &signature)?;
        updates.store(&verified)?;
        updates.offer(&verified)?;
        Ok(verified.release)
    }
}

fn started(updates: &Updates) -> Option<Release> {
    updates.start(Kind::Program).unwrap().map(|(release, _)| release)
}

#[test]
fn whenever_the_power_goes_one_or_the_other_is_whole() {
    let place = Place::new();
    let mut cut = [0; 3];
    for seed in 0..60 {
        for changes in 0.. {
            let disk = SimulatedDisk::new(seed);
            let updates = place.updates(&disk);
            let old = place.install(&updates, program("old")).unwrap();
            updates.start(Kind::Program).unwrap();
            updates.prove(Kind::Program, &old.sha256).unwrap();
            disk.cut_power_after(changes);
            let mut reached = 0;
            let mut life = || -> Result<(), UpdateError> {
                let new = place.install(&updates, program("new"))?;
                reached = 1;
                updates.start(Kind::Program)?;
                updates.prove(Kind::Program, &new.sha256)?;
                reached = 2;
                Ok(())
            };
            let ended = life();
            let disk = disk.after_power_cut();
            let updates = place.updates(&disk);
            let new = Release::new(&program("new"), COMMENT.into());
            // As often as it may be tried, and once more.
            let starts: Vec<_> = (0..=MAX_STARTS).map(|_| started(&updates)).collect();
            let known =
                |release: &Option<Release>| [Some(&old), Some(&new)].contains(&release.as_ref());
            assert!(starts.iter().all(known), "seed {seed}, {changes} changes: {starts:?}");
            let last = starts.last().unwrap().as_ref();
            match reached {
                // Proved, and told so.
                2 => assert_eq!(last, Some(&new)),
                // Perhaps proved: a power cut may come after the disk has it and before it says so.
                1 => {}
                _ => assert_eq!(last, Some(&old)),
            }
            cut[reached] += 1;
            // It goes on as if nothing had been.
            let newer = place.install(&updates, program("newer")).unwrap();
            assert_eq!(started(&updates), Some(newer));
            if ended.is_ok() {
                break;
            }
        }
    }
    assert!(cut.iter().all(|count| *count >= 60), "{cut:?}");
}

#[test]
fn only_what_the_key_signed_is_taken() {
    let place = Place::new();
    let updates = place.updates(&SimulatedDisk::new(1));
    let file = program("new");
    let good = signed(&place.keys, &file);
    let taken = |bytes: &[u8], signature: &str| {
        updates.verified(&PathBuf::from("file"), bytes.to_vec(), signature)
    };
    assert_eq!(taken(&file, &good).unwrap().release.comment, COMMENT);
    let other = Place::new();
    let others = signed(&other.keys, &file);
    let commented = good.replace(COMMENT, "another");
    for (what, bytes, signature) in [
        ("cut short", &file[..file.len() - 1], good.as_str()),
        ("longer", &[&file[..], &[0]].concat(), &good),
        ("another's", &file, &others),
        ("of another comment", &file, &commented),
        ("a signature cut short", &file, &good[..good.len() / 2]),
        ("no signature", &file, ""),
    ] {
        let error = taken(bytes, signature).unwrap_err();
        assert!(matches!(error, UpdateError::Signature { .. }), "{what}: {error}");
    }
    // Signed, but nothing that a kiosk runs.
    let text = b"#!/bin/sh";
    let error = taken(text, &signed(&place.keys, text)).unwrap_err();
    assert!(matches!(error, UpdateError::Kind { .. }), "{error}");
}

#[test]
fn what_was_changed_on_the_disk_is_not_started() {
    let place = Place::new();
    let disk = SimulatedDisk::new(2);
    let updates = place.updates(&disk);
    let old = place.install(&updates, program("old")).unwrap();
    updates.start(Kind::Program).unwrap();
    updates.prove(Kind::Program, &old.sha256).unwrap();
    let new = place.install(&updates, program("new")).unwrap();
    // Whole, and signed, but another's place.
    let path = place.options.directory.join(&new.sha256).with_extension("program");
    let older = program("older");
    crate::disk::replace(&disk, &path, &older).unwrap();
    assert!(updates.start(Kind::Program).is_err());
    let signature = path.with_added_extension("minisig");
    crate::disk::replace(&disk, &signature, signed(&place.keys, &older).as_bytes()).unwrap();
    assert_eq!(started(&updates), Some(old.clone()), "it was rejected at once");
    place.install(&updates, program("new")).unwrap();
    assert_eq!(started(&updates), Some(new));
    // A state that is none leaves what was installed with the system, and says so.
    crate::disk::replace(&disk, &place.options.directory.join("state.json"), b"{").unwrap();
    let error = updates.start(Kind::Program).unwrap_err();
    assert!(matches!(error, UpdateError::State { .. }), "{error}");
}

#[test]
fn what_no_slot_needs_is_deleted() {
    let place = Place::new();
    let disk = SimulatedDisk::new(3);
    let updates = place.updates(&disk);
    for name in ["one", "two", "three", "four"] {
        let release = place.install(&updates, program(name)).unwrap();
        updates.start(Kind::Program).unwrap();
        assert!(updates.prove(Kind::Program, &release.sha256).unwrap());
    }
    let mut programs: Vec<_> = crate::disk::Disk::list(&disk, &place.options.directory).unwrap();
    programs.retain(|(name, _)| name.ends_with(".program"));
    assert_eq!(programs.len(), 2, "{programs:?}");
}
