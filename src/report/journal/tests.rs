//! Promises to a disk that may do anything short of breaking its word on a sync.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::clock::Clock;
use super::lock::Lock;
use super::*;
use crate::disk::simulated::{Faults, SimulatedDisk};

const DIR: &str = "/journal";
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;

/// Clocks that the test sets.
#[derive(Clone, Debug)]
struct SetClock(Arc<Mutex<(Duration, Duration)>>);

impl SetClock {
    /// The wall clock in seconds since 1970.
    fn at(wall_s: u64) -> Self {
        Self(Arc::new(Mutex::new((Duration::from_secs(wall_s), Duration::ZERO))))
    }

    fn advance(&self, s: f64) {
        let mut times = self.0.lock().unwrap();
        times.0 += Duration::from_secs_f64(s);
        times.1 += Duration::from_secs_f64(s);
    }

    fn set_wall(&self, wall_s: u64) {
        self.0.lock().unwrap().0 = Duration::from_secs(wall_s);
    }
}

impl Clock for SetClock {
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + self.0.lock().unwrap().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

fn small() -> JournalOptions {
    JournalOptions { max_segment_bytes: 4096, ..JournalOptions::default() }
}

fn open(disk: &SimulatedDisk, clock: &SetClock, options: JournalOptions) -> (Journal, Recovery) {
    let clock = Box::new(clock.clone());
    Journal::open_on(Box::new(disk.clone()), clock, Path::new(DIR), options, Lock::Unneeded)
        .unwrap()
}

fn read_all(disk: &SimulatedDisk) -> (Vec<Record>, Vec<JournalError>) {
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    for record in reader::read_on(disk.clone(), Path::new(DIR), 0) {
        match record {
            Ok(record) => records.push(record),
            Err(error) => errors.push(error),
        }
    }
    (records, errors)
}

/// What a test appended.
#[derive(Default)]
struct Told {
    /// By sequence, the payload that had it last, and whether its writer reported it as synced.
    records: BTreeMap<u64, (String, bool)>,
    /// The present writer's first sequence.
    writer_from: u64,
}

impl Told {
    fn append(&mut self, journal: &mut Journal, rng: &mut fastrand::Rng) {
        let payload = json!({ "n": rng.u64(..), "text": "x".repeat(rng.usize(0..150)) });
        let sequence = journal.append("mien/test", &payload).unwrap();
        let before = self.records.insert(sequence, (payload.to_string(), false));
        assert!(!before.is_some_and(|(_, synced)| synced), "{sequence} was on disk already");
        self.note(journal);
    }

    fn note(&mut self, journal: &Journal) {
        self.records
            .range_mut(self.writer_from..journal.synced().max(self.writer_from))
            .for_each(|(_, (_, synced))| *synced = true);
    }

    /// Every synced record is there, every record was appended, in order, none twice.
    fn check(&self, disk: &SimulatedDisk, what: &str) {
        let (records, _) = read_all(disk);
        assert!(records.is_sorted_by(|a, b| a.sequence < b.sequence), "{what}: order");
        for record in &records {
            let told = self.records.get(&record.sequence).map(|(payload, _)| payload);
            assert_eq!(Some(&record.payload), told, "{what}: record {}", record.sequence);
        }
        let found: BTreeSet<u64> = records.iter().map(|record| record.sequence).collect();
        for (sequence, (_, synced)) in &self.records {
            assert!(!synced || found.contains(sequence), "{what}: {sequence} is lost");
        }
    }

