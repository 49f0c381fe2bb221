//! Updates of a real kiosk: what is taken, what is not, and what becomes of what does not prove itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use minisign::KeyPair;

#[path = "common/place.rs"]
mod place;

use place::Place;

const CONFIG: &str = "kiosk.toml";
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/mien-slim.tflite");
const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo.mjpeg");

/// A kiosk that takes updates by a key of its own.
struct Kiosk {
    place: Place,
    keys: KeyPair,
}

impl Kiosk {
    fn new() -> Self {
        let (place, keys) = (Place::new(), KeyPair::generate_unencrypted_keypair().unwrap());
        let config = format!("[update]\nkey = '{}'\n", keys.pk.to_base64());
        fs::write(place.path(CONFIG), config).unwrap();
        Self { place, keys }
    }

    /// A file and its signature, by these keys.
    fn signed(&self, keys: &KeyPair, name: &str, bytes: &[u8]) {
        let signature = minisign::sign(Some(&keys.pk), &keys.sk, bytes, Some(name), None);
        fs::write(self.place.path(name), bytes).unwrap();
        let signature = signature.unwrap().into_string();
        fs::write(self.place.path(&format!("{name}.minisig")), signature).unwrap();
    }

    fn update(&self, args: &[&str]) -> Output {
        self.place.mien(&[&["update"], args, &["--config", CONFIG]].concat())
    }

    fn install(&self, name: &str, file: &Path) -> Output {
        self.signed(&self.keys, name, &fs::read(file).unwrap());
        self.update(&["install", name])
    }

