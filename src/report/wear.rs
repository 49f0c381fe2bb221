//! Promise: a day of one event a second, vitals each minute among them, writes at most 5 MB to the card.

use std::time::Duration;

use super::event::{Event, FaceChange, FaceEvent, RoomEvent, VitalsEvent};
use super::journal::tests::TestDisk;
use crate::classifier::Scores;
use crate::expression::{Expression, Gender};
use crate::face::tracker::Track;
use crate::image::Rect;
use crate::kiosk::stages::{Stage, StageTime};
use crate::kiosk::vitals::Counts;

const DAY_S: u64 = 86_400;
const BUDGET_BYTES: u64 = 5_000_000;
/// Of a kiosk that has been on for a month.
const UPTIME_S: u64 = 30 * DAY_S;

/// A face somewhere in a frame of 1280 × 720, its numbers as random as can be.
fn face(second: u64, rng: &mut fastrand::Rng) -> Event {
    let mut scores = Scores { expression: [0.0; 7], gender: Some([0.0; 2]) };
    let expression = rng.choice([None, Some(3), Some(4), Some(5), Some(6)]).unwrap();
    scores.expression[expression.unwrap_or(0)] = 0.3 + 0.69 * rng.f32();
    let gender = Gender::ALL[rng.usize(..2)];
    scores.gender = Some([0.5 + 0.49 * rng.f32(); 2]);
    let changes = [FaceChange::Appeared, FaceChange::Changed, FaceChange::Left];
    let mut px = |from: f32, to: f32| from + (to - from) * rng.f32();
    let track = Track {
        id: 1 + second % DAY_S / 3,
        rect: Rect {
            x: px(100.0, 1200.0),
            y: px(100.0, 640.0),
            w: px(60.0, 400.0),
            h: px(60.0, 400.0),
        },
        scores,
        expression: expression.map(|i| Expression::ALL[i]),
        gender: Some(gender),
        age_frames: 9,
        first_seen: Duration::ZERO,
        last_seen: Duration::ZERO,
    };
    let time = Duration::from_secs_f64(second as f64 + rng.f64());
    Event::Face(FaceEvent { change: changes[second as usize % 3], track, time })
}

/// Every tenth event sums the room up.
fn event(second: u64, rng: &mut fastrand::Rng) -> Event {
    if !second.is_multiple_of(10) {
        return face(second, rng);
    }
    let counts = std::array::from_fn(|_| rng.u32(..3));
    let mut share = || rng.f32();
    let shares = Scores {
        expression: std::array::from_fn(|_| share()),
        gender: Some(std::array::from_fn(|_| share())),
    };
    let (unsure, time) = (rng.u32(..2), Duration::from_secs(second));
    let shown = Some(shares.top_expression().0);
    Event::Room(RoomEvent { counts, unsure, shown, shares: Some(shares), time })
}

/// Of a minute at 10 frames a second, on a Pi that is too warm.
fn vitals(rng: &mut fastrand::Rng) -> Event {
    let mut count = || rng.u64(100..600);
    let (frames, still, dark) = (600, count(), count());
    let (broken, late, faces) = (0, count(), count());
    let mut stage = |stage, most_ms: f64| {
        let (p50_ms, p95_ms) = (most_ms * rng.f64(), most_ms * rng.f64());
        StageTime { stage, frames: 600, mean_ms: 1.0, p50_ms, p95_ms }
    };
    let [decode, detect, crop, classify, report] = Stage::ALL;
    Event::Vitals(VitalsEvent {
        seconds: 60,
        counts: Counts { frames, still, dark, broken, late, faces },
        stages: [
            stage(decode, 10.0),
            stage(detect, 200.0),
            stage(crop, 10.0),
            stage(classify, 10.0),
            stage(report, 10.0),
        ],
        faces_told: true,
        cpu_celsius: Some(60.0 + 25.0 * rng.f64()),
        throttled: Some(0xe000e),
    })
}

#[test]
fn a_day_of_one_event_a_second_writes_at_most_5_mb() {
    let (disk, mut rng) = (TestDisk::new(), fastrand::Rng::with_seed(1));
    let mut journal = disk.journal();
    disk.pass_s(UPTIME_S as f64);
    journal.sync_if_due().unwrap();
    let before = journal.written();
    for second in UPTIME_S..UPTIME_S + DAY_S {
        let event = match second % 60 {
            // The room is summed up at others.
            7 => vitals(&mut rng),
            _ => event(second, &mut rng),
        };
        journal.append(&event.topic("kiosk"), &event.payload()).unwrap();
        disk.pass_s(1.0);
        journal.sync_if_due().unwrap();
    }
    let (written, kept) = (journal.written(), disk.bytes());
    let bytes = written.bytes - before.bytes;
    assert!(bytes <= BUDGET_BYTES, "{bytes} bytes, {} each", bytes / DAY_S);
    assert!(kept.abs_diff(bytes) < 100, "counted {bytes}, on disk {kept}");
    // One in 5 s, two for a new segment, of which one may be due anyway.
    assert!([1, 2].contains(&(written.syncs - before.syncs - DAY_S / 5)), "{written:?}");
    println!("{bytes} bytes, {} of blocks", written.block_bytes() - before.block_bytes());
}
