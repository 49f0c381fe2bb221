//! Promise: whatever happens to the files or their bits, the journal loses no other record, says
//! what it dropped, never gives a wrong record, and goes on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mien::report::journal::position::Position;
use mien::report::journal::{
    self, Delivery, Journal, JournalError, JournalOptions, Qos, Record, Recovery,
};
use serde_json::json;
use tempfile::TempDir;

fn open(dir: &Path) -> (Journal, journal::Recovery) {
    Journal::open(dir, JournalOptions::default()).unwrap()
}

fn payload(n: u64) -> serde_json::Value {
    json!({ "n": n, "text": "x".repeat((n * 7 % 23) as usize) })
}

fn append(journal: &mut Journal, n: u64) {
    assert_eq!(journal.append("mien/test", &payload(n)).unwrap(), n);
}

/// A journal of `records` records in one segment, and the segment's path.
fn written(records: u64) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    (0..records).for_each(|n| append(&mut journal, n));
    drop(journal);
    let segment = segments(dir.path()).remove(0);
    (dir, segment)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "journal")).collect();
    segments.sort();
    segments
}

fn remove_segments(dir: &Path) {
    segments(dir).iter().for_each(|path| fs::remove_file(path).unwrap());
}

/// The sound records, each checked to be the one that was written.
fn sound(dir: &Path) -> Vec<u64> {
    let mut sequences = Vec::new();
    for record in journal::read(dir).filter_map(Result::ok) {
        assert_eq!(record.topic, "mien/test");
        assert_eq!(record.payload, payload(record.sequence).to_string());
        sequences.push(record.sequence);
    }
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    sequences
}

#[test]
fn what_is_appended_is_read_and_the_sequence_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("var/log/mien");
    let delivery = Delivery { qos: Qos::ExactlyOnce, retain: true };
    for run in 0..3u64 {
        let (mut journal, recovery) = open(&nested);
        assert_eq!((recovery.next_sequence, recovery.records), (2 * run, 2 * run));
        assert_eq!((recovery.dropped_bytes, recovery.damaged_bytes), (0, 0));
        append(&mut journal, 2 * run);
        journal.append_with("mien/test", &payload(2 * run + 1), delivery).unwrap();
    }
    assert_eq!(sound(&nested), [0, 1, 2, 3, 4, 5]);
    let records: Vec<Record> = journal::read(&nested).map(Result::unwrap).collect();
    assert_eq!(records[4].delivery, Delivery::default());
    assert_eq!(records[5].delivery, delivery);
    assert!(records[5].monotonic >= records[4].monotonic);
    let age = records[5].time.elapsed().unwrap_or_default();
    assert!(age.as_secs() < 3600, "the wall clock is {age:?} off");
}

#[test]
fn a_cut_at_any_byte_costs_only_the_record_it_falls_in() {
    let (dir, segment) = written(4);
    let whole = fs::read(&segment).unwrap();
    for cut in 0..whole.len() {
        remove_segments(dir.path());
        fs::write(&segment, &whole[..cut]).unwrap();
        let before = sound(dir.path());
        let (mut journal, recovery) = open(dir.path());
        let Recovery { records, next_sequence, dropped_bytes, damaged_bytes, .. } = recovery;
        let kept = before.len() as u64;
        assert_eq!((records, damaged_bytes), (kept, 0), "cut at {cut}");
        assert!(dropped_bytes < 100, "cut at {cut}: {dropped_bytes}");
        // Perhaps the record was whole once.
        let in_record = dropped_bytes > 0 && cut > 24;
        assert!(next_sequence >= kept + u64::from(in_record), "cut at {cut}");
        append(&mut journal, next_sequence);
        drop(journal);
        assert!(journal::read(dir.path()).all(|record| record.is_ok()), "cut at {cut}");
        assert_eq!(sound(dir.path()), [before, vec![next_sequence]].concat(), "cut at {cut}");
    }
    remove_segments(dir.path());
    fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(sound(dir.path()), [0, 1, 2], "the last byte's record alone is lost");
    let last = journal::read(dir.path()).last().unwrap();
    assert!(matches!(last, Err(JournalError::Torn { .. })), "{last:?}");
}

#[test]
fn a_flipped_bit_costs_at_most_the_record_it_is_in() {
    let (dir, segment) = written(4);
    let whole = fs::read(&segment).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&segment, &bytes).unwrap();
        let found = sound(dir.path());
        let expected = if bit / 8 < 24 { 4 } else { 3 };
        assert_eq!(found.len(), expected, "bit {bit}: {found:?}");
        assert_eq!(journal::read(dir.path()).filter(Result::is_err).count(), 1, "bit {bit}");
    }
}

/// Flips a bit of the third record of five.
fn damage(segment: &Path) -> Vec<u8> {
    let mut bytes = fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(segment, &bytes).unwrap();
    bytes
}

