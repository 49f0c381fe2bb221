//! The bundled network on stored pictures, whose answers LiteRT gave.

use anyhow::{Context, ensure};
use mien::engine::Model;

use crate::bundled;

const PICTURES: &[u8] = include_bytes!("../../../tests/data/golden_inputs.i8");
const ANSWERS: &[u8] = include_bytes!("../../../tests/data/golden_outputs.i8");

/// Whether this program, on this CPU, gives the stored answers to the bit.
pub fn run() -> anyhow::Result<()> {
    let signed = |bytes: &[u8]| bytes.iter().map(|byte| byte.cast_signed()).collect::<Vec<i8>>();
    let model = Model::from_bytes(bundled::MODEL_NAME, &mien::bundled::model())?;
    let answers = model.run_raw(&signed(PICTURES)).context("the stored pictures")?;
    ensure!(
        answers == signed(ANSWERS),
        "the network gives other answers than those stored; this CPU or this build is not to be trusted"
    );
    Ok(())
}
