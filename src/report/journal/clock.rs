//! Clocks: the writer's two, and how a reader corrects the wall clock afterwards.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::format::Record;

/// 2024-01-01: a wall clock that shows less was not set yet.
const PLAUSIBLE_FROM: Duration = Duration::from_secs(1_704_067_200);
/// A record's wall clock is taken to be wrong if its distance to the monotonic clock differs from
/// that of its run's end by more.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
const TOLERANCE_MS: u64 = CLOCK_TOLERANCE.as_millis() as u64;

/// Where the writer gets its times from.
pub(super) trait Clock: Debug + Send {
    fn wall(&self) -> SystemTime;
    /// Time since some moment, never set.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks, the monotonic one from now on.
#[derive(Debug)]
pub(super) struct SystemClock(pub Instant);

impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Whether a clock that shows this was set.
pub fn is_plausible(time: SystemTime) -> bool {
    time >= UNIX_EPOCH + PLAUSIBLE_FROM
}

/// For how long a wall clock has gone with the monotonic one: one that was just set may be set again.
#[derive(Debug, Default)]
pub(super) struct Steadiness {
    /// The lead of the wall clock, ms, and the monotonic time, as it was last set.
    since: Option<(i64, Duration)>,
}

impl Steadiness {
    /// How long it has not been set.
    pub(super) fn note(&mut self, wall: SystemTime, monotonic: Duration) -> Duration {
        let now = lead_ms(wall, monotonic);
        let (lead, since) = self.since.unwrap_or((now, monotonic));
        let set = lead.abs_diff(now) > TOLERANCE_MS;
        let since = if set { monotonic } else { since };
        // Slowly, it may drift away.
        self.since = Some((now, since));
        monotonic.saturating_sub(since)
    }
}

/// How far the wall clock was ahead of the monotonic one in each writer's run, as its last record
/// with a clock that was set tells it.
///
/// A Pi boots in 1970 and learns the time minutes later. What was recorded before is as far from
/// what was recorded after as the monotonic clock says.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// By the sequence of the run's first record: the lead in ms, if known.
    leads: BTreeMap<u64, Option<i64>>,
    last_monotonic: Duration,
}

impl Runs {
    /// Looks at the records, oldest first.
    pub fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut runs = Self::default();
        records.into_iter().for_each(|record| runs.note(&record));
        runs
    }

    /// Looks at one more record.
    pub fn note(&mut self, record: &Record) {
        let begins = record.starts_run || record.monotonic < self.last_monotonic;
        if begins || self.leads.is_empty() {
            self.leads.insert(record.sequence, None);
        }
        self.last_monotonic = record.monotonic;
        if is_plausible(record.time)
            && let Some(mut last) = self.leads.last_entry()
        {
            last.insert(Some(lead_ms(record.time, record.monotonic)));
        }
    }

    /// The time at which a record was written, if its wall clock was wrong and the right time is
    /// known.
    pub fn corrected(&self, record: &Record) -> Option<SystemTime> {
        let (_, lead) = self.leads.range(..=record.sequence).next_back()?;
        let lead = (*lead)?;
        if lead_ms(record.time, record.monotonic).abs_diff(lead) <= TOLERANCE_MS {
            return None;
        }
        let millis = u64::try_from(lead.checked_add(millis(record.monotonic))?).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_millis(millis))
    }
}

fn lead_ms(wall: SystemTime, monotonic: Duration) -> i64 {
    let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(wall).saturating_sub(millis(monotonic))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::format::Delivery;
    use super::*;

    const NTP_S: u64 = 1_790_000_000;

    fn record(sequence: u64, wall_s: u64, monotonic_s: u64) -> Record {
        Record {
            sequence,
            time: UNIX_EPOCH + Duration::from_secs(wall_s),
            monotonic: Duration::from_secs(monotonic_s),
            starts_run: monotonic_s == 1,
            topic: String::new(),
            payload: String::new(),
            delivery: Delivery::default(),
        }
    }

    fn corrected_s(records: &[Record]) -> Vec<Option<u64>> {
        let runs = Runs::of(records.to_vec());
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        records.iter().map(|record| runs.corrected(record).map(seconds)).collect()
    }

    #[test]
    fn what_was_written_before_the_clock_was_set_gets_its_time_afterwards() {
        // Boots in 1970, or where the last shutdown left the clock; NTP comes in later.
        for boot_s in [0, NTP_S - 86_400] {
            let records = [
                record(0, boot_s + 1, 1),
                record(1, boot_s + 30, 30),
                record(2, NTP_S, 60),
                record(3, NTP_S + 20, 80),
            ];
            let expected = [Some(NTP_S - 59), Some(NTP_S - 30), None, None];
            assert_eq!(corrected_s(&records), expected);
        }
    }

    #[test]
    fn a_clock_that_was_ahead_is_set_back() {
        let records = [record(0, NTP_S + 7200, 1), record(1, NTP_S, 11)];
        assert_eq!(corrected_s(&records), [Some(NTP_S - 10), None]);
    }

    #[test]
    fn another_run_tells_nothing_and_an_unset_clock_neither() {
        // The second run's monotonic clock is ahead of the first's already; its mark tells it.
        let records = [record(0, 5, 1), record(1, NTP_S, 1), record(2, NTP_S + 5, 6)];
        assert_eq!(corrected_s(&records), [None, None, None]);
        // The mark was lost; the monotonic clock fell.
        let records = [record(0, 5, 50), record(1, NTP_S, 2), record(2, 3, 5)];
        assert_eq!(corrected_s(&records), [None, None, Some(NTP_S + 3)]);
    }

    #[test]
    fn absurd_times_are_survived() {
        let far = UNIX_EPOCH.checked_add(Duration::from_millis(1 << 62)).unwrap();
        let absurd =
            Record { time: far, monotonic: Duration::from_millis(u64::MAX), ..record(0, 0, 0) };
        let runs = Runs::of([absurd.clone(), record(1, NTP_S, 1)]);
        runs.corrected(&absurd);
        let runs = Runs::of([record(0, NTP_S, 1), absurd.clone()]);
        runs.corrected(&record(0, NTP_S, 1));
    }
}
