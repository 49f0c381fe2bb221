//! Each operator that a file may have gives LiteRT's codes; those that tract computes in single precision,
//! to one code. Files and answers were written by `tests/operators.py`, which says what is in them.
//! Also runs for aarch64, see `cross/test.sh`.

use std::path::Path;

use mien::engine::interpret::interpret;
use mien::engine::read::read;

/// Files of what is computed in single precision are called by this and the operator's name.
const NEAR: &str = "near_";

#[test]
fn each_gives_litert_s_codes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/operators");
    let codes = |name: &str| -> Vec<i8> {
        std::fs::read(folder.join(name)).unwrap().into_iter().map(u8::cast_signed).collect()
    };
    let inputs = codes("inputs.i8");
    let mut names: Vec<String> = (std::fs::read_dir(&folder).unwrap())
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".tflite")?.to_owned())
        })
        .collect();
    names.sort();
    for name in &names {
        let bytes = std::fs::read(folder.join(format!("{name}.tflite"))).unwrap();
        let network = read(name, &bytes).unwrap().network;
        let len = network.values[network.input].shape.iter().product();
        let given: Vec<i8> =
            inputs.chunks_exact(len).flat_map(|picture| interpret(&network, picture)).collect();
        let expected = codes(&format!("{name}.outputs.i8"));
        assert_eq!(given.len(), expected.len(), "{name}");
        let off = given.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        let most = if name.starts_with(NEAR) { 1 } else { 0 };
        assert!(off <= Some(most), "{name}: codes differ by up to {off:?}");
    }
    assert!(names.len() > 50);
}

#[test]
fn what_is_not_run_is_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/refused");
    let paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    for path in &paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let error = read(name, &std::fs::read(path).unwrap()).err().expect(name).to_string();
        assert!(error.contains(&format!("({name})")), "{error}");
    }
    assert!(paths.len() > 5);
}
