//! Whether the clock is right: a Raspberry Pi has none that runs on without power.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use jiff::Timestamp;
use mien::report::journal::is_clock_set;

use super::{Finding, Verdict};

/// systemd's own time client makes this file once it has the time.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// Whether it was ever set, and follows a time server.
pub fn check() -> Finding {
    let (verdict, text) = judge(SystemTime::now(), is_synchronized());
    ("clock", verdict, text)
}

/// Whether the clock follows a time server; none where nobody tells.
fn is_synchronized() -> Option<bool> {
    if Path::new(SYNCHRONIZED).exists() {
        return Some(true);
    }
    // Knows of other time clients too.
    let mut timedatectl = Command::new("timedatectl");
    let output =
        timedatectl.args(["show", "--property=NTPSynchronized", "--value"]).output().ok()?;
    match output.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

fn judge(now: SystemTime, synchronized: Option<bool>) -> (Verdict, String) {
    let shown = Timestamp::try_from(now).map_or("a time out of range".into(), |now| {
        now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    });
    match synchronized {
        _ if !is_clock_set(now) => (
            Verdict::Failed,
            format!(
                "{shown}: it was never set; connect to a network once, or `sudo timedatectl set-time \
                 '2026-01-31 12:00:00'`, or fit a clock with a battery. The journal then corrects \
                 the times it has"
            ),
        ),
        Some(true) => (Verdict::Good, format!("{shown}, synchronized")),
        Some(false) => (
            Verdict::Note,
            format!(
                "{shown}, not synchronized: it drifts and is wrong after each power cut; `sudo \
                 timedatectl set-ntp true`, then `timedatectl timesync-status` says what is missing"
            ),
        ),
        None => (Verdict::Note, format!("{shown}; nobody here tells whether it is synchronized")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn an_unset_clock_fails_and_a_free_running_one_is_noted() {
        let now = UNIX_EPOCH + Duration::from_secs(1_780_000_000);
        assert!(matches!(judge(now, Some(true)), (Verdict::Good, text) if text.contains("2026-")));
        for synchronized in [Some(false), None] {
            assert!(matches!(judge(now, synchronized), (Verdict::Note, _)));
        }
        for synchronized in [Some(true), Some(false), None] {
            let (verdict, text) = judge(UNIX_EPOCH, synchronized);
            assert!(matches!(verdict, Verdict::Failed) && text.contains("1970-01-01"), "{text}");
        }
    }
}
