//! How the systemd service does.

use std::process::Command;

use super::{Finding, Verdict};

const UNIT: &str = "mien.service";

/// What systemd says of the service.
pub fn check() -> Finding {
    let properties = "--property=LoadState,ActiveState,UnitFileState,NRestarts,Result";
    let output = Command::new("systemctl").args(["show", UNIT, properties]).output();
    let (verdict, text) = match output {
        Ok(output) if output.status.success() => judge(&String::from_utf8_lossy(&output.stdout)),
        _ => (Verdict::Note, "no systemd runs here".into()),
    };
    ("service", verdict, text)
}

/// `shown` has a line `KEY=VALUE` for each property.
fn judge(shown: &str) -> (Verdict, String) {
    let value = |key: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default()
    };
    let restarts = value("NRestarts");
    let (verdict, text) = match (value("LoadState"), value("ActiveState")) {
        ("not-found" | "", _) => return (Verdict::Note, format!("no {UNIT} is installed")),
        (_, "active") if restarts == "0" => (Verdict::Good, "runs".into()),
        (_, "active") => {
            let text = format!("runs, restarted {restarts} times; `journalctl -u mien` says why");
            (Verdict::Note, text)
        }
        (_, "inactive") => (Verdict::Note, "is stopped; `sudo systemctl start mien`".into()),
        (_, state) => {
            let result = value("Result");
            let text = format!(
                "is {state}, restarted {restarts} times, last result {result}; \
                 `journalctl -u mien -n 20` says why"
            );
            (Verdict::Failed, text)
        }
    };
    match value("UnitFileState") {
        "enabled" => (verdict, text),
        _ => {
            let text = format!("{text}; not started at boot: `sudo systemctl enable mien`");
            (if matches!(verdict, Verdict::Good) { Verdict::Note } else { verdict }, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_runs_is_good_and_one_that_fails_is_not() {
        let judged = |active: &str, file: &str, restarts: u32| {
            judge(&format!(
                "NRestarts={restarts}\nResult=exit-code\nLoadState=loaded\nActiveState={active}\n\
                 UnitFileState={file}\n"
            ))
        };
        assert!(matches!(judged("active", "enabled", 0), (Verdict::Good, _)));
        let (verdict, text) = judged("active", "enabled", 3);
        assert!(matches!(verdict, Verdict::Note) && text.contains("3 times"), "{text}");
        let (verdict, text) = judged("active", "disabled", 0);
        assert!(matches!(verdict, Verdict::Note) && text.contains("enable mien"), "{text}");
        assert!(matches!(judged("inactive", "enabled", 0), (Verdict::Note, _)));
        for state in ["failed", "activating"] {
            let (verdict, text) = judged(state, "enabled", 7);
            assert!(matches!(verdict, Verdict::Failed) && text.contains("exit-code"), "{text}");
        }
        assert!(matches!(judge("LoadState=not-found\nActiveState=inactive"), (Verdict::Note, _)));
    }
}
