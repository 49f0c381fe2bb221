//! Stands in for MQTT in a build without feature `mqtt`.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use mien::config::Config;
use mien::kiosk::controls::Controls;
use mien::report::journal::Run;
use mien::report::mqtt::options::MqttOptions;

use crate::check::Verdict;
use crate::watch::Reload;

const ABSENT: &str = "this `mien` was built without MQTT; build it with \
                      `cargo build --release --features mqtt`, or remove `[mqtt]` from the config";

/// Says how to get a build that can forward, if the configuration asks for it.
pub fn start(config: &Config, _: Run, _: &Arc<Controls>, _: &Reload) -> anyhow::Result<Option<()>> {
    if config.mqtt.is_some() {
        bail!(ABSENT);
    }
    Ok(None)
}

/// Says how to get a build that can, for `mien check`.
pub fn check(_: &str, _: &MqttOptions) -> (Verdict, String) {
    (Verdict::Failed, ABSENT.into())
}

/// Says how to get a build that can.
pub fn remove_discovery(_: &Path) -> anyhow::Result<()> {
    bail!(ABSENT)
}
