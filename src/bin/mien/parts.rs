//! Puts the library's parts together as the command line and the configuration say.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use mien::classifier::Classifier;
use mien::engine::Model;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::bundled;

/// What reads faces.
pub struct Reader {
    /// Reads crops of them.
    pub classifier: Classifier,
    /// The model's name.
    pub model: String,
    /// The model's own threshold, see [`mien::engine::Calibration::unsure_below`].
    pub unsure_below: f32,
}

/// The model named, or the bundled one, ready to read faces; `gender`: whether it tells that.
pub fn reader(model: Option<&Path>, gender: bool) -> anyhow::Result<Reader> {
    let model = match (model, gender) {
        (Some(path), true) => Model::read(path)?,
        (Some(path), false) => Model::read_without_gender(path)?,
        (None, true) => Model::from_bytes(bundled::MODEL_NAME, &mien::bundled::model())?,
        (None, false) => Model::without_gender(bundled::MODEL_NAME, &mien::bundled::model())?,
    };
    let (name, unsure_below) = (model.name().to_owned(), model.calibration().unsure_below);
    Ok(Reader { classifier: Classifier::new(model), model: name, unsure_below })
}

/// A flag that SIGINT and SIGTERM set. A second signal ends the program at once.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("can't listen to signals")?;
    }
    Ok(stop)
}
