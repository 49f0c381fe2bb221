//! Where the program runs in a test.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A directory of its own for each test, in which the program runs.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mien"));
        command.args(args).current_dir(self.0.path()).env_remove("RUST_LOG");
        command
    }

    pub fn mien(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}