    fn status(&self) -> String {
        let output = self.update(&["status"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Programs and models on the disk.
    fn stored(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place.path("mien-log/updates")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_stored = |path: &PathBuf| {
            path.extension().is_some_and(|ends| ends == "tflite" || ends == "program")
        };
        paths.filter(is_stored).collect()
    }

    fn damage_models(&self) {
        for path in self.stored().iter().filter(|path| path.extension().unwrap() == "tflite") {
            let mut bytes = fs::read(path).unwrap();
            bytes[100] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    }

    /// Watches a clip to its end; what it says.
    fn run(&self) -> String {
        let output = self.place.mien(&["run", "--source", CLIP, "--config", CONFIG]);
        assert!(output.status.success(), "{output:?}");
        text(&output)
    }
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

fn assert_refused(output: &Output, part: &str) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(part), "{part} not in: {text}");
}

#[test]
fn a_model_that_watches_stays_and_can_be_taken_back() {
    let kiosk = Kiosk::new();
    let output = kiosk.install("model-2", Path::new(MODEL));
    assert!(output.status.success(), "{output:?}");
    assert!(kiosk.status().contains("on trial  model-2"), "{}", kiosk.status());
    assert!(kiosk.run().contains("the updated model has proved itself"));
    let status = kiosk.status();
    assert!(status.contains("model    in use    model-2") && !status.contains("trial"), "{status}");
    let check = text(&kiosk.place.mien(&["check", "--config", CONFIG]));
    assert!(check.contains("program: the system's") && check.contains("model: model-2"), "{check}");
    // Once.
    assert!(!kiosk.run().contains("proved"));
    let records = kiosk.place.mien(&["journal", "cat", "--topic", "mien/+/status"]);
    let records = String::from_utf8(records.stdout).unwrap();
    assert!(records.contains("mien-log/updates/"), "{records}");
    assert_refused(&kiosk.update(&["roll-back"]), "nothing is on trial");
    assert!(kiosk.update(&["roll-back", "model"]).status.success());
    let status = kiosk.status();
    assert!(status.contains("model    in use    as installed with the system"), "{status}");
    assert!(status.contains("rejected  model-2") && status.contains("rolled back"), "{status}");
    assert_refused(&kiosk.update(&["roll-back", "model"]), "no model of an update is in use");
}

#[test]
fn a_program_goes_on_in_this_one_s_place() {
    let kiosk = Kiosk::new();
    // Without what debuggers read it is small enough for an update.
    let program = kiosk.place.path("stripped");
    let mien = Path::new(env!("CARGO_BIN_EXE_mien"));
    let strip = Command::new("strip").arg("-o").args([&*program, mien]).status();
    assert!(strip.unwrap().success());
    let output = kiosk.install("program-2", &program);
    assert!(output.status.success(), "{output:?}");
    assert!(kiosk.run().contains("the updated program has proved itself"));
    assert!(kiosk.status().contains("program  in use    program-2"), "{}", kiosk.status());
}

/// `true` passes any self-test, and never watches.
#[test]
fn a_program_that_never_watches_is_left_after_three_starts() {
    let kiosk = Kiosk::new();
    let output = kiosk.install("idle", Path::new("/bin/true"));
    assert!(output.status.success(), "{output:?}");
    for _ in 0..3 {
        assert_eq!(kiosk.run(), "", "it runs, and does nothing");
    }
    let status = kiosk.status();
    assert!(status.contains("on trial  idle") && status.contains("3 of 3"), "{status}");
    assert!(kiosk.run().contains("frames read"), "the program of before");
    let status = kiosk.status();
    assert!(status.contains("rejected  idle") && status.contains("in 3 starts"), "{status}");
    assert!(!status.contains("trial"), "{status}");
}

#[test]
fn what_is_not_good_is_not_installed() {
    let kiosk = Kiosk::new();
    let model = fs::read(MODEL).unwrap();
    let signed = |name: &str, bytes: &[u8]| kiosk.signed(&kiosk.keys, name, bytes);
    // Another's signature, none, and a file cut short after it was signed.
    kiosk.signed(&KeyPair::generate_unencrypted_keypair().unwrap(), "others", &model);
    assert_refused(&kiosk.update(&["install", "others"]), "others: the signature does not hold");
    signed("unsigned", &model);
    fs::remove_file(kiosk.place.path("unsigned.minisig")).unwrap();
    assert_refused(&kiosk.update(&["install", "unsigned"]), "unsigned.minisig");
    fs::create_dir(kiosk.place.path("folder")).unwrap();
    assert_refused(&kiosk.update(&["install", "folder"]), "no regular file");
    signed("short", &model);
    fs::write(kiosk.place.path("short"), &model[..model.len() / 2]).unwrap();
    assert_refused(&kiosk.update(&["install", "short"]), "short: the signature does not hold");
    // Signed, but cut short, of another machine, of no machine, failing its own test.
    signed("half", &model[..model.len() / 2]);
    assert_refused(&kiosk.update(&["install", "half"]), "not a whole .tflite file");
    signed("elsewhere", &elf_for(0x1234));
    assert_refused(&kiosk.update(&["install", "elsewhere"]), "for another kind of machine");
    signed("text", b"#!/bin/sh\nexit 0\n");
    assert_refused(&kiosk.update(&["install", "text"]), "neither a program");
    assert_refused(&kiosk.install("failing", Path::new("/bin/false")), "its self-test failed");
    // Nothing of that is on trial or on the disk, and the kiosk runs.
    let status = kiosk.status();
    assert!(!status.contains("trial") && !status.contains("rejected"), "{status}");
    assert_eq!(kiosk.stored(), Vec::<PathBuf>::new());
    assert!(kiosk.run().contains("frames read"));
}

/// The beginning of a program for a CPU of this number in ELF.
fn elf_for(machine: u16) -> Vec<u8> {
    let mut elf = vec![0; 4096];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[16] = 2;
    elf[18..20].copy_from_slice(&machine.to_le_bytes());
    elf
}

#[test]
fn damage_on_the_disk_leaves_the_system_s_own() {
    let kiosk = Kiosk::new();
    assert!(kiosk.install("model-2", Path::new(MODEL)).status.success());
    // One at a time.
    assert_refused(&kiosk.install("program-2", Path::new("/bin/true")), "a model is on trial");
    kiosk.damage_models();
    let said = kiosk.run();
    assert!(said.contains("frames read") && said.contains("signature does not hold"), "{said}");
    let status = kiosk.status();
    assert!(status.contains("rejected") && !status.contains("trial"), "{status}");
    fs::write(kiosk.place.path("mien-log/updates/state.json"), "{").unwrap();
    let said = kiosk.run();
    assert!(said.contains("frames read") && said.contains("state.json is damaged"), "{said}");
}

#[test]
fn a_check_tells_of_the_model_in_use_and_of_its_damage() {
    let kiosk = Kiosk::new();
    let check = || text(&kiosk.place.mien(&["check", "--config", CONFIG]));
    assert!(kiosk.install("model-2", Path::new(MODEL)).status.success());
    kiosk.run();
    let [stored] = &kiosk.stored()[..] else { panic!("one model") };
    let name = stored.file_name().unwrap().to_str().unwrap();
    let said = check();
    let model = said.lines().find(|line| line.starts_with("model")).unwrap();
    assert!(model.contains("ok") && model.contains(name), "{said}");
    // Also where the configuration has what this program does not know.
    let config = fs::read_to_string(kiosk.place.path(CONFIG)).unwrap();
    fs::write(kiosk.place.path(CONFIG), format!("{config}[newer]\n")).unwrap();
    let said = check();
    assert!(said.contains("config   FAILED") && said.contains("model: model-2"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("model") && line.contains(name)), "{said}");
    let keyless = config.replace("key = '", "key = 'no ");
    fs::write(kiosk.place.path(CONFIG), keyless).unwrap();
    let said = check();
    assert_eq!(said.matches("no public key").count(), 1, "{said}");
    fs::write(kiosk.place.path(CONFIG), config).unwrap();
    kiosk.damage_models();
    let said = check();
    let update = said.lines().find(|line| line.starts_with("update")).unwrap();
    assert!(update.contains("FAILED") && said.contains("mien update roll-back model"), "{said}");
}

/// What a newer program knows, this one may not; nor may it count a start that is not the kiosk's.
#[test]
fn the_other_program_is_asked_first_and_by_one_alone() {
    let kiosk = Kiosk::new();
    assert!(kiosk.install("newer", Path::new("/bin/true")).status.success());
    let in_use = fs::File::create(kiosk.place.path("mien-log/updates/in-use")).unwrap();
    in_use.lock().unwrap();
    let said = kiosk.run();
    assert!(
        said.contains("frames read") && said.contains("another mien uses the updates"),
        "{said}"
    );
    assert!(kiosk.status().contains("0 of 3 starts"), "{}", kiosk.status());
    // Closing it would not do while another test's child, not yet its own program, has it open too.
    in_use.unlock().unwrap();
    let known = fs::read_to_string(kiosk.place.path(CONFIG)).unwrap();
    fs::write(kiosk.place.path(CONFIG), format!("newer_key = 1\n{known}")).unwrap();
    assert_eq!(kiosk.run(), "", "it goes on as the newer");
    fs::write(kiosk.place.path(CONFIG), known).unwrap();
    assert!(kiosk.status().contains("1 of 3 starts"), "{}", kiosk.status());
}

#[test]
fn without_a_key_there_are_no_updates() {
    let place = Place::new();
    fs::write(place.path(CONFIG), "").unwrap();
    let output = place.mien(&["update", "status", "--config", CONFIG]);
    assert_refused(&output, "[update]");
}

#[test]
fn a_program_tests_itself() {
    let place = Place::new();
    assert!(place.mien(&["self-test"]).status.success());
    fs::write(place.path(CONFIG), "unknown = 1\n").unwrap();
    let output = place.mien(&["self-test", "--config", CONFIG]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // As an update it must be started again, which systemd does not after a 2.
    for args in [&["self-test", "--config", CONFIG][..], &["unheard-of"]] {
        let output = place.command(args).env("MIEN_UPDATE", "sha256").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}
