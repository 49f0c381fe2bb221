//! Promise: `kill -9` at any moment, again and again, on a real file system, costs no record that was
//! reported. A program of its own: a process being started has copies of other tests' locks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use mien::report::journal::{self, Journal, JournalOptions};
use serde_json::{Value, json};

/// A record of the writer's `life`: another life's of the same sequence differs.
fn payload(life: u64, n: u64) -> Value {
    json!({ "life": life, "n": n, "text": "x".repeat((n * 7 % 23) as usize) })
}

/// The sequences, each record checked to be the one that was written, and by whom.
fn sound(dir: &Path) -> BTreeMap<u64, u64> {
    let mut lives = BTreeMap::new();
    for record in journal::read(dir).filter_map(Result::ok) {
        let fields: Value = serde_json::from_str(&record.payload).unwrap();
        let life = fields["life"].as_u64().unwrap();
        assert_eq!(fields, payload(life, record.sequence));
        assert_eq!(lives.insert(record.sequence, life), None, "{} twice", record.sequence);
    }
    lives
}

const WRITER_DIR: &str = "MIEN_TEST_JOURNAL_WRITER";
const WRITER_LIFE: &str = "MIEN_TEST_JOURNAL_LIFE";

/// Small segments, so that some kills come while a new one is begun or an old one deleted.
fn killed_options() -> JournalOptions {
    let (max_segment_bytes, max_total_bytes) = (4096, 16 * 4096);
    JournalOptions { max_segment_bytes, max_total_bytes, ..JournalOptions::default() }
}

/// Not a test by itself: what [`a_writer_killed_again_and_again_loses_nothing`] starts and kills.
/// Says what it appended.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(WRITER_DIR) else { return };
    let life = std::env::var(WRITER_LIFE).unwrap().parse().unwrap();
    let (mut journal, recovery) = Journal::open(Path::new(&dir), killed_options()).unwrap();
    for n in recovery.next_sequence.. {
        assert_eq!(journal.append("mien/test", &payload(life, n)).unwrap(), n);
        println!("appended {n}");
        if n % 7 == 0 {
            journal.sync().unwrap();
        }
    }
}

/// `kill -9` at any moment, on a real file system: what was reported is there, and nothing twice.
#[test]
fn a_writer_killed_again_and_again_loses_nothing() {
    const KILLS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(9);
    // By whom each sequence was said to be appended.
    let mut said = BTreeMap::new();
    for kill in 0..KILLS {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(WRITER_DIR, dir.path())
            .env(WRITER_LIFE, kill.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut appended = lines
            .filter_map(|line| line.unwrap().strip_prefix("appended ")?.parse::<u64>().ok())
            .map(|n| assert_eq!(said.insert(n, kill), None, "kill {kill}: {n} twice"));
        appended.by_ref().take(rng.usize(1..60)).for_each(drop);
        writer.kill().unwrap();
        // It went on until the signal arrived.
        appended.for_each(drop);
        writer.wait().unwrap();

        let kept = sound(dir.path());
        let (Some((&first, _)), Some((&last, _))) = (kept.first_key_value(), kept.last_key_value())
        else {
            panic!("kill {kill}: nothing is left")
        };
        assert_eq!(kept.len() as u64, last + 1 - first, "kill {kill}: a gap");
        for (n, life) in said.range(first..) {
            assert_eq!(kept.get(n), Some(life), "kill {kill}: {n}");
        }
        let checked = journal::check(dir.path()).unwrap();
        assert!(checked.iter().all(|segment| !segment.is_damaged()), "kill {kill}: {checked:?}");
    }
    assert!(said.len() as u64 > 20 * KILLS, "killed before it could write much: {}", said.len());
    assert!(sound(dir.path()).keys().next() > Some(&0), "old segments were deleted meanwhile");
}
