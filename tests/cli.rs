//! The program's promises to its user: what it prints, and that bad input is named with a way out
//! and an exit code.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use image::{GrayImage, ImageFormat, Luma};
use mien::report::journal::{Journal, JournalOptions};
use serde_json::Value;

mod common;
#[path = "common/place.rs"]
mod place;

use place::Place;

const CAMERA: &str = "/dev/mien-camera";

impl Place {
    /// A run with a camera that is not there, under a name that udev would give it.
    fn camera_command(&self) -> Command {
        fs::write(self.path("kiosk.toml"), "deployment_context = 'test'\n").unwrap();
        self.command(&["run", "--source", CAMERA, "--config", "kiosk.toml"])
    }

    fn journal(&self, directory: &str) -> Vec<Value> {
        let output = self.mien(&["journal", "cat", "--dir", directory]);
        assert_ok(&output);
        json_lines(&output)
    }

    /// Faceless pictures that differ, as frames 0.jpg, 1.jpg, …
    fn frames(&self, directory: &str, count: u32) {
        fs::create_dir(self.path(directory)).unwrap();
        for i in 0..count {
            let name = format!("{directory}/{i:03}.jpg");
            fs::write(self.path(&name), jpeg(64 + 8 * (i % 8))).unwrap();
        }
    }
}

