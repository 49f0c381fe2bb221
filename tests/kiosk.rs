//! The main loop, from frames to LEDs and journal. The bundled clip's faces act to a script
//! (`models/demo.toml`), to which the run is held.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use embedded_hal::digital::{ErrorType, OutputPin};
use mien::camera::replay::Replay;
use mien::camera::{Camera, CameraError, Frame};
use mien::classifier::Classifier;
use mien::config::Config;
use mien::engine::Model;
use mien::expression::{Expression, UNSURE};
use mien::face::tracker::Tracker;
use mien::image::Grey;
use mien::kiosk::controls::Controls;
use mien::kiosk::mailbox::Mailbox;
use mien::kiosk::{self, KioskError, Options, Summary};
use mien::report::journal::{self, Journal};
use mien::report::leds::{Led, Leds};
use serde::Deserialize;
use serde_json::Value;

/// A found box's centre lies within this share of a face's side of where the script has it.
const NEAR: f64 = 0.35;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn model() -> Model {
    Model::read(&models().join("mien-slim.tflite")).unwrap()
}

fn classifier() -> Classifier {
    Classifier::new(model())
}

/// A pin that a test can look at, and whether it ever was high.
#[derive(Clone, Default)]
struct Pin(Arc<PinState>);

#[derive(Default)]
struct PinState {
    high: AtomicBool,
    was_high: AtomicBool,
}

impl Pin {
    fn is_high(&self) -> bool {
        self.0.high.load(Ordering::Relaxed)
    }

    fn was_high(&self) -> bool {
        self.0.was_high.load(Ordering::Relaxed)
    }
}

impl ErrorType for Pin {
    type Error = Infallible;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.high.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.high.store(true, Ordering::Relaxed);
        self.0.was_high.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// What a run left behind.
struct Outcome {
    summary: Result<Summary, KioskError>,
    /// Topic and payload.
    records: Vec<(String, Value)>,
    pins: Vec<Pin>,
}

impl Outcome {
    fn statuses(&self) -> Vec<&str> {
        let status = self.records.iter().filter(|(topic, _)| topic.ends_with("/status"));
        status.map(|(_, payload)| payload["state"].as_str().unwrap()).collect()
    }
}

fn run(source: Mailbox, device: &str, stop: &AtomicBool) -> Outcome {
    run_unsure_below(model().calibration().unsure_below, source, device, stop)
}

fn run_unsure_below(
    unsure_below: f32,
    source: Mailbox,
    device: &str,
    stop: &AtomicBool,
) -> Outcome {
    run_controlled(unsure_below, source, device, stop, &Arc::default())
}

fn run_controlled(
    unsure_below: f32,
    source: Mailbox,
    device: &str,
    stop: &AtomicBool,
    controls: &Arc<Controls>,
) -> Outcome {
    run_with(classifier(), unsure_below, source, device, stop, controls, |_| ())
}

fn run_with(
    classifier: Classifier,
    unsure_below: f32,
    source: Mailbox,
    device: &str,
    stop: &AtomicBool,
    controls: &Arc<Controls>,
    change: impl FnOnce(&mut Options),
) -> Outcome {
    let config = Config::default();
    let mut options = Options {
        device: device.into(),
        source: "test".into(),
        model: "test".into(),
        deployment: None,
        room_period_s: 1.0,
        detector: config.detector,
        still: config.still,
        night: config.night,
        only_rooms_of_at_least: None,
        vitals_period_s: 0,
        on_event: |_| (),
        controls: Arc::clone(controls),
    };
    change(&mut options);
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), config.journal.options()).unwrap();
    let pins = Led::ALL.map(|_| Pin::default());
    let lines = (0..).zip(&pins).zip(Led::ALL).map(|((line, pin), led)| (led, line, pin.clone()));
    let mut leds = Leds::on_pins(lines.collect(), false);
    let tracker = Tracker::new(config.tracker, unsure_below);
    let summary = kiosk::run(source, classifier, tracker, &mut leds, &mut journal, &options, stop);
    let records = journal::read(directory.path())
        .map(Result::unwrap)
        .map(|record| (record.topic, serde_json::from_str(&record.payload).unwrap()))
        .collect();
    Outcome { summary, records, pins: pins.to_vec() }
}

/// What each face of the bundled clip shows when.
#[derive(Deserialize)]
struct Script {
    frames_per_second: f32,
    frames: u64,
    shown: Vec<Scene>,
}

