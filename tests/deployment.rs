//! Before a camera the program runs only where its configuration says that it may, and what was
//! stated is recorded; recordings and the demo need nothing. The sign says what is done.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

#[path = "common/place.rs"]
mod place;

use place::Place;

/// Some pictures' worth; a pipe holds 64 KiB.
const PIPED_BYTES: usize = 48 << 10;

/// A place with a configuration.
fn configured(config: &str) -> Place {
    let place = Place::new();
    fs::write(place.path("kiosk.toml"), config).unwrap();
    place
}

impl Place {
    /// Watches pictures that come through a pipe, as from a camera.
    fn watch(&self, config: &[&str]) -> Output {
        let pipe = self.path("camera");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Open for both, it waits for no reader.
        let mut camera = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        camera.write_all(&demo_clip()[..PIPED_BYTES]).unwrap();
        let mut command = self.command(&[&["run", "--source", "camera"], config].concat());
        let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Once it reads, the pictures end when nobody has the pipe open to write.
        while !self.path("mien-log").exists() && watching.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(camera);
        watching.wait_with_output().unwrap()
    }

    /// What the journal says of the start.
    fn started(&self) -> Value {
        let output = self.mien(&["journal", "cat"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["payload"]["state"], "started");
        first["payload"].clone()
    }
}

fn demo_clip() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.mjpeg")).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// It ended with `code`, and standard error has all `parts`.
#[track_caller]
fn assert_ends(output: &Output, code: i32, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} not in: {text}");
    }
}

#[test]
fn a_camera_is_not_watched_where_it_is_not_said() {
    let place = configured("device = 'hall'");
    let parts = ["config kiosk.toml", "deployment_context", "\"art\"", "\"work\""];
    assert_ends(&place.watch(&["--config", "kiosk.toml"]), 2, &parts);
    assert!(!place.path("mien-log").exists(), "it has written a journal");
    let camera = place.mien(&["run", "--source", "/dev/video63", "--config", "kiosk.toml"]);
    assert_ends(&camera, 2, &parts);
    let parts = ["without --config nothing says", "deployment_context"];
    assert_ends(&place.mien(&["run", "--source", "usb:046d:0825"]), 2, &parts);
}

#[test]
fn work_and_education_are_refused_without_a_legal_basis() {
    for context in ["work", "education"] {
        let place = configured(&format!("deployment_context = '{context}'"));
        let parts = [context, "legal_basis", "Art. 5(1)(f)", "medical or safety"];
        assert_ends(&place.watch(&["--config", "kiosk.toml"]), 2, &parts);
        let config = format!("deployment_context = '{context}'\nlegal_basis = 'yes'");
        let place = configured(&config);
        assert_ends(&place.watch(&["--config", "kiosk.toml"]), 2, &["legal_basis", "a sentence"]);
        assert!(!place.path("mien-log").exists(), "it has written a journal");
    }
}

#[test]
fn what_is_stated_is_recorded_and_logged() {
    let basis = "Section 1 of the driver safety act allows it to warn of drowsiness.";
    let config = format!("deployment_context = 'work'\nlegal_basis = '{basis}'");
    let place = configured(&config);
    let output = place.watch(&["--config", "kiosk.toml"]);
    assert_ends(&output, 0, &["work", basis]);
    let started = place.started();
    assert_eq!(started["deployment_context"], "work");
    assert_eq!(started["legal_basis"], basis);

    let place = configured("deployment_context = 'art'");
    let output = place.watch(&["--config", "kiosk.toml"]);
    assert_ends(&output, 0, &[]);
    let started = place.started();
    assert_eq!(started["deployment_context"], "art");
    assert_eq!(started.get("legal_basis"), None);
}

#[test]
fn recordings_need_no_statement() {
    let place = configured("");
    fs::write(place.path("clip.mjpeg"), demo_clip()).unwrap();
    let output = place.mien(&["run", "--source", "clip.mjpeg", "--config", "kiosk.toml"]);
    assert_ends(&output, 0, &[]);
    assert_eq!(place.started().get("deployment_context"), None);
}

#[test]
fn the_sign_names_who_answers() {
    let contact = "Jane Doe <jane@example.org>";
    let place = configured(&format!("deployment_context = 'art'\ncontact = '{contact}'"));
    let output = place.mien(&["notice", "--config", "kiosk.toml"]);
    assert_ends(&output, 0, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("READS FACIAL EXPRESSIONS") && text.contains(contact), "{text}");
    let page = place.mien(&["notice", "--html", "--config", "kiosk.toml"]).stdout;
    let page = String::from_utf8(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("&lt;jane@"), "{page}");

    let place = configured("deployment_context = 'art'");
    assert_ends(&place.mien(&["notice", "--config", "kiosk.toml"]), 2, &["contact is missing"]);
    let place = configured("contact = 'Jane Doe'");
    assert_ends(&place.mien(&["notice", "--config", "kiosk.toml"]), 2, &["deployment_context"]);
}
