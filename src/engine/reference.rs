//! What runs a network that can't be planned, and what the plan of a file that says nothing of the test picture
//! is held to at the start.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::interpret::interpret;
use super::network::Int8Network;
use super::read::File;
use super::tract::Tract;

/// Stock tract where it computes a network as LiteRT does, else the plain arithmetic.
pub enum Reference {
    /// See [`Tract`].
    Tract(Tract),
    /// See [`interpret`].
    Plain(Box<Int8Network>),
}

impl Reference {
    /// For a file of these bytes, called `name`.
    pub fn new(name: &str, bytes: &[u8], file: &File) -> Self {
        let plain = || Self::Plain(Box::new(file.network.clone()));
        if !file.tract_agrees {
            return plain();
        }
        let [height, width, channels] = file.network.values[file.network.input].shape;
        match Tract::load(bytes, [1, height, width, channels]) {
            Ok(tract) => Self::Tract(tract),
            Err(why) => {
                log::warn!("model {name}: tract does not load it ({why}); plain loops check it");
                plain()
            }
        }
    }

    /// What it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tract(_) => "tract",
            Self::Plain(_) => "plain loops",
        }
    }

    /// The output's codes for one picture; else why there are none.
    pub fn run(&self, picture: &[i8]) -> Result<Vec<i8>, String> {
        match self {
            Self::Tract(tract) => tract.run(picture),
            Self::Plain(network) => catch_unwind(AssertUnwindSafe(|| interpret(network, picture)))
                .map_err(|_| "plain loops panicked".into()),
        }
    }
}