    /// Unsynced records that a power cut took are as if never appended.
    fn forget_lost(&mut self, disk: &SimulatedDisk, writer_from: u64) {
        self.writer_from = writer_from;
        let kept: BTreeSet<u64> = read_all(disk).0.iter().map(|record| record.sequence).collect();
        self.records.retain(|sequence, (_, synced)| *synced || kept.contains(sequence));
    }
}

/// Appends, syncs and waits at random until the power is gone or for `steps` steps.
fn live(
    journal: &mut Journal,
    clock: &SetClock,
    told: &mut Told,
    rng: &mut fastrand::Rng,
    steps: usize,
) {
    for _ in 0..steps {
        match rng.u8(..10) {
            0 => drop(journal.sync()),
            1..3 => {
                clock.advance(rng.f64() * 8.0);
                drop(journal.sync_if_due());
            }
            _ => told.append(journal, rng),
        }
        told.note(journal);
    }
}

/// Power cuts at random operations, also while opening, rotating and quarantining; kills between
/// them; a disk that refuses now and then.
#[test]
fn whenever_the_power_goes_no_synced_record_is_lost_and_none_comes_twice() {
    for seed in 0..3000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut disk, clock) = (SimulatedDisk::new(seed), SetClock::at(1_790_000_000));
        let (mut told, mut refused) = (Told::default(), false);
        for life in 0..rng.usize(1..5) {
            let what = format!("seed {seed}, life {life}");
            if rng.u8(..4) == 0 {
                let errno = *rng.choice(&[ENOSPC, EIO, EROFS]).unwrap();
                refused = true;
                disk.set_faults(Faults { writes: rng.u16(..100), syncs: rng.u16(..100), errno });
            }
            disk.cut_power_after(rng.u64(..120));
            let opened = Journal::open_on(
                Box::new(disk.clone()),
                Box::new(clock.clone()),
                Path::new(DIR),
                small(),
                Lock::Unneeded,
            );
            if let Ok((mut journal, recovery)) = opened {
                told.forget_lost(&disk, recovery.next_sequence);
                live(&mut journal, &clock, &mut told, &mut rng, 60);
                // Killed: nothing is synced any more.
                std::mem::forget(journal);
            }
            if rng.u8(..5) > 0 {
                disk = disk.after_power_cut();
            } else {
                disk = disk.without_power_cut();
            }
            told.check(&disk, &what);
        }
        let (mut journal, recovery) = open(&disk, &clock, small());
        told.forget_lost(&disk, recovery.next_sequence);
        live(&mut journal, &clock, &mut told, &mut rng, 20);
        journal.sync().unwrap();
        told.note(&journal);
        drop(journal);
        told.check(&disk, &format!("seed {seed}, at the end"));
        // A disk that refused when a segment was to be quarantined has it still.
        assert!(refused || is_sound(&disk), "seed {seed}: damage is left");
        repair::repair_on(&disk, Path::new(DIR)).unwrap();
        assert!(is_sound(&disk), "seed {seed}: damage is left by the repair");
        told.check(&disk, &format!("seed {seed}, repaired"));
    }
}

fn is_sound(disk: &SimulatedDisk) -> bool {
    let checked = repair::check_on(disk, Path::new(DIR)).unwrap();
    checked.iter().all(|segment| !segment.is_damaged() && segment.torn_bytes == 0)
}

/// While the disk refuses all, records wait; once it takes them, they are written with their own
/// sequences and times, in order.
#[test]
fn a_disk_that_refuses_gets_the_records_afterwards() {
    for (i, errno) in [ENOSPC, EIO, EROFS].into_iter().enumerate() {
        for (writes, syncs) in [(256, 256), (256, 0), (0, 256), (128, 128)] {
            let disk = SimulatedDisk::new(i as u64);
            let clock = SetClock::at(1_790_000_000);
            let (mut journal, _) = open(&disk, &clock, small());
            let append = |journal: &mut Journal, n: u64| {
                clock.advance(1.0);
                assert_eq!(journal.append("mien/test", &json!(n)).unwrap(), n);
            };
            (0..20).for_each(|n| append(&mut journal, n));
            disk.set_faults(Faults { writes, syncs, errno });
            (20..400).for_each(|n| append(&mut journal, n));
            if writes.max(syncs) == Faults::ALL {
                assert!(journal.refusal().is_some() && journal.sync().is_err());
                assert!(journal.synced() < 400);
            }
            disk.set_faults(Faults::default());
            for _ in 0..3 {
                clock.advance(3.0);
                let _ = journal.sync_if_due();
            }
            assert_eq!(journal.refusal(), None, "it resumes by itself");
            assert_eq!((journal.synced(), journal.waiting(), journal.dropped()), (400, 0, 0));
            let (records, errors) = read_all(&disk);
            assert!(errors.is_empty(), "{errors:?}");
            assert!(records.iter().map(|record| record.sequence).eq(0..400));
            for record in records {
                assert_eq!(record.payload, record.sequence.to_string());
                assert_eq!(record.monotonic, Duration::from_secs(record.sequence + 1));
            }
        }
    }
}