/// A slope of grey that gets brighter with `step`.
fn jpeg(step: u32) -> Vec<u8> {
    let picture = GrayImage::from_fn(160, 120, |x, y| Luma([((x + y) / 4 + step) as u8]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_ok(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "stderr: {}", stderr(output));
}

/// It failed with `code`, and the message has all `parts`.
#[track_caller]
fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "stderr: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

fn states(journal: &[Value]) -> Vec<&str> {
    let status = |record: &&Value| record["topic"].as_str().unwrap().ends_with("/status");
    journal
        .iter()
        .filter(status)
        .map(|record| record["payload"]["state"].as_str().unwrap())
        .collect()
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let output = Place::new().mien(&["run", "--source", "nowhere.mjpeg"]);
    assert_fails(&output, 1, &["nowhere.mjpeg", "no such file"]);
}

/// Which would never be plugged in.
#[test]
fn a_source_that_is_no_usb_id_is_refused() {
    let output = Place::new().mien(&["run", "--source", "usb:046d"]);
    assert_fails(&output, 2, &["usb:046d", "usb:046d:0825"]);
}

#[test]
fn a_source_that_is_no_recording_is_named() {
    let place = Place::new();
    fs::write(place.path("letter.txt"), "Dear Sir or Madam,").unwrap();
    assert_fails(&place.mien(&["run", "--source", "letter.txt"]), 1, &["letter.txt", "JPEG"]);
}

#[test]
#[cfg(not(feature = "v4l"))]
fn a_camera_needs_a_build_with_cameras() {
    let place = Place::new();
    assert_fails(&place.camera_command().output().unwrap(), 1, &[CAMERA, "--features v4l"]);
}

#[test]
#[cfg(feature = "v4l")]
fn a_camera_that_is_not_there_is_named_and_waited_for() {
    let place = Place::new();
    let mut command = place.camera_command();
    let mut mien = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(mien.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains(&format!("can't open {CAMERA}: no such device")), "{line}");
    assert!(line.contains("opening it again"), "{line}");
    assert!(Command::new("kill").arg(mien.id().to_string()).status().unwrap().success());
    assert_ok(&mien.wait_with_output().unwrap());
    let journal = place.journal("mien-log");
    let states: Vec<_> =
        journal.iter().filter_map(|record| record["payload"]["state"].as_str()).collect();
    assert_eq!(states, ["started", "camera_lost", "stopped"]);
}

#[test]
fn an_unwritable_journal_directory_is_named() {
    let place = Place::new();
    place.frames("clip", 1);
    fs::write(place.path("file"), "").unwrap();
    for log in ["file", "file/log"] {
        let output = place.mien(&["run", "--source", "clip", "--log", log]);
        assert_fails(&output, 1, &[log, "move the file away", "another directory"]);
    }
}

#[test]
fn an_unknown_key_in_the_config_is_named() {
    let place = Place::new();
    place.frames("clip", 1);
    fs::write(place.path("kiosk.toml"), "device = \"hall\"\n[tracker]\nforget_after = 3.0\n")
        .unwrap();
    let output = place.mien(&["run", "--source", "clip", "--config", "kiosk.toml"]);
    let parts = ["kiosk.toml", "line 3", "`forget_after`", "did you mean `forget_after_s`"];
    assert_fails(&output, 2, &parts);
}

#[test]
#[cfg(not(feature = "mqtt"))]
fn mqtt_needs_a_build_with_it() {
    let place = Place::new();
    place.frames("clip", 1);
    fs::write(place.path("kiosk.toml"), "[mqtt]\n").unwrap();
    let output = place.mien(&["run", "--source", "clip", "--config", "kiosk.toml"]);
    assert_fails(&output, 1, &["without MQTT", "--features mqtt", "remove `[mqtt]`"]);
}

#[test]
#[cfg(feature = "mqtt")]
fn mqtt_files_that_are_not_there_are_named() {
    let place = Place::new();
    place.frames("clip", 1);
    fs::write(place.path("kiosk.toml"), "[mqtt]\nca_file = 'none.pem'\n").unwrap();
    let output = place.mien(&["run", "--source", "clip", "--config", "kiosk.toml"]);
    assert_fails(&output, 1, &["none.pem", "ca_file", "[mqtt]"]);
    let output = place.mien(&["mqtt", "remove-discovery", "--config", "kiosk.toml"]);
    assert_fails(&output, 1, &["none.pem"]);
}

#[test]
fn gender_is_told_nowhere_if_it_is_switched_off() {
    let place = Place::new();
    fs::write(place.path("one.jpg"), demo_picture()).unwrap();
    fs::write(place.path("kiosk.toml"), "room_period_s = 1\n[expression]\ngender = false\n")
        .unwrap();
    for (config, told) in [(&[][..], true), (&["--config", "kiosk.toml"], false)] {
        let log = if told { "told" } else { "untold" };
        let output = place.mien(&[&["run", "--source", "one.jpg", "--log", log], config].concat());
        assert_ok(&output);
        let printed = stdout(&output).contains("male");
        let journaled = place.journal(log).iter().any(|record| record.to_string().contains("male"));
        assert_eq!((printed, journaled), (told, told));
    }
}

#[test]
fn a_config_that_does_not_hold_is_named() {
    let place = Place::new();
    place.frames("clip", 1);
    let output = place.mien(&["run", "--source", "clip", "--config", "none.toml"]);
    assert_fails(&output, 2, &["none.toml", "mien config"]);
    fs::write(place.path("kiosk.toml"), "[camera]\nfps = 0.0\n").unwrap();
    let output = place.mien(&["run", "--source", "clip", "--config", "kiosk.toml"]);
    assert_fails(&output, 2, &["kiosk.toml", "[camera]", "fps = 0", "1 to 240"]);
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    let place = Place::new();
    assert_fails(&place.mien(&["run"]), 2, &["--source"]);
    assert_fails(&place.mien(&["predict", "a.png", "b.png", "--annotate", "c.png"]), 2, &["one"]);
}

#[test]
fn a_model_that_is_none_is_named() {
    let place = Place::new();
    place.frames("clip", 1);
    fs::write(place.path("empty.tflite"), "").unwrap();
    let output = place.mien(&["run", "--source", "clip", "--model", "empty.tflite"]);
    assert_fails(&output, 1, &["empty.tflite", "mien-lab quantize"]);
    let output = place.mien(&["predict", "clip/000.jpg", "--model", "none.tflite"]);
    assert_fails(&output, 1, &["none.tflite"]);
}

/// The bundled model with every shape [1, 48, 48, 1] made [1, 96, 96, 1].
#[test]
fn a_model_of_another_shape_is_named() {
    let place = Place::new();
    place.frames("clip", 1);
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mien-slim.tflite");
    let mut model = fs::read(bundled).unwrap();
    let shape = |side: i32| [1, side, side, 1].map(i32::to_le_bytes).concat();
    let (found, other) = (shape(48), shape(4));
    let places: Vec<usize> =
        (0..model.len() - 16).filter(|&i| model[i..i + 16] == found[..]).collect();
    assert!(!places.is_empty());
    for i in places {
        model[i..i + 16].copy_from_slice(&other);
    }
    fs::write(place.path("other.tflite"), model).unwrap();
    let output = place.mien(&["predict", "clip/000.jpg", "--model", "other.tflite"]);
    assert_fails(&output, 1, &["other.tflite", "[1, 4, 4, 1]", "8 to 512", "mien-lab quantize"]);
}

#[test]
fn pictures_that_are_none_are_named_and_the_others_done() {
    let place = Place::new();
    place.frames("clip", 2);
    fs::write(place.path("letter.png"), "Dear Sir or Madam,").unwrap();
    let whole = jpeg(9);
    fs::write(place.path("cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    let args =
        ["predict", "--json", "clip/000.jpg", "letter.png", "none.png", "cut.jpg", "clip/001.jpg"];
    let output = place.mien(&args);
    assert_fails(&output, 1, &["letter.png", "none.png", "cut.jpg"]);
    let images: Vec<_> = json_lines(&output).iter().map(|line| line["image"].clone()).collect();
    assert_eq!(images, ["clip/000.jpg", "clip/001.jpg"]);
}

#[test]
fn predict_gives_shares_that_sum_to_one() {
    let place = Place::new();
    place.frames("clip", 1);
    let output = place.mien(&["predict", "--face", "--json", "clip/000.jpg"]);
    assert_ok(&output);
    let face = &json_lines(&output)[0]["faces"][0];
    assert_eq!(face["box"], serde_json::json!([0.0, 0.0, 160.0, 120.0]));
    let shares = |head: &str| -> (Vec<String>, f64) {
        let shares = face[head].as_object().unwrap();
        (shares.keys().cloned().collect(), shares.values().map(|v| v.as_f64().unwrap()).sum())
    };
    let (expressions, sum) = shares("expression");
    assert_eq!(expressions, ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]);
    assert!((sum - 1.0).abs() < 1e-3, "{sum}");
    let (genders, sum) = shares("gender");
    assert_eq!(genders, ["female", "male"]);
    assert!((sum - 1.0).abs() < 1e-3, "{sum}");

    let text = place.mien(&["predict", "--face", "clip/000.jpg"]);
    assert_ok(&text);
    for part in ["clip/000.jpg: 1 face", "160×120", "surprise", "female", " % "] {
        assert!(stdout(&text).contains(part), "{part} not in: {}", stdout(&text));
    }
}

#[test]
fn predict_says_when_it_is_unsure() {
    let place = Place::new();
    place.frames("clip", 1);
    let answer = |below: &str| {
        let args = ["predict", "--face", "--json", "clip/000.jpg", "--unsure-below", below];
        let output = place.mien(&args);
        assert_ok(&output);
        json_lines(&output)[0]["faces"][0]["answer"].as_str().unwrap().to_owned()
    };
    assert_eq!(answer("1"), "unsure");
    assert_ne!(answer("0"), "unsure");
    let wrong = place.mien(&["predict", "clip/000.jpg", "--unsure-below", "50"]);
    assert_fails(&wrong, 2, &["--unsure-below", "0 to 1"]);
}

#[test]
fn predict_draws_what_it_found() {
    let place = Place::new();
    place.frames("clip", 1);
    let args = ["predict", "--face", "clip/000.jpg", "--annotate"];
    assert_ok(&place.mien(&[&args[..], &["out.png"]].concat()));
    let drawn = image::open(place.path("out.png")).unwrap().to_rgb8();
    assert!(drawn.pixels().any(|p| p.0[0].abs_diff(p.0[2]) > 50), "nothing in colour");
    let output = place.mien(&[&args[..], &["no/folder/out.png"]].concat());
    assert_fails(&output, 1, &["no/folder/out.png"]);
    let output = place.mien(&[&args[..], &["out.txt"]].concat());
    assert_fails(&output, 1, &["out.txt", ".png"]);
}

#[test]
fn broken_frames_are_counted_and_skipped() {
    let place = Place::new();
    let mut stream = Vec::new();
    for step in [0, 30, 60, 90] {
        let mut frame = jpeg(step);
        if step == 30 {
            frame.drain(frame.len() / 2..frame.len() - 2);
        }
        stream.extend(frame);
    }
    fs::write(place.path("clip.mjpeg"), stream).unwrap();
    let output = place.mien(&["run", "--source", "clip.mjpeg", "--log", "log"]);
    assert_ok(&output);
    assert!(stdout(&output).contains("3 frames read"), "{}", stdout(&output));
    assert!(stdout(&output).contains("1 broken"), "{}", stdout(&output));
    assert!(stderr(&output).contains("frame 1"), "{}", stderr(&output));
    assert_eq!(states(&place.journal("log")), ["started", "stopped"]);
}

#[test]
fn sigterm_stops_cleanly() {
    let place = Place::new();
    place.frames("clip", 600);
    let args = ["run", "--source", "clip", "--realtime", "--log", "log", "-v"];
    let mut child =
        place.command(&args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("watching clip")).expect("it says when it is watching");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_ok(&output);
    let journal = place.journal("log");
    assert_eq!(states(&journal), ["started", "stopped"]);
    assert_eq!(journal.last().unwrap()["payload"]["why"], "signal");
}

#[test]
fn the_journal_goes_on_where_it_ended() {
    let place = Place::new();
    place.frames("clip", 2);
    for _ in 0..2 {
        assert_ok(&place.mien(&["run", "--source", "clip"]));
    }
    let journal = place.journal("mien-log");
    assert_eq!(states(&journal), ["started", "stopped", "started", "stopped"]);
    let sequences: Vec<u64> = journal.iter().map(|r| r["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
}

#[test]
fn a_journal_that_is_not_there_is_named() {
    let output = Place::new().mien(&["journal", "cat", "--dir", "nowhere"]);
    assert_fails(&output, 1, &["nowhere"]);
}

#[test]
fn bench_tells_each_stage() {
    let place = Place::new();
    place.frames("clip", 3);
    let output = place.mien(&["bench", "--source", "clip", "--json", "--repeat", "2"]);
    assert_ok(&output);
    let report = &json_lines(&output)[0];
    assert_eq!(report["frames"], 6);
    for stage in ["decode", "detect", "crop", "classify", "report"] {
        for key in ["mean_ms", "p50_ms", "p95_ms"] {
            assert!(report["stages"][stage][key].is_number(), "{stage} {key}: {report}");
        }
    }
    assert!(!place.path("mien-log").exists(), "it leaves no journal");
    let text = place.mien(&["bench", "--source", "clip"]);
    assert!(stdout(&text).contains("p95 ms"), "{}", stdout(&text));
}

#[test]
fn the_sample_config_is_a_config() {
    let place = Place::new();
    place.frames("clip", 1);
    fs::write(place.path("kiosk.toml"), place.mien(&["config"]).stdout).unwrap();
    assert_ok(&place.mien(&["run", "--source", "clip", "--config", "kiosk.toml"]));
}

#[test]
fn help_teaches_completions_complete_and_the_manual_is_there() {
    let place = Place::new();
    for (args, part) in [
        (&["--help"][..], "Exit codes:"),
        (&["run", "--help"], "--realtime"),
        (&["completions", "bash"], "_mien"),
        (&["man"], ".TH mien"),
    ] {
        let output = place.mien(args);
        assert_ok(&output);
        assert!(stdout(&output).contains(part), "{args:?}: {}", stdout(&output));
    }
    assert_ok(&place.mien(&["man", "--dir", "."]));
    for page in ["mien.1", "mien-run.1", "mien-journal-cat.1"] {
        assert!(fs::read_to_string(place.path(page)).unwrap().contains(".TH"), "{page}");
    }
    assert_fails(&place.mien(&["man", "--dir", "none"]), 1, &["none"]);
}

#[test]
fn faces_in_recordings_are_found_and_logged() {
    let Some(shared) = common::shared_data() else { return };
    let place = Place::new();
    let clip = shared.join("data/clips/one_face_640.mjpeg");
    let output = place.mien(&["run", "--source", &clip.to_string_lossy()]);
    assert_ok(&output);
    let journal = place.journal("mien-log");
    let appeared = journal.iter().find(|record| record["payload"]["state"] == "appeared");
    let face = &appeared.expect("a face")["payload"];
    assert!(face["share"].is_number() && face["box"][2].is_number());
}

/// A journal of 20 records in two rooms, and its writer, which is at work.
fn journal_at_work(place: &Place) -> Journal {
    let options = JournalOptions::default();
    let (mut journal, _) = Journal::open(&place.path("mien-log"), options).unwrap();
    for n in 0..20 {
        let room = ["hall", "lobby"][n % 2];
        journal.append(&format!("mien/{room}/room"), &serde_json::json!({ "n": n })).unwrap();
    }
    journal
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["payload"]["n"].as_u64().unwrap()).collect()
}

#[test]
fn a_journal_is_read_by_time_and_topic_while_its_writer_is_at_work() {
    let place = Place::new();
    let mut journal = journal_at_work(&place);
    let read = |args: &[&str]| {
        let output = place.mien(&[&["journal"], args].concat());
        assert_ok(&output);
        numbers(&json_lines(&output))
    };
    assert_eq!(read(&["cat"]), Vec::from_iter(0..20));
    assert_eq!(read(&["cat", "--since", "2h", "--until", "0s"]), Vec::from_iter(0..20));
    assert!(read(&["cat", "--since", "2038-01-01T00:00:00+01:00"]).is_empty());
    assert!(read(&["cat", "--until", "1d"]).is_empty());
    assert_eq!(read(&["cat", "--topic", "mien/lobby/#"]).len(), 10);
    assert_eq!(read(&["tail", "-n", "3"]), [17, 18, 19]);
    assert_eq!(read(&["tail", "-n", "2", "--topic", "mien/hall/+"]), [16, 18]);

    let mut follow = place.command(&["journal", "tail", "-f", "-n", "1"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut next = || {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["payload"]["n"].as_u64().unwrap()
    };
    assert_eq!(next(), 19);
    journal.append("mien/hall/room", &serde_json::json!({ "n": 20 })).unwrap();
    assert_eq!(next(), 20);
    follow.kill().unwrap();
    follow.wait().unwrap();

    for (args, part) in [
        (&["--topic", "mien/#/room"], "# at the end"),
        (&["--since", "yesterday"], "2026-05-01T08:00:00Z"),
    ] {
        let output = place.mien(&[&["journal", "cat"], &args[..]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(part), "{args:?}");
    }
}

#[test]
fn a_journal_is_exported_and_counted() {
    let place = Place::new();
    let _journal = journal_at_work(&place);
    let output = place.mien(&["journal", "export", "--format", "csv"]);
    assert_ok(&output);
    let mut rows = csv::Reader::from_reader(&output.stdout[..]);
    assert_eq!(rows.headers().unwrap().iter().next_back(), Some("payload"));
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), &rows[7][0], &rows[7][4]), (20, "7", "mien/lobby/room"));
    assert_eq!(&rows[7][7], r#"{"n":7}"#);

    let output = place.mien(&["journal", "stats"]);
    assert_ok(&output);
    for part in ["records        20 (20 room)", "missing        0", "in 1 segments, 0 damaged"] {
        assert!(stdout(&output).contains(part), "{part} not in {}", stdout(&output));
    }
}

#[test]
fn a_damaged_journal_is_checked_repaired_and_sound_again() {
    let place = Place::new();
    let journal = journal_at_work(&place);
    assert_ok(&place.mien(&["journal", "check"]));
    let segment = place.path("mien-log/000000000000000000.journal");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let checked = place.mien(&["journal", "check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(stdout(&checked).contains("19 sound records"), "{}", stdout(&checked));
    assert!(stdout(&checked).contains("1 sequences missing"), "{}", stdout(&checked));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("mien journal repair"));
    let refused = place.mien(&["journal", "repair"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process"));

    drop(journal);
    // What another test's thread forks holds it too, until it becomes another program.
    let repair = |_| {
        thread::sleep(Duration::from_millis(100));
        place.mien(&["journal", "repair"])
    };
    let repaired = (0..50).map(repair).find(|output| output.status.success()).unwrap();
    assert!(stdout(&repaired).contains("mien-log/quarantine/"), "{}", stdout(&repaired));
    assert_ok(&place.mien(&["journal", "check"]));
    assert_eq!(place.journal("mien-log").len(), 19);
}

/// The first picture of the bundled clip, which shows two faces.
fn demo_picture() -> Vec<u8> {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.mjpeg");
    let clip = fs::read(clip).unwrap();
    let next = clip[2..].windows(3).position(|bytes| bytes == [0xFF, 0xD8, 0xFF]).unwrap();
    clip[..next + 2].to_vec()
}

#[test]
fn one_picture_is_enough_to_log_its_faces() {
    let place = Place::new();
    fs::write(place.path("one.jpg"), demo_picture()).unwrap();
    assert_ok(&place.mien(&["run", "--source", "one.jpg"]));
    let journal = place.journal("mien-log");
    let appeared = journal.iter().filter(|record| record["payload"]["state"] == "appeared");
    assert_eq!(appeared.count(), 2);
}

#[test]
fn a_source_without_a_readable_picture_fails() {
    let place = Place::new();
    let picture = demo_picture();
    fs::write(place.path("cut.jpg"), &picture[..picture.len() / 2]).unwrap();
    let output = place.mien(&["run", "--source", "cut.jpg"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none of the pictures in cut.jpg"));
}

#[test]
fn check_names_each_part_and_fails_if_one_does() {
    let place = Place::new();
    let output = place.mien(&["check", "--source", "/dev/no-such-camera"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let line = |part: &str, verdict: &str| {
        let found = text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(part) && words.next() == Some(verdict)
        });
        assert!(found, "no line `{part} {verdict}` in:\n{text}");
    };
    line("model", "ok");
    line("camera", "FAILED");
    line("pins", "note");
    line("journal", "ok");
    line("broker", "note");
    for part in ["clock", "machine", "service"] {
        assert!(text.lines().any(|line| line.starts_with(part)), "no {part} in:\n{text}");
    }
    assert!(text.contains("/dev/no-such-camera"), "{text}");

    // Where it watches must be said; who answers for it, should.
    for (config, verdict) in [
        ("", "FAILED"),
        ("deployment_context = 'art'", "note"),
        ("deployment_context = 'art'\ncontact = 'Jane Doe'", "ok"),
    ] {
        fs::write(place.path("use.toml"), config).unwrap();
        let output = place.mien(&["check", "--config", "use.toml"]);
        let line = stdout(&output).lines().find(|line| line.starts_with("use")).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(verdict), "{line}");
    }
}

/// A configuration that does not hold fails like any part, and the others are checked.
#[test]
fn check_goes_on_where_the_configuration_does_not_hold() {
    let place = Place::new();
    // Two LEDs on one line, a misspelt key, no TOML, no file.
    fs::write(place.path("pins.toml"), "[leds.lines]\nhappy = 5\nsad = 5\n").unwrap();
    fs::write(place.path("key.toml"), "[tracker]\nmin_overlop = 0.3\n").unwrap();
    fs::write(place.path("text.toml"), "tracker {").unwrap();
    for (name, parts) in [
        ("pins.toml", &["happy", "sad", "line 5"][..]),
        ("key.toml", &["line 2", "did you mean `min_overlap`?"]),
        ("text.toml", &["line 1"]),
        ("none.toml", &["can't read", "`mien config` prints a sample"]),
        (".", &["can't read", "name the file in it"]),
    ] {
        let output = place.mien(&["check", "--config", name]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let heads: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        let (_, after) = text.split_once("config   FAILED").unwrap_or_else(|| panic!("{text}"));
        for part in [&[name], parts].concat() {
            assert!(after.contains(part), "{part} not in: {text}");
        }
        for part in ["model", "camera", "clock", "machine", "service"] {
            assert!(heads.contains(&part), "no {part} in: {text}");
        }
        for part in ["use", "pins", "button", "journal", "broker"] {
            assert!(!heads.contains(&part), "{part} in: {text}");
        }
        assert!(!place.path("mien-log").exists(), "it has made a journal");
    }
}
