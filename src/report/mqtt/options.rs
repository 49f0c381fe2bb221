//! What a user may set of MQTT; also in a build without it, which refuses the section by name.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::Deserialize;

/// Port of a broker without TLS.
const PLAIN_PORT: u16 = 1883;
/// Port of a broker with TLS.
const TLS_PORT: u16 = 8883;

/// The section `[mqtt]`; without it nothing is sent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttOptions {
    /// The broker's name or address.
    pub host: String,
    /// Its port; unset, 1883, or 8883 with TLS.
    pub port: Option<u16>,
    /// User to log in as; unset, nobody.
    pub user: Option<String>,
    /// File whose first line is the password; not readable by all. Unset, the environment variable
    /// `MIEN_MQTT_PASSWORD`.
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of which one must have signed the broker's. Set, TLS is used.
    pub ca_file: Option<PathBuf>,
    /// This kiosk's own certificate (PEM), if the broker asks for one.
    pub client_cert_file: Option<PathBuf>,
    /// Its key (PEM); not readable by all.
    pub client_key_file: Option<PathBuf>,
    /// Seconds of silence after which broker and kiosk ask each other for a sign of life.
    pub keep_alive_s: u16,
    /// Seconds that the broker may take to acknowledge an event.
    pub ack_timeout_s: u16,
    /// Events sent and not acknowledged at a time.
    pub in_flight: u16,
    /// Seconds between two messages about the kiosk itself.
    pub metrics_period_s: u32,
    /// Whether commands are obeyed: pause, LED test, reading the configuration anew.
    pub commands: bool,
    /// Whether the kiosk introduces itself to Home Assistant.
    pub home_assistant: bool,
    /// Home Assistant's own topic.
    pub home_assistant_prefix: String,
}

impl Default for MqttOptions {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: None,
            user: None,
            password_file: None,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            keep_alive_s: 30,
            ack_timeout_s: 20,
            in_flight: 100,
            metrics_period_s: 60,
            commands: false,
            home_assistant: false,
            home_assistant_prefix: "homeassistant".into(),
        }
    }
}

impl MqttOptions {
    /// The port set, else the usual one.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.ca_file.is_some() { TLS_PORT } else { PLAIN_PORT })
    }

    /// Checks every option's range, and that those which need each other are there.
    pub fn validate(&self) -> Result<(), String> {
        if self.host.is_empty() || self.host.contains([' ', '/']) {
            return Err(format!("host = {:?}: must be a name or an address", self.host));
        }
        for (key, value, allowed) in [
            ("port", u32::from(self.port()), 1..=65_535),
            ("keep_alive_s", u32::from(self.keep_alive_s), 1..=3600),
            ("ack_timeout_s", u32::from(self.ack_timeout_s), 1..=600),
            ("in_flight", u32::from(self.in_flight), 1..=1000),
            ("metrics_period_s", self.metrics_period_s, 1..=86_400),
        ] {
            in_range(key, value, allowed)?;
        }
        if self.client_cert_file.is_some() != self.client_key_file.is_some() {
            return Err("client_cert_file and client_key_file: set both or none".into());
        }
        if self.client_cert_file.is_some() && self.ca_file.is_none() {
            return Err(
                "client_cert_file needs ca_file: there is no certificate without TLS".into()
            );
        }
        if self.password_file.is_some() && self.user.is_none() {
            return Err("password_file needs user".into());
        }
        let prefix = &self.home_assistant_prefix;
        if prefix.is_empty() || prefix.contains(['+', '#', '\0']) {
            return Err(format!(
                "home_assistant_prefix = {prefix:?}: must be a topic without + and #"
            ));
        }
        Ok(())
    }
}

fn in_range(key: &str, value: u32, allowed: RangeInclusive<u32>) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value}: must be {} to {}", allowed.start(), allowed.end()))
}