/// A disk that is read-only or full from the start is no reason to stay away.
#[test]
fn a_journal_on_a_disk_that_refuses_is_opened_and_goes_on_later() {
    let (disk, clock) = (SimulatedDisk::new(1), SetClock::at(1_790_000_000));
    let (mut journal, _) = open(&disk, &clock, small());
    journal.append("mien/test", &json!("before")).unwrap();
    drop(journal);
    disk.set_faults(Faults { writes: Faults::ALL, syncs: Faults::ALL, errno: EROFS });
    let (mut journal, recovery) = open(&disk, &clock, small());
    assert_eq!(recovery.next_sequence, 1);
    assert_eq!(journal.append("mien/test", &json!("meanwhile")).unwrap(), 1);
    assert_eq!(journal.waiting(), 1);
    disk.set_faults(Faults::default());
    clock.advance(6.0);
    journal.sync_if_due().unwrap();
    assert_eq!(read_all(&disk).0.len(), 2);
}

/// Ten records of which `damage` harms some, then a repair that the power cuts off at some moment, of whose
/// writes some come through. No other record is lost and no sequence comes twice; the number of sound ones
/// after the damage, and the disk.
fn survives(seed: u64, damage: impl Fn(&SimulatedDisk)) -> (usize, SimulatedDisk) {
    let (disk, clock) = (SimulatedDisk::new(seed), SetClock::at(1_790_000_000));
    let (mut journal, _) = open(&disk, &clock, JournalOptions::default());
    for n in 0..10 {
        journal.append("mien/test", &json!({ "n": n, "faces": [1, 2, 3] })).unwrap();
    }
    drop(journal);
    damage(&disk);
    let (before, _) = read_all(&disk);
    disk.cut_power_after(seed % 12);
    if seed.is_multiple_of(3) {
        drop(repair::repair_on(&disk, Path::new(DIR)));
    }
    let (boxed_disk, boxed_clock) = (Box::new(disk.clone()), Box::new(clock.clone()));
    let options = JournalOptions::default();
    drop(Journal::open_on(boxed_disk, boxed_clock, Path::new(DIR), options, Lock::Unneeded));
    let disk = disk.after_power_cut();
    let (mut journal, _) = open(&disk, &clock, JournalOptions::default());
    let next = journal.append("mien/test", &json!("on")).unwrap();
    assert!(next >= 10, "seed {seed}: {next} was another record's");
    drop(journal);
    let (after, errors) = read_all(&disk);
    assert!(errors.is_empty() && is_sound(&disk), "seed {seed}: {errors:?}");
    assert_eq!(after[..after.len() - 1], before, "seed {seed}");
    (before.len(), disk)
}

#[test]
fn a_flipped_bit_costs_one_record_and_the_damaged_segment_is_put_aside() {
    let mut quarantined = 0;
    for seed in 0..300 {
        let (sound, disk) = survives(seed, |disk| disk.flip_bit(Path::new(DIR)));
        assert!(sound >= 9, "seed {seed}");
        quarantined += repair::quarantined(&disk, Path::new(DIR)).len();
    }
    assert!(quarantined > 200);
}

/// The bytes are kept unless they look like the beginning of one record.
#[test]
fn damage_that_reaches_the_end_gives_no_sequence_away() {
    let mut quarantined = 0;
    for seed in 0..500 {
        let (_, disk) = survives(seed, |disk| disk.damage_end(Path::new(DIR)));
        quarantined += usize::from(!repair::quarantined(&disk, Path::new(DIR)).is_empty());
    }
    assert!(quarantined > 400, "{quarantined}");
}

