//! `mien-lab` without what its device needs says what is missing and how to get it.
#![cfg(feature = "lab")]

use std::process::Command;

/// What it says of CUDA, with neither a driver nor a GPU to be found; it must fail by exit code 1.
fn complaint() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_mien-lab"))
        .args(["speed", "--device", "cuda", "--steps", "1"])
        .env("CUDA_VISIBLE_DEVICES", "")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_build_without_cuda_names_the_feature() {
    assert!(complaint().contains("--features cuda"));
}

/// Which it is depends on the machine: the driver, NVRTC, its headers, or just the GPU, hidden.
#[cfg(feature = "cuda")]
#[test]
fn a_cuda_build_names_what_the_machine_lacks() {
    let said = complaint();
    let lacking = ["libcuda.so.1", "libnvrtc.so", "CUDA_PATH", "nvidia-smi"];
    assert!(lacking.iter().any(|name| said.contains(name)), "{said}");
}