#[derive(Deserialize)]
struct Scene {
    face: u32,
    expression: Expression,
    from_s: f64,
    to_s: f64,
    start: Place,
    end: Place,
}

/// A face's centre and side in pixels.
#[derive(Clone, Copy, Deserialize)]
struct Place {
    x: f64,
    y: f64,
    side: f64,
}

impl Scene {
    fn place(&self, time_s: f64) -> Place {
        let share = ((time_s - self.from_s) / (self.to_s - self.from_s)).clamp(0.0, 1.0);
        let between = |a: f64, b: f64| a + share * (b - a);
        Place {
            x: between(self.start.x, self.end.x),
            y: between(self.start.y, self.end.y),
            side: between(self.start.side, self.end.side),
        }
    }
}

/// A followed face, as the journal tells it.
#[derive(Debug)]
struct Followed {
    number: u64,
    /// Box and time at its appearance.
    first_box: [f64; 4],
    from_s: f64,
    to_s: f64,
    /// What it showed from when.
    shown: Vec<(f64, Option<Expression>)>,
}

impl Followed {
    fn all(records: &[(String, Value)]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (topic, payload) in records {
            let Some(number) = topic.strip_prefix("mien/hall/face/") else { continue };
            let number = number.parse().unwrap();
            let time = payload["time_s"].as_f64().unwrap();
            let expression = match payload["expression"].as_str().unwrap() {
                UNSURE => None,
                _ => Some(serde_json::from_value(payload["expression"].clone()).unwrap()),
            };
            let known = all.iter_mut().find(|face| face.number == number);
            match (payload["state"].as_str().unwrap(), known) {
                ("appeared", None) => all.push(Self {
                    number,
                    first_box: serde_json::from_value(payload["box"].clone()).unwrap(),
                    from_s: time,
                    to_s: f64::INFINITY,
                    shown: vec![(time, expression)],
                }),
                ("changed", Some(face)) => face.shown.push((time, expression)),
                ("left", Some(face)) => face.to_s = time,
                (state, known) => panic!("{topic} {state}, known as {known:?}"),
            }
        }
        all
    }

    fn is_at(&self, place: Place) -> bool {
        let [x, y, w, h] = self.first_box;
        let off = (x + w / 2.0 - place.x).hypot(y + h / 2.0 - place.y);
        off <= NEAR * place.side
    }

    fn expression_at(&self, time_s: f64) -> Option<Expression> {
        let shown = self.shown.iter().rev().find(|(from_s, _)| *from_s <= time_s);
        shown.filter(|_| time_s <= self.to_s).and_then(|(_, expression)| *expression)
    }
}

fn script() -> Script {
    toml::from_str(&fs::read_to_string(models().join("demo.toml")).unwrap()).unwrap()
}

/// The bundled clip's run, which several tests look at.
fn demo() -> &'static Outcome {
    static DEMO: OnceLock<Outcome> = OnceLock::new();
    DEMO.get_or_init(|| {
        let clip = Replay::open(&models().join("demo.mjpeg"), script().frames_per_second).unwrap();
        run(Mailbox::recording(clip), "hall", &AtomicBool::new(false))
    })
}

/// The scenes of each face of the script, by face, and the track that follows it.
fn cast(script: &Script) -> Vec<(Vec<&Scene>, Option<Followed>)> {
    let mut followed = Followed::all(&demo().records);
    let faces = script.shown.iter().map(|scene| scene.face).max().map_or(0, |last| last + 1);
    let mut cast = Vec::new();
    for face in 0..faces {
        let scenes: Vec<&Scene> = script.shown.iter().filter(|scene| scene.face == face).collect();
        let first = scenes[0];
        let fits = |track: &mut Followed| {
            (first.from_s - 0.5..first.to_s).contains(&track.from_s)
                && track.is_at(first.place(track.from_s))
        };
        let track = followed.extract_if(.., fits).next();
        cast.push((scenes, track));
    }
    cast
}