/// As by someone who tidies up. What the disk did not have yet goes on waiting.
#[test]
fn a_journal_deleted_while_it_is_written_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("journal");
    let (mut journal, _) = Journal::open(&dir, JournalOptions::default()).unwrap();
    journal.append("mien/test", &json!("gone")).unwrap();
    journal.sync().unwrap();
    for everything in [true, false] {
        let expected: Vec<u64> =
            (0..3).map(|n| journal.append("mien/test", &json!({ "n": n })).unwrap()).collect();
        match everything {
            true => std::fs::remove_dir_all(&dir).unwrap(),
            false => {
                let segments = directory::list(&crate::disk::RealDisk, &dir).unwrap();
                segments.iter().for_each(|segment| std::fs::remove_file(&segment.path).unwrap());
            }
        }
        journal.sync().unwrap();
        assert_eq!((journal.refusal(), journal.waiting()), (None, 0));
        let found: Vec<u64> = read(&dir).map(|record| record.unwrap().sequence).collect();
        assert_eq!(found, expected);
        let second = Journal::open(&dir, JournalOptions::default()).unwrap_err();
        assert!(matches!(second, JournalError::Locked { .. }), "{second}");
    }
}

/// Just before a new segment is due, which is then tried in vain once.
#[test]
fn a_directory_moved_away_before_a_new_segment_goes_on() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("journal");
    let (mut journal, _) = Journal::open(&dir, small()).unwrap();
    let append = |journal: &mut Journal| journal.append("mien/test", &json!("x".repeat(200)));
    let mut last = append(&mut journal).unwrap();
    journal.sync().unwrap();
    let synced = last;
    append(&mut journal).unwrap();
    std::fs::rename(&dir, outer.path().join("elsewhere")).unwrap();
    while journal.refusal().is_none() {
        last = append(&mut journal).unwrap();
    }
    // The directory is not even there when it is tried again.
    journal.sync().unwrap();
    assert_eq!((journal.refusal(), journal.waiting(), journal.dropped()), (None, 0, 0));
    let found: Vec<u64> = read(&dir).map(|record| record.unwrap().sequence).collect();
    assert_eq!(found, Vec::from_iter(synced + 1..=last));
    let second = Journal::open(&dir, small()).unwrap_err();
    assert!(matches!(second, JournalError::Locked { .. }), "{second}");
}

/// The names of segments by their first sequences.
fn firsts(disk: &SimulatedDisk) -> Vec<u64> {
    let segments = directory::list(disk, Path::new(DIR)).unwrap();
    segments.iter().map(|segment| segment.first).collect()
}

#[test]
fn what_was_not_delivered_goes_last_and_is_counted() {
    let (disk, clock) = (SimulatedDisk::new(3), SetClock::at(1_790_000_000));
    let options = JournalOptions { max_total_bytes: 4 * 4096, ..small() };
    let (mut journal, _) = open(&disk, &clock, options);
    let fill = |journal: &mut Journal, records: u64| {
        for n in 0..records {
            journal.append("mien/test", &json!("x".repeat(100))).unwrap();
            if n % 10 == 0 {
                clock.advance(1.0);
            }
        }
    };
    journal.set_acknowledged(151);
    fill(&mut journal, 140);
    assert_eq!((firsts(&disk)[0] > 0, journal.unsent_deleted()), (true, 0));
    fill(&mut journal, 200);
    let kept = firsts(&disk)[0];
    assert!(kept > 151, "more than the delivered ones had to go");
    assert_eq!(journal.unsent_deleted(), kept - 151);
}

