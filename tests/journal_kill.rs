//! Promise: `kill -9` at any moment, again and again, on a real file system, costs no record that was
//! reported. A program of its own: a process being started has copies of other tests' locks.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use mien::report::journal::{self, Journal, JournalOptions};
use serde_json::{Value, json};

fn payload(n: u64) -> Value {
    json!({ "n": n, "text": "x".repeat((n * 7 % 23) as usize) })
}

/// The sequences, each record checked to be the one that was written.
fn sound(dir: &Path) -> Vec<u64> {
    let records = journal::read(dir).filter_map(Result::ok);
    let checked = records.map(|record| {
        assert_eq!(record.payload, payload(record.sequence).to_string());
        record.sequence
    });
    checked.collect()
}

const WRITER_DIR: &str = "MIEN_TEST_JOURNAL_WRITER";

/// Small segments, so that some kills come while a new one is begun or an old one deleted.
fn killed_options() -> JournalOptions {
    let (max_segment_bytes, max_total_bytes) = (4096, 16 * 4096);
    JournalOptions { max_segment_bytes, max_total_bytes, ..JournalOptions::default() }
}

/// Not a test by itself: what [`a_writer_killed_again_and_again_loses_nothing`] starts and kills.
/// Says what it appended, and what is synced.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(WRITER_DIR) else { return };
    let (mut journal, recovery) = Journal::open(Path::new(&dir), killed_options()).unwrap();
    for n in recovery.next_sequence.. {
        assert_eq!(journal.append("mien/test", &payload(n)).unwrap(), n);
        println!("appended {n}");
        if n % 7 == 0 {
            journal.sync().unwrap();
            println!("synced {}", journal.synced());
        }
    }
}

/// `kill -9` at any moment, on a real file system: what was reported is there, and nothing twice.
#[test]
fn a_writer_killed_again_and_again_loses_nothing() {
    const KILLS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(9);
    let mut reached = 0;
    for kill in 0..KILLS {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(WRITER_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut told = lines.map(|line| line.unwrap()).filter_map(|line| {
            let (what, number) = line.split_once(' ')?;
            let number: u64 = number.parse().ok()?;
            match what {
                "appended" => Some(number + 1),
                "synced" => Some(number),
                _ => None,
            }
        });
        let mut end = told.by_ref().take(rng.usize(1..60)).max().unwrap();
        writer.kill().unwrap();
        // It went on until the signal arrived.
        end = told.max().unwrap_or(0).max(end);
        writer.wait().unwrap();

        let kept = sound(dir.path());
        assert!(kept.last().is_some_and(|last| last + 1 >= end), "kill {kill}: {end}, {kept:?}");
        assert_eq!(kept, Vec::from_iter(kept[0]..=kept[kept.len() - 1]), "kill {kill}: a gap");
        let checked = journal::check(dir.path()).unwrap();
        assert!(checked.iter().all(|segment| !segment.is_damaged()), "kill {kill}: {checked:?}");
        reached = end;
    }
    assert!(reached > 20 * KILLS, "killed before it could write much: {reached}");
    assert!(sound(dir.path())[0] > 0, "old segments were deleted meanwhile");
}