#[test]
fn every_face_of_the_clip_is_followed_by_one_track_while_it_is_there() {
    let script = script();
    let tracks = Followed::all(&demo().records).len();
    let cast = cast(&script);
    assert_eq!(tracks, cast.len(), "tracks");
    for (scenes, track) in cast {
        let face = scenes[0].face;
        let (from_s, to_s) = (scenes[0].from_s, scenes[scenes.len() - 1].to_s);
        let track = track.unwrap_or_else(|| panic!("face {face} is not followed"));
        assert!(track.from_s <= from_s + 1.0, "face {face}: seen from {} s", track.from_s);
        let last_frame_s = (script.frames - 1) as f64 / f64::from(script.frames_per_second);
        assert!(track.to_s >= to_s.min(last_frame_s), "face {face}: left at {} s", track.to_s);
        assert!(track.to_s <= to_s + 2.0, "face {face}: left at {} s", track.to_s);
    }
}

#[test]
fn every_face_of_the_clip_shows_what_its_script_says() {
    let script = script();
    let mut wrong = Vec::new();
    for (scenes, track) in cast(&script) {
        let Some(track) = track else { continue };
        for scene in scenes {
            let before_end_s = scene.to_s - 1.0 / f64::from(script.frames_per_second);
            let shown = track.expression_at(before_end_s);
            if shown != Some(scene.expression) {
                let Scene { face, expression, .. } = scene;
                wrong.push(format!(
                    "{before_end_s:.1} s, face {face}: {shown:?}, not {expression:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn answers_do_not_flicker() {
    let script = script();
    for (scenes, track) in cast(&script) {
        let Some(track) = track else { continue };
        let differs = |pair: &&[&Scene]| pair[0].expression != pair[1].expression;
        let changes = scenes.windows(2).filter(differs).count();
        // One more may come while a face changes over from one expression to the next; and the
        // first answer may take a moment, but no more.
        let unsure_first = track.shown[0].1.is_none();
        let answered_s = track.shown.get(usize::from(unsure_first)).map_or(f64::MAX, |(s, _)| *s);
        assert!(answered_s - track.from_s < 0.5, "face {}: {track:?}", scenes[0].face);
        let allowed = 2 * changes + usize::from(unsure_first);
        assert!(track.shown.len() - 1 <= allowed, "face {}: {track:?}", scenes[0].face);
    }
}

#[test]
fn the_clip_lights_leds_and_leaves_them_dark() {
    let face_seen = &demo().pins[Led::ALL.len() - 1];
    assert!(face_seen.was_high());
    assert!(demo().pins[..Led::ALL.len() - 1].iter().any(Pin::was_high));
    assert!(demo().pins.iter().all(|pin| !pin.is_high()));
}

#[test]
fn a_kiosk_that_is_never_sure_enough_lights_no_expression() {
    let clip = Replay::open(&models().join("demo.mjpeg"), script().frames_per_second).unwrap();
    let source = Mailbox::recording(clip);
    let outcome = run_unsure_below(1.0, source, "hall", &AtomicBool::new(false));
    assert!(outcome.pins[..Led::ALL.len() - 1].iter().all(|pin| !pin.was_high()));
    assert!(outcome.pins[Led::ALL.len() - 1].was_high(), "faces are seen all the same");
    let faces = Followed::all(&outcome.records);
    assert!(!faces.is_empty());
    assert!(faces.iter().flat_map(|face| &face.shown).all(|(_, shown)| shown.is_none()));
    let rooms = outcome.records.iter().filter(|(topic, _)| topic == "mien/hall/room");
    assert!(rooms.clone().count() > 0);
    assert!(rooms.clone().all(|(_, room)| room["unsure"] == room["faces"]));
}

fn clip() -> Mailbox {
    let clip = Replay::open(&models().join("demo.mjpeg"), script().frames_per_second).unwrap();
    Mailbox::recording(clip)
}

#[test]
fn gender_switched_off_is_nowhere() {
    let told = demo().records.iter().filter(|(_, payload)| payload.get("gender").is_some());
    assert!(told.count() > 0, "switched on it is told");
    let classifier =
        Classifier::new(Model::read_without_gender(&models().join("mien-slim.tflite")).unwrap());
    let outcome =
        run_with(classifier, 0.0, clip(), "hall", &AtomicBool::new(false), &Arc::default(), |_| ());
    assert!(!Followed::all(&outcome.records).is_empty());
    for (topic, payload) in &outcome.records {
        let text = payload.to_string();
        assert!(!text.contains("male") && !text.contains("gender"), "{topic} {text}");
    }
}

#[test]
fn only_rooms_of_enough_faces_are_told_if_so_wished() {
    let rooms = |records: &[(String, Value)]| -> Vec<Option<u64>> {
        let rooms = records.iter().filter(|(topic, _)| topic == "mien/hall/room");
        rooms.map(|(_, room)| room["faces"].as_u64()).collect()
    };
    let (all, stop) = (rooms(&demo().records), AtomicBool::new(false));
    // That it is too small is told, once.
    let mut expected: Vec<_> = all.iter().map(|faces| faces.filter(|n| *n >= 2)).collect();
    expected.dedup_by(|a, b| a.is_none() && b.is_none());
    let small = expected.iter().filter(|faces| faces.is_none()).count();
    assert!(small > 0 && small < expected.len(), "the clip has both: {all:?}");
    let unsure_below = model().calibration().unsure_below;
    let outcome =
        run_with(classifier(), unsure_below, clip(), "hall", &stop, &Arc::default(), |options| {
            options.only_rooms_of_at_least = Some(2);
        });
    assert_eq!(rooms(&outcome.records), expected);
    let told = |(_, room): &&(String, Value)| room["fewer_than"].is_u64();
    for (_, room) in outcome.records.iter().filter(told) {
        let mut keys: Vec<&String> = room.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["faces", "fewer_than", "percent", "shown", "time_s"]);
        assert_eq!((&room["faces"], &room["percent"]), (&Value::Null, &Value::Null));
    }
    let others = outcome.records.iter().filter(|(topic, _)| topic != "mien/hall/room");
    assert!(
        others.clone().count() == 2 && others.clone().all(|(topic, _)| topic == "mien/hall/status")
    );
}

#[test]
fn the_clip_is_summed_up() {
    let outcome = demo();
    let summary = outcome.summary.as_ref().unwrap();
    assert_eq!(summary.counts.frames, script().frames);
    assert!(summary.counts.still > 0, "parts of the clip don't move");
    assert_eq!((summary.counts.broken, summary.counts.late), (0, 0));
    assert_eq!(summary.records, outcome.records.len() as u64);
    assert_eq!(summary.stages[0].frames, summary.counts.frames, "each is decoded");
    assert_eq!(
        summary.stages[1].frames,
        summary.counts.frames - summary.counts.still,
        "few are searched"
    );
    assert_eq!(outcome.statuses(), ["started", "stopped"]);
    assert!(outcome.records.iter().any(|(topic, _)| topic == "mien/hall/room"));
}

/// Gives blank frames, or errors, as its closure says.
struct Scripted<F>(F);

impl<F: FnMut() -> Result<Option<Frame>, CameraError> + Send> Camera for Scripted<F> {
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        (self.0)()
    }
}

fn blank(sequence: u64) -> Frame {
    let (time, decode_time) = (Duration::from_millis(100 * sequence), Duration::ZERO);
    Frame { sequence, time, decode_time, image: Grey::from_elem((48, 64), 9) }
}

fn lost() -> CameraError {
    CameraError::Lost { source_name: "test".into(), why: "unplugged".into() }
}

/// Opens a camera, and after that nothing.
fn once<C: Camera>(camera: C) -> impl FnMut() -> Result<C, CameraError> {
    let mut camera = Some(camera);
    move || camera.take().ok_or_else(lost)
}

#[test]
fn a_lost_camera_is_journaled_and_opened_again() {
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&stop);
    type Next = Box<dyn FnMut() -> Result<Option<Frame>, CameraError> + Send>;
    let mut tries = 0;
    let open = move || {
        tries += 1;
        if tries == 1 {
            let first: Next = Box::new(|| Err(lost()));
            return Ok(Scripted(first));
        }
        let (stop, mut sequence) = (Arc::clone(&theirs), 0);
        let next: Next = Box::new(move || {
            // The mailbox asks for the next frame when it has posted the last; the loop fetches
            // that within the pause.
            if sequence > 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            sequence += 1;
            if sequence == 50 {
                stop.store(true, Ordering::Relaxed);
            }
            Ok(Some(blank(sequence)))
        });
        Ok(Scripted(next))
    };
    let mailbox = Mailbox::live(open);
    let outcome = run(mailbox, "hall", &stop);
    assert_eq!(outcome.statuses(), ["started", "camera_lost", "camera_back", "stopped"]);
    assert!(outcome.summary.unwrap().counts.frames > 0);
}

#[test]
fn a_replay_that_fails_ends_the_run_with_leds_dark_and_journal_closed() {
    let source = Mailbox::recording(Scripted(|| Err(lost())));
    let outcome = run(source, "hall", &AtomicBool::new(false));
    assert!(matches!(outcome.summary, Err(KioskError::Camera(CameraError::Lost { .. }))));
    assert_eq!(outcome.statuses(), ["started", "stopped"]);
    assert_eq!(outcome.records.last().unwrap().1["why"], "failure");
    assert!(outcome.pins.iter().all(|pin| !pin.is_high()));
}

#[test]
fn a_journal_that_refuses_records_does_not_stop_the_service() {
    let mut sequence = 0;
    let camera = Scripted(move || {
        sequence += 1;
        Ok((sequence <= 5).then(|| blank(sequence)))
    });
    // No topic may be so long.
    let device = "x".repeat(100_000);
    let outcome = run(Mailbox::recording(camera), &device, &AtomicBool::new(false));
    let summary = outcome.summary.unwrap();
    assert_eq!((summary.counts.frames, summary.records), (5, 0));
    assert!(outcome.records.is_empty());
}

#[test]
fn still_frames_are_not_searched_but_for_one_every_so_often() {
    let mut sequence = 0;
    let camera = Scripted(move || {
        sequence += 1;
        Ok((sequence <= 50).then(|| blank(sequence)))
    });
    let outcome = run(Mailbox::recording(camera), "hall", &AtomicBool::new(false));
    // Five seconds at ten frames each; one in two seconds is searched.
    assert_eq!(outcome.summary.unwrap().counts.still, 47);
}

/// Waits for the kiosk to come round to something.
fn until(happened: impl Fn() -> bool) {
    for _ in 0..30_000 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // A panic would be taken for the camera's.
    eprintln!("half a minute has passed in vain");
    std::process::abort();
}

/// A paused kiosk says that it is, sees nobody, and goes on when it is told to.
#[test]
fn a_paused_kiosk_looks_at_nothing() {
    let (stop, controls) = (Arc::new(AtomicBool::new(false)), Arc::new(Controls::default()));
    controls.pause(true);
    let (theirs, commander) = (Arc::clone(&controls), Arc::clone(&stop));
    // The mailbox takes frames all along.
    let mut sequence = 0;
    let camera = Scripted(move || {
        std::thread::sleep(Duration::from_millis(5));
        sequence += 1;
        match sequence {
            // However long it takes the kiosk to start.
            40 => {
                until(|| theirs.health().paused);
                assert_eq!(theirs.health().frames, 0);
                theirs.pause(false);
            }
            41 => until(|| !theirs.health().paused),
            80 => commander.store(true, Ordering::Relaxed),
            _ => {}
        }
        Ok(Some(blank(sequence)))
    });
    let source = Mailbox::live(once(camera));
    let outcome = run_controlled(0.5, source, "hall", &stop, &controls);
    assert_eq!(outcome.statuses(), ["started", "paused", "resumed", "stopped"]);
    let frames = outcome.summary.unwrap().counts.frames;
    assert!((1..=41).contains(&frames), "{frames}");
}

#[test]
fn a_pause_darkens_the_leds_and_lets_everybody_leave() {
    let clip = Replay::open(&models().join("demo.mjpeg"), script().frames_per_second).unwrap();
    let (stop, controls) = (AtomicBool::new(false), Arc::new(Controls::default()));
    let theirs = Arc::clone(&controls);
    let mut clip = clip;
    let camera = Scripted(move || {
        let frame = clip.next_frame()?;
        if frame.as_ref().is_some_and(|frame| frame.sequence == 20) {
            theirs.pause(true);
        }
        Ok(frame)
    });
    let outcome = std::thread::scope(|scope| {
        let commander = scope.spawn(|| {
            until(|| controls.health().paused);
            controls.test_leds();
            // Asked for later, answered later.
            controls.ask_stage_times();
            until(|| !controls.health().stages.is_empty());
            stop.store(true, Ordering::Relaxed);
        });
        let source = Mailbox::recording(camera);
        let outcome = run_controlled(0.0, source, "hall", &stop, &controls);
        commander.join().unwrap();
        outcome
    });
    assert_eq!(outcome.statuses(), ["started", "paused", "stopped"]);
    // Those that were read ahead are not looked at.
    let frames = outcome.summary.unwrap().counts.frames;
    assert!((17..=21).contains(&frames), "{frames}");
    let faces = Followed::all(&outcome.records);
    assert!(!faces.is_empty() && faces.iter().all(|face| face.to_s.is_finite()));
    let paused = outcome.records.iter().position(|(_, payload)| payload["state"] == "paused");
    let (_, room) = &outcome.records[paused.unwrap() - 1];
    assert_eq!((&room["faces"], &room["shown"]), (&0.into(), &"none".into()));
    // The test lit all, and its end or the watch's darkened them.
    assert!(outcome.pins.iter().all(|pin| pin.was_high() && !pin.is_high()));
}

#[test]
fn at_night_faces_leave_and_nothing_is_searched() {
    let mut sequence = 0;
    // At ten frames a second, two seconds of day, twenty dark, two of day.
    let camera = Scripted(move || {
        sequence += 1;
        let level = if (20..220).contains(&sequence) { 3 } else { 90 };
        let mut frame = blank(sequence);
        frame.image.fill(level);
        Ok((sequence <= 240).then_some(frame))
    });
    let outcome = run(Mailbox::recording(camera), "hall", &AtomicBool::new(false));
    assert_eq!(outcome.statuses(), ["started", "night", "day", "stopped"]);
    // The first ten seconds might be a hand before the camera.
    assert_eq!(outcome.summary.unwrap().counts.dark, 100);
}

#[test]
fn what_the_kiosk_does_is_summed_up_once_a_period() {
    let (stop, controls) = (Arc::new(AtomicBool::new(false)), Arc::new(Controls::default()));
    let (theirs, ender) = (Arc::clone(&controls), Arc::clone(&stop));
    let mut sequence = 0;
    let camera = Scripted(move || {
        // Until there is a record besides "started".
        ender.store(theirs.health().records > 1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        sequence += 1;
        Ok(Some(blank(sequence)))
    });
    let source = Mailbox::live(once(camera));
    let unsure_below = model().calibration().unsure_below;
    let outcome =
        run_with(classifier(), unsure_below, source, "hall", &stop, &controls, |options| {
            options.vitals_period_s = 1;
            options.room_period_s = 1000.0;
        });
    let vitals = outcome.records.iter().find(|(topic, _)| topic == "mien/hall/vitals");
    let (_, vitals) = vitals.expect("a period has passed");
    assert!(vitals["seconds"].as_u64().unwrap() >= 1, "{vitals}");
    let (frames, still) = (vitals["counts"][0].as_u64().unwrap(), &vitals["counts"][1]);
    assert!(frames > 1 && frames <= outcome.summary.unwrap().counts.frames, "{vitals}");
    assert!(still.as_u64().unwrap() < frames, "the first frame is no still one: {vitals}");
    assert!(vitals["p50_p95_ms"].as_array().is_some_and(|times| times.len() == 10), "{vitals}");
    assert_eq!(outcome.records[1].0, "mien/hall/vitals", "one a period: {:?}", outcome.records);
}

/// Gives the clip's first 20 frames, each once the one before was looked at, and then what `then` gives.
fn after_20_frames<F>(controls: &Arc<Controls>, mut then: F) -> impl Camera + use<F>
where
    F: FnMut() -> Result<Option<Frame>, CameraError> + Send,
{
    let controls = Arc::clone(controls);
    let mut clip = Replay::open(&models().join("demo.mjpeg"), script().frames_per_second).unwrap();
    let mut given = 0;
    Scripted(move || {
        until(|| controls.health().frames >= given);
        if given == 20 {
            return then();
        }
        given += 1;
        clip.next_frame()
    })
}

/// A camera that hangs shows nothing that is still true.
#[test]
fn who_was_seen_leaves_when_no_frame_comes_for_a_while() {
    let (stop, controls) = (Arc::new(AtomicBool::new(false)), Arc::new(Controls::default()));
    let (theirs, ender) = (Arc::clone(&controls), Arc::clone(&stop));
    let camera = after_20_frames(&controls, move || {
        // It gives no more until that is told.
        let before = theirs.health().records;
        until(|| theirs.health().records > before);
        ender.store(true, Ordering::Relaxed);
        Err(lost())
    });
    let source = Mailbox::live(once(camera));
    let outcome = run_controlled(0.0, source, "hall", &stop, &controls);
    let faces = Followed::all(&outcome.records);
    assert!(!faces.is_empty() && faces.iter().all(|face| face.to_s.is_finite()));
    let left = outcome.records.iter().position(|(_, payload)| payload["state"] == "left");
    let ended = outcome.records.iter().position(|(_, payload)| {
        ["camera_lost", "stopped"].iter().any(|state| payload["state"] == *state)
    });
    assert!(left < ended, "{:?}", outcome.records);
    assert!(outcome.pins.iter().all(|pin| !pin.is_high()));
}

/// A loose cable, or another picture size than was agreed: frames come, and none can be read.
#[test]
fn who_was_seen_leaves_when_only_broken_frames_come_and_the_camera_is_opened_again() {
    let (stop, controls) = (Arc::new(AtomicBool::new(false)), Arc::new(Controls::default()));
    let (theirs, ender) = (Arc::clone(&controls), Arc::clone(&stop));
    let camera = after_20_frames(&controls, move || {
        std::thread::sleep(Duration::from_millis(20));
        ender.store(theirs.health().camera_lost, Ordering::Relaxed);
        let why = "torn".into();
        Err(CameraError::BrokenFrame { source_name: "test".into(), sequence: 20, why })
    });
    // The same camera again and again.
    let camera = Arc::new(Mutex::new(camera));
    let open = move || {
        let camera = Arc::clone(&camera);
        Ok(Scripted(move || camera.lock().unwrap().next_frame()))
    };
    let outcome = run_controlled(0.0, Mailbox::live(open), "hall", &stop, &controls);
    assert_eq!(outcome.statuses(), ["started", "camera_lost", "stopped"]);
    let position = |state| outcome.records.iter().position(|(_, p)| p["state"] == state).unwrap();
    assert!(position("left") < position("stopped"), "{:?}", outcome.records);
    assert!(outcome.pins.iter().any(Pin::was_high) && !outcome.pins.iter().any(Pin::is_high));
}

/// As a driver may that waits for its hardware, or a pipe.
#[test]
fn a_camera_that_hangs_does_not_keep_the_run_from_ending() {
    let (stop, controls) = (Arc::new(AtomicBool::new(false)), Arc::new(Controls::default()));
    let ender = Arc::clone(&stop);
    let (release, released) = channel::<()>();
    let camera = after_20_frames(&controls, move || {
        ender.store(true, Ordering::Relaxed);
        let _ = released.recv();
        Err(lost())
    });
    let outcome = run_controlled(0.0, Mailbox::live(once(camera)), "hall", &stop, &controls);
    drop(release);
    assert_eq!(outcome.statuses(), ["started", "stopped"]);
    let faces = Followed::all(&outcome.records);
    assert!(!faces.is_empty() && faces.iter().all(|face| face.to_s.is_finite()));
    assert!(outcome.pins.iter().any(Pin::was_high) && !outcome.pins.iter().any(Pin::is_high));
}

/// Whoever paused it may be gone, and another person stand there.
#[test]
fn a_face_after_a_pause_continues_none_of_before() {
    let (stop, controls) = (Arc::new(AtomicBool::new(false)), Arc::new(Controls::default()));
    let (theirs, ender) = (Arc::clone(&controls), Arc::clone(&stop));
    let mut clip = Replay::open(&models().join("demo.mjpeg"), script().frames_per_second).unwrap();
    let frame = (0..20).map(|_| clip.next_frame().unwrap().unwrap()).last().unwrap();
    let mut resumed_at = None;
    let camera = Scripted(move || {
        std::thread::sleep(Duration::from_millis(5));
        let frames = theirs.health().frames;
        match resumed_at {
            None if frames >= 4 => {
                theirs.pause(true);
                until(|| theirs.health().paused);
                resumed_at = Some(theirs.health().frames);
                theirs.pause(false);
                until(|| !theirs.health().paused);
            }
            Some(before) => ender.store(frames >= before + 4, Ordering::Relaxed),
            None => {}
        }
        Ok(Some(frame.clone()))
    });
    let source = Mailbox::live(once(camera));
    let outcome = run_controlled(0.0, source, "hall", &stop, &controls);
    let faces = Followed::all(&outcome.records);
    assert_eq!(outcome.statuses(), ["started", "paused", "resumed", "stopped"]);
    // Each left at the pause or the end, and has a number of its own.
    let mut numbers: Vec<u64> = faces.iter().map(|face| face.number).collect();
    assert!(numbers.len() >= 2 && numbers.len().is_multiple_of(2), "{faces:?}");
    numbers.dedup();
    assert_eq!(numbers.len(), faces.len());
    assert!(faces.iter().all(|face| face.to_s.is_finite()), "{faces:?}");
}
