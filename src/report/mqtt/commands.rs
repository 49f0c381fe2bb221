//! What a kiosk may be told over MQTT.

use serde_json::{Value, json};

/// Names of the commands, as in their topics.
pub const NAMES: [&str; 3] = [PAUSE, LED_TEST, CONFIG_RELOAD];
/// Payload `ON` pauses, `OFF` goes on.
pub const PAUSE: &str = "pause";
/// Any payload.
pub const LED_TEST: &str = "led_test";
/// Any payload.
pub const CONFIG_RELOAD: &str = "config-reload";

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Look at no frame, or at frames again.
    Pause(bool),
    /// Light all LEDs for a moment.
    LedTest,
    /// Read the configuration anew.
    ConfigReload,
}

impl Command {
    /// Reads a command; else why it is none.
    pub fn parse(name: &str, payload: &[u8], retained: bool) -> Result<Self, String> {
        // A broker gives it again at each new connection.
        if retained {
            return Err("retained commands are not obeyed; publish it without retain".into());
        }
        match (name, payload) {
            (PAUSE, b"ON") => Ok(Self::Pause(true)),
            (PAUSE, b"OFF") => Ok(Self::Pause(false)),
            (PAUSE, _) => Err("the payload must be ON or OFF".into()),
            (LED_TEST, _) => Ok(Self::LedTest),
            (CONFIG_RELOAD, _) => Ok(Self::ConfigReload),
            _ => Err(format!("there is no such command; there are {}", NAMES.join(", "))),
        }
    }
}

/// The answer's payload.
pub fn reply(done: &Result<(), String>) -> Value {
    match done {
        Ok(()) => json!({ "ok": true }),
        Err(why) => json!({ "ok": false, "why": why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_or_refused_with_a_reason() {
        assert_eq!(Command::parse("pause", b"ON", false), Ok(Command::Pause(true)));
        assert_eq!(Command::parse("pause", b"OFF", false), Ok(Command::Pause(false)));
        assert_eq!(Command::parse("led_test", b"PRESS", false), Ok(Command::LedTest));
        assert_eq!(Command::parse("config-reload", b"", false), Ok(Command::ConfigReload));
        for (name, payload, retained, part) in [
            ("pause", &b"on\xFF"[..], false, "ON or OFF"),
            ("explode", b"", false, "config-reload"),
            ("pause", b"ON", true, "retain"),
        ] {
            let why = Command::parse(name, payload, retained).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