#[test]
fn records_go_with_age_but_not_undelivered_ones_nor_by_a_clock_that_is_not_set() {
    const DAY: f64 = 86_400.0;
    let (disk, clock) = (SimulatedDisk::new(4), SetClock::at(1_790_000_000));
    let options = JournalOptions { max_age_days: 3.0, ..JournalOptions::default() };
    let (mut journal, _) = open(&disk, &clock, options);
    journal.set_acknowledged(1);
    let day = |journal: &mut Journal| {
        journal.append("mien/test", &json!("morning")).unwrap();
        clock.advance(DAY / 2.0);
        journal.append("mien/test", &json!("evening")).unwrap();
        clock.advance(DAY / 2.0 + 1.0);
    };
    (0..8).for_each(|_| day(&mut journal));
    assert_eq!(firsts(&disk), [0, 2, 4, 6, 8, 10, 12, 14], "not delivered, so not deleted");
    journal.set_acknowledged(10);
    day(&mut journal);
    assert_eq!(firsts(&disk), [10, 12, 14, 16]);
    assert_eq!(journal.unsent_deleted(), 0);
    // A restart without the time.
    drop(journal);
    let clock = SetClock::at(0);
    let (mut journal, _) = open(&disk, &clock, JournalOptions { max_age_days: 1.0, ..small() });
    journal.set_acknowledged(1001);
    journal.append("mien/test", &json!("1970")).unwrap();
    journal.sync().unwrap();
    assert_eq!(firsts(&disk)[0], 10);
    // A segment that begins in 1970 does not hide that those before it are old.
    clock.set_wall(1_790_000_000 + 20 * 86_400);
    journal.append("mien/test", &json!("NTP")).unwrap();
    for _ in 0..60 {
        journal.append("mien/test", &json!("x".repeat(200))).unwrap();
    }
    journal.sync().unwrap();
    assert_eq!(firsts(&disk)[0], 10, "the clock may be wrong");
    // It was: years ahead, and is set right within the hour.
    clock.set_wall(1_790_000_000 + 20_000 * 86_400);
    clock.advance(3000.0);
    journal.sync().unwrap();
    clock.set_wall(1_790_000_000 + 20 * 86_400);
    journal.sync().unwrap();
    assert_eq!(firsts(&disk)[0], 10);
    clock.advance(3601.0);
    journal.sync().unwrap();
    assert_eq!(firsts(&disk)[0], 16, "it may hold records of the last day");
    clock.advance(2.0 * DAY);
    journal.append("mien/test", &json!("later")).unwrap();
    journal.sync().unwrap();
    assert!(firsts(&disk)[0] > 16, "{:?}", firsts(&disk));
}

#[test]
fn a_clock_that_jumps_neither_reorders_nor_loses() {
    let (disk, clock) = (SimulatedDisk::new(5), SetClock::at(30));
    let (mut journal, _) = open(&disk, &clock, small());
    for wall_s in [30, 1_790_000_000, 5, 1_790_000_200, 1_790_000_300] {
        clock.set_wall(wall_s);
        clock.advance(100.0);
        journal.append("mien/test", &json!(wall_s)).unwrap();
    }
    drop(journal);
    let (records, _) = read_all(&disk);
    assert!(records.iter().map(|record| record.sequence).eq(0..5));
    let runs = Runs::of(records.clone());
    let times = records.iter().map(|r| runs.corrected(r).unwrap_or(r.time));
    let seconds: Vec<u64> =
        times.map(|t| t.duration_since(UNIX_EPOCH).unwrap().as_secs()).collect();
    assert_eq!(seconds[4], 1_790_000_400);
    assert_eq!(seconds, [0, 1, 2, 3, 4].map(|i| 1_790_000_000 + 100 * i));
}

/// For tests of what goes on around a journal: its disk refuses all, or nothing, and time is theirs.
pub(crate) struct TestDisk(SimulatedDisk, SetClock);

impl TestDisk {
    pub(crate) fn new() -> Self {
        Self(SimulatedDisk::new(0), SetClock::at(1_790_000_000))
    }

    pub(crate) fn journal(&self) -> Journal {
        open(&self.0, &self.1, JournalOptions::default()).0
    }

    pub(crate) fn refuse(&self, all: bool) {
        let of_256 = if all { Faults::ALL } else { 0 };
        self.0.set_faults(Faults { writes: of_256, syncs: of_256, errno: ENOSPC });
    }

    pub(crate) fn pass_s(&self, s: f64) {
        self.1.advance(s);
    }

    pub(crate) fn payloads(&self) -> Vec<String> {
        read_all(&self.0).0.into_iter().map(|record| record.payload).collect()
    }

    /// Of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        let segments = directory::list(&self.0, Path::new(DIR)).unwrap();
        segments.iter().map(|segment| segment.len).sum()
    }
}