#[test]
fn a_segment_damaged_in_the_middle_is_put_aside_and_its_sound_records_stay() {
    let (dir, segment) = written(5);
    let damaged = damage(&segment);
    let errors: Vec<_> = journal::read(dir.path()).filter_map(Result::err).collect();
    assert!(matches!(errors[..], [JournalError::Damaged { .. }]), "{errors:?}");
    let (mut journal, recovery) = open(dir.path());
    assert_eq!((recovery.records, recovery.next_sequence, recovery.dropped_bytes), (4, 5, 0));
    assert!(recovery.damaged_bytes > 0);
    assert_eq!(fs::read(recovery.quarantined.unwrap()).unwrap(), damaged);
    append(&mut journal, 5);
    drop(journal);
    assert_eq!(sound(dir.path()), [0, 1, 3, 4, 5]);
    assert!(journal::read(dir.path()).all(|record| record.is_ok()));
}

#[test]
fn check_finds_damage_in_any_segment_and_repair_removes_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { max_segment_bytes: 4096, ..JournalOptions::default() };
    let (mut journal, _) = Journal::open(dir.path(), options.clone()).unwrap();
    (0..600).for_each(|n| append(&mut journal, n));
    let paths = segments(dir.path());
    damage(&paths[1]);
    let before = sound(dir.path());
    assert_eq!(before.len(), 599);

    // While the service runs, and without changing anything.
    let checked = journal::check(dir.path()).unwrap();
    let damaged: Vec<usize> = (0..checked.len()).filter(|&i| checked[i].is_damaged()).collect();
    assert_eq!((checked.len(), &damaged[..]), (paths.len(), &[1][..]));
    assert_eq!((checked[1].missing, checked[1].torn_bytes), (1, 0));
    assert_eq!(checked.iter().map(|segment| segment.records).sum::<u64>(), 599);
    let refused = journal::repair(dir.path()).unwrap_err();
    assert!(matches!(refused, JournalError::Locked { .. }), "{refused}");

    drop(journal);
    let last = paths.last().unwrap();
    fs::write(last, [&fs::read(last).unwrap()[..], b"\xFFunfi"].concat()).unwrap();
    let repaired = journal::repair(dir.path()).unwrap();
    assert!(repaired[1].quarantined.as_ref().unwrap().is_file());
    assert_eq!(repaired.last().unwrap().torn_bytes, 5);
    // It may have been whole once.
    let (journal, recovery) = Journal::open(dir.path(), options.clone()).unwrap();
    assert!(recovery.next_sequence > 600, "{recovery:?}");
    drop(journal);
    let checked = journal::check(dir.path()).unwrap();
    assert!(checked.iter().all(|segment| !segment.is_damaged() && segment.torn_bytes == 0));
    assert_eq!(sound(dir.path()), before);

    // The last records, damaged, are no unfinished one.
    let mut bytes = fs::read(last).unwrap();
    let start = bytes.len() - 200;
    bytes[start..].fill(0);
    fs::write(last, &bytes).unwrap();
    let error = journal::read(dir.path()).find_map(Result::err).unwrap();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    let checked = journal::check(dir.path()).unwrap();
    let i = checked.iter().position(|segment| segment.path == *last).unwrap();
    assert!(checked[i].is_damaged());
    // Whether before or after the repair, until something follows none is known to be missing.
    let (mut journal, _) = Journal::open(dir.path(), options.clone()).unwrap();
    let next = journal.append("mien/test", &payload(0)).unwrap();
    drop(journal);
    let lost: u64 = journal::check(dir.path()).unwrap().iter().map(|segment| segment.missing).sum();
    let kept = journal::read(dir.path()).filter(Result::is_ok).count() as u64;
    assert_eq!(lost, next + 1 - kept);
}

/// Random damage of every kind: opening, appending and reading go on, and nothing is invented.
#[test]
fn any_damage_is_survived() {
    let (dir, segment) = written(12);
    let whole = fs::read(&segment).unwrap();
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        remove_segments(dir.path());
        let (mut bytes, mut is_cut) = (whole.clone(), false);
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len());
            let end = (at + rng.usize(1..200)).min(bytes.len());
            match rng.u8(..5) {
                0 => bytes[at] ^= 1 << rng.u8(..8),
                1 => bytes[at..end].fill(0),
                2 => rng.fill(&mut bytes[at..end]),
                3 => drop(bytes.splice(at..at, whole[..end - at].iter().copied())),
                _ => {
                    bytes.truncate(at.max(1));
                    is_cut = true;
                }
            }
        }
        fs::write(&segment, &bytes).unwrap();
        let before = sound(dir.path());
        let (mut journal, recovery) = open(dir.path());
        let next = recovery.next_sequence;
        // No record's that was on disk.
        assert!(next >= if is_cut { before.last().map_or(0, |last| last + 1) } else { 12 });
        assert_eq!(recovery.records, before.len() as u64, "seed {seed}");
        if recovery.damaged_bytes > 0 {
            assert_eq!(fs::read(recovery.quarantined.unwrap()).unwrap(), bytes, "seed {seed}");
        }
        append(&mut journal, next);
        drop(journal);
        assert_eq!(sound(dir.path()), [before, vec![next]].concat(), "seed {seed}");
    }
}

