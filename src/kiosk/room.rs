//! What a room shows on the whole: the mean of its faces' shares, smoothed over time.

use std::time::Duration;

use crate::classifier::Scores;
use crate::face::tracker::Track;

/// Follows the mean shares of all faces, older means counting half after each half-life. An empty
/// room has none, and is forgotten.
#[derive(Debug)]
pub struct RoomShares {
    half_life: Duration,
    shares: Option<Scores>,
    time: Duration,
}

impl RoomShares {
    /// Of a room that is empty so far; a half-life of 0 does not smooth.
    pub fn new(half_life: Duration) -> Self {
        Self { half_life, shares: None, time: Duration::ZERO }
    }

    /// Takes in the faces at `time`; the shares then.
    pub fn update(&mut self, time: Duration, tracks: &[Track]) -> Option<Scores> {
        let since = time.saturating_sub(self.time).as_secs_f32();
        let kept = match self.half_life.as_secs_f32() {
            0.0 => 0.0,
            half_life => (-since / half_life).exp2(),
        };
        self.time = time;
        let mean = mean(tracks);
        self.shares = match (self.shares, mean) {
            (Some(before), Some(now)) => Some(Scores {
                expression: blend(before.expression, now.expression, kept),
                gender: match (before.gender, now.gender) {
                    (Some(before), Some(now)) => Some(blend(before, now, kept)),
                    (_, now) => now,
                },
            }),
            (_, now) => now,
        };
        self.shares
    }
}

fn blend<const N: usize>(before: [f32; N], now: [f32; N], kept: f32) -> [f32; N] {
    std::array::from_fn(|i| kept * before[i] + (1.0 - kept) * now[i])
}

/// Over all faces; of gender over those that tell it.
fn mean(tracks: &[Track]) -> Option<Scores> {
    let expressions = tracks.iter().map(|track| track.scores.expression);
    let genders = tracks.iter().filter_map(|track| track.scores.gender);
    Some(Scores { expression: mean_of(expressions)?, gender: mean_of(genders) })
}

fn mean_of<const N: usize>(all: impl Iterator<Item = [f32; N]>) -> Option<[f32; N]> {
    let (mut sum, mut count) = ([0.0; N], 0);
    for shares in all {
        sum.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
        count += 1;
    }
    (count > 0).then(|| sum.map(|sum| sum / count as f32))
}
