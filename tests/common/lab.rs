//! `mien-lab` as a command, and data for it.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

/// Writes a FER2013 of noise: `usage` gives each row's.
pub fn write_noise(path: &Path, rows: usize, usage: fn(usize) -> &'static str) {
    let mut random = fastrand::Rng::with_seed(1);
    let mut csv = String::from("emotion,pixels,Usage\n");
    for i in 0..rows {
        let pixels: Vec<String> = (0..48 * 48).map(|_| random.u8(..).to_string()).collect();
        writeln!(csv, "{},{},{}", i % 7, pixels.join(" "), usage(i)).unwrap();
    }
    std::fs::write(path, csv).unwrap();
}

/// The program in a folder.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mien-lab"));
    command.current_dir(folder).args(args);
    command
}

/// What it does and says.
pub fn lab(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// That it succeeded; gives what it printed.
pub fn assert_ok(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// That it failed and said all of these words.
pub fn assert_fails(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let missing: Vec<_> = words.iter().filter(|word| !stderr.contains(**word)).collect();
    assert!(missing.is_empty(), "{stderr:?} should say {missing:?}");
}
