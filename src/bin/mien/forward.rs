//! MQTT (feature `mqtt`).

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use mien::config::Config;
use mien::kiosk::controls::Controls;
use mien::report::journal::Run;
use mien::report::mqtt::commands::Command;
use mien::report::mqtt::options::MqttOptions;
use mien::report::mqtt::{self, Forwarder, MqttError, Setup};

use crate::check::Verdict;
use crate::watch::Reload;

/// Where systemd puts a service's secrets.
const CREDENTIALS: &str = "/run/credentials";

/// Starts to send the journal on, if the configuration says so; it ends when dropped.
pub fn start(
    config: &Config,
    run: Run,
    controls: &Arc<Controls>,
    reload: &Reload,
) -> anyhow::Result<Option<Forwarder>> {
    let Some(options) = config.mqtt.clone() else { return Ok(None) };
    let (controls_to_obey, reload) = (Arc::clone(controls), reload.clone());
    let setup = Setup {
        device: config.device.clone(),
        options,
        journal_dir: config.journal.directory.clone(),
        run,
        journal_sync_period: Duration::from_secs_f64(config.journal.sync_period_s),
        gender: config.expression.gender,
        only_rooms_of_at_least: config.journal.only_rooms_of_at_least,
        controls: Arc::clone(controls),
        obey: Box::new(move |command| obey(command, &controls_to_obey, &reload)),
    };
    Ok(Some(Forwarder::start(setup)?))
}

fn obey(command: Command, controls: &Controls, reload: &Reload) -> Result<(), String> {
    match command {
        Command::Pause(paused) => controls.pause(paused),
        Command::LedTest => controls.test_leds(),
        Command::ConfigReload => {
            // What was checked is what will run.
            let config = reload.read().map_err(|error| format!("{error:#}"))?;
            if let Some(options) = &config.mqtt {
                let usable = mqtt::check_files(&config.device, options);
                usable.map_err(|error| error.to_string())?;
            }
            *reload.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
            controls.restart();
        }
    }
    Ok(())
}

/// Looks for the broker, for `mien check`.
pub fn check(device: &str, options: &MqttOptions) -> (Verdict, String) {
    match mqtt::check(device, options) {
        Ok(address) => (Verdict::Good, format!("{address} lets this kiosk in")),
        // systemd's LoadCredential.
        Err(MqttError::File { key, path, source })
            if source.kind() == io::ErrorKind::NotFound && path.starts_with(CREDENTIALS) =>
        {
            let text = format!(
                "not tried: {}, `{key}` under `[mqtt]`, is there only while the service runs, of which \
                 `journalctl -u mien` tells what its broker says",
                path.display()
            );
            (Verdict::Note, text)
        }
        Err(error) => (Verdict::Failed, error.to_string()),
    }
}

/// Removes the device of `config` from Home Assistant.
pub fn remove_discovery(config: &Path) -> anyhow::Result<()> {
    let Config { device, mqtt, .. } = Config::read(config)?;
    let options = mqtt.context("the configuration has no section [mqtt], so there is no broker")?;
    Ok(mqtt::remove_discovery(&device, &options)?)
}