#[test]
fn segments_rotate_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions {
        max_segment_bytes: 4096,
        max_total_bytes: 5 * 4096,
        ..JournalOptions::default()
    };
    let mut next = 0;
    for _ in 0..4 {
        let (mut journal, recovery) = Journal::open(dir.path(), options.clone()).unwrap();
        assert_eq!(recovery.next_sequence, next);
        (next..next + 300).for_each(|n| append(&mut journal, n));
        next += 300;
    }
    let paths = segments(dir.path());
    let total: u64 = paths.iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(paths.len() >= 4 && total <= options.max_total_bytes, "{total} in {paths:?}");
    let kept = sound(dir.path());
    assert_eq!(kept, Vec::from_iter(kept[0]..1200), "the newest, without a gap");
    assert_eq!(paths[0].file_stem().unwrap().to_str().unwrap(), format!("{:018}", kept[0]));
}

#[test]
fn a_segment_whose_header_is_gone_keeps_its_records() {
    let (dir, segment) = written(3);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[..24].fill(0);
    fs::write(&segment, &bytes).unwrap();
    let (mut journal, recovery) = open(dir.path());
    assert_eq!((recovery.next_sequence, recovery.damaged_bytes), (3, 24));
    assert_eq!(fs::read(recovery.quarantined.unwrap()).unwrap(), bytes);
    append(&mut journal, 3);
    assert_eq!(sound(dir.path()), [0, 1, 2, 3]);
    assert!(journal::read(dir.path()).all(|record| record.is_ok()));
    assert_eq!(segments(dir.path()).len(), 2);
}

/// As after a file system's check that cut or removed a file.
#[test]
fn a_sequence_that_a_consumer_has_is_not_given_to_another_record() {
    for keep in [None, Some(30), Some(24)] {
        let (dir, segment) = written(12);
        let (mut position, _) = Position::open(dir.path(), "mqtt", Duration::ZERO);
        position.advance(12);
        position.save().unwrap();
        match keep {
            Some(len) => File::options().write(true).open(&segment).unwrap().set_len(len).unwrap(),
            None => fs::remove_file(&segment).unwrap(),
        }
        let (mut journal, recovery) = open(dir.path());
        assert_eq!(recovery.next_sequence, 12, "{keep:?}");
        append(&mut journal, 12);
        drop(journal);
        assert_eq!(sound(dir.path()), [12]);
        assert!(journal::read(dir.path()).all(|record| record.is_ok()), "{keep:?}");
    }
}

#[test]
fn a_journal_of_another_version_is_left_alone() {
    let (dir, segment) = written(1);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, &bytes).unwrap();
    let error = Journal::open(dir.path(), JournalOptions::default()).unwrap_err();
    assert!(matches!(error, JournalError::OtherVersion { version: 9, .. }), "{error}");
    assert_eq!(fs::read(&segment).unwrap(), bytes);
}

#[test]
fn what_cannot_be_written_to_is_named_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Journal::open(&file.join("log"), JournalOptions::default()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, JournalError::Unwritable { .. }), "{error}");
    assert!(
        message.contains(file.to_str().unwrap()) && message.contains("move the file away"),
        "{message}"
    );

    let _first = open(dir.path());
    let error = Journal::open(dir.path(), JournalOptions::default()).unwrap_err();
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
}

#[test]
fn bad_options_and_too_long_records_are_refused_and_harm_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let refused = [
        JournalOptions { sync_period_s: f64::NAN, ..Default::default() },
        JournalOptions { sync_period_s: -1.0, ..Default::default() },
        JournalOptions { max_segment_bytes: 1, ..Default::default() },
        JournalOptions { max_total_bytes: 1, ..Default::default() },
        JournalOptions { max_age_days: 0.01, ..Default::default() },
    ];
    for options in refused {
        let error = Journal::open(dir.path(), options).unwrap_err();
        assert!(matches!(error, JournalError::Option { .. }), "{error}");
    }
    let (mut journal, _) = open(dir.path());
    let error = journal.append("mien/test", &json!("x".repeat(1 << 20))).unwrap_err();
    assert!(matches!(error, JournalError::TooLong { part: "payload", .. }), "{error}");
    append(&mut journal, 0);
    assert_eq!(sound(dir.path()), [0]);
}
