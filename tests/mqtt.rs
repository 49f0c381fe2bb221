//! From the journal to a real broker, and what a broker may do wrong on the way.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::Duration;

use mien::kiosk::controls::Controls;
use mien::report::journal::{Journal, JournalOptions};
use mien::report::mqtt::options::MqttOptions;
use mien::report::mqtt::{Forwarder, MqttError, Setup};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::json;
use tempfile::TempDir;

// Each file uses a part of it.
#[allow(dead_code)]
#[path = "common/broker.rs"]
mod broker;

use broker::{Mosquitto, Received, Subscriber, free_port, wait};

const ANYONE: &str = "allow_anonymous true";

/// What was logged as a warning or worse, of all tests.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.level() <= log::Level::Warn && metadata.target().starts_with("mien")
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            WARNINGS.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// The warnings that name the broker at this port.
fn warnings(port: u16) -> Vec<String> {
    let address = format!("localhost:{port} ");
    let all = WARNINGS.lock().unwrap();
    all.iter().filter(|warning| warning.contains(&address)).cloned().collect()
}

/// A kiosk that has a journal and no camera.
struct Kiosk {
    dir: TempDir,
    options: MqttOptions,
}

/// A run of it.
struct Running {
    journal: Journal,
    _forwarder: Forwarder,
}

impl Kiosk {
    fn new(port: u16) -> Self {
        static COLLECT: Once = Once::new();
        COLLECT.call_once(|| {
            log::set_logger(&Collector).unwrap();
            log::set_max_level(log::LevelFilter::Warn);
        });
        let options = MqttOptions { port: Some(port), ack_timeout_s: 5, ..MqttOptions::default() };
        Self { dir: tempfile::tempdir().unwrap(), options }
    }

    fn start(&self) -> Result<Running, MqttError> {
        let (journal, _) = Journal::open(self.dir.path(), JournalOptions::default()).unwrap();
        let forwarder = Forwarder::start(Setup {
            device: "hall".into(),
            options: self.options.clone(),
            journal_dir: self.dir.path().into(),
            run: journal.run(),
            journal_sync_period: Duration::ZERO,
            gender: true,
            only_rooms_of_at_least: None,
            controls: Arc::new(Controls::default()),
            obey: Box::new(|_| Err("no commands here".into())),
        })?;
        Ok(Running { journal, _forwarder: forwarder })
    }
}

impl Running {
    fn append(&mut self, count: u64) {
        for _ in 0..count {
            self.journal.append("mien/hall/face/1", &json!({ "state": "changed" })).unwrap();
        }
    }
}

/// Sequences of the events that came, repeats left out as a consumer would.
fn sequences(received: &[Received]) -> Vec<u64> {
    let mut seen = HashSet::new();
    let events = received.iter().filter(|message| message.topic == "mien/hall/face/1");
    let ids = events.map(|event| event.json()["id"].as_str().unwrap().to_owned());
    ids.filter(|id| seen.insert(id.clone()))
        .map(|id| id.split('-').nth(1).unwrap().parse().unwrap())
        .collect()
}

#[track_caller]
fn wait_for_all(subscriber: &Subscriber, end: u64) {
    wait("all events", || (sequences(&subscriber.received()).len() as u64 >= end).then_some(()));
    let sequences = sequences(&subscriber.received());
    assert_eq!(sequences, (0..end).collect::<Vec<_>>(), "in order, each once");
}

#[test]
fn events_are_complete_and_in_order_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut mosquitto) = Mosquitto::start(dir.path(), free_port(), ANYONE) else { return };
    let subscriber = Subscriber::plain(mosquitto.port);
    let kiosk = Kiosk::new(mosquitto.port);

    let mut running = kiosk.start().unwrap();
    running.append(500);
    // The broker goes in the middle, and comes back to what was written in the meantime.
    mosquitto.stop();
    running.append(500);
    mosquitto.resume();
    wait_for_all(&subscriber, 1000);

    // The kiosk goes, in the middle too.
    running.append(1000);
    drop(running);
    let mut running = kiosk.start().unwrap();
    running.append(1000);
    wait_for_all(&subscriber, 3000);

    // Both.
    running.append(1000);
    mosquitto.stop();
    running.append(10);
    drop(running);
    let mut running = kiosk.start().unwrap();
    running.append(990);
    mosquitto.resume();
    wait_for_all(&subscriber, 5000);
    drop(running);

    // All is done with: the next run repeats nothing.
    let before = subscriber.count();
    let running = kiosk.start().unwrap();
    subscriber.wait_for("mien/hall/status", before, |status| status.payload == b"online");
    drop(running);
    subscriber.wait_for("mien/hall/status", before, |status| status.payload == b"offline");
    let repeated = subscriber.received().split_off(before);
    assert!(repeated.iter().all(|message| message.topic != "mien/hall/face/1"));
}

/// What the demo clip's run journals is all at the broker, though the program is killed again and
/// again.
#[test]
fn a_killed_kiosk_loses_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mosquitto) = Mosquitto::start(dir.path(), free_port(), ANYONE) else { return };
    let subscriber = Subscriber::plain(mosquitto.port);
    let config =
        format!("device = \"hall\"\nroom_period_s = 1\n[mqtt]\nport = {}\n", mosquitto.port);
    fs::write(dir.path().join("kiosk.toml"), config).unwrap();
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.mjpeg");
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mien"));
        command.args(["run", "--config", "kiosk.toml", "--source"]).arg(&clip);
        command.current_dir(dir.path()).stdout(std::process::Stdio::null());
        command
    };
    for wait_ms in [150, 400, 700] {
        let mut child = command().arg("--realtime").spawn().unwrap();
        thread::sleep(Duration::from_millis(wait_ms));
        broker::signal(&child, "KILL");
        child.wait().unwrap();
    }
    assert!(command().status().unwrap().success());
    let records: Vec<u64> = mien::report::journal::read(&dir.path().join("mien-log"))
        .map(|record| record.unwrap().sequence)
        .collect();
    assert!(records.len() > 20, "{}", records.len());
    let seen = || -> HashSet<u64> {
        let sequence = |message: &Received| {
            let id = message.json()["id"].as_str()?.to_owned();
            id.split('-').nth(1).and_then(|sequence| sequence.parse().ok())
        };
        subscriber.received().iter().filter_map(sequence).collect()
    };
    wait("all records", || records.iter().all(|record| seen().contains(record)).then_some(()));
    // Nothing but what is documented is ever sent.
    let known = [
        "state",
        "expression",
        "gender",
        "share",
        "gender_share",
        "percent",
        "box",
        "time_s",
        "id",
        "time",
        "faces",
        "expressions",
        "unsure",
        "shown",
        "version",
        "source",
        "model",
        "why",
        "frames",
    ];
    for message in subscriber.received() {
        let json = message.json();
        let Some(fields) = json.as_object().filter(|fields| fields.contains_key("id")) else {
            continue;
        };
        for field in fields.keys() {
            assert!(known.contains(&field.as_str()), "{field} in {json}");
        }
    }
}

#[test]
fn a_broken_connection_is_told_by_the_last_will() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mosquitto) = Mosquitto::start(dir.path(), free_port(), ANYONE) else { return };
    let subscriber = Subscriber::plain(mosquitto.port);
    fs::write(dir.path().join("kiosk.toml"), format!("[mqtt]\nport = {}\n", mosquitto.port))
        .unwrap();
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.mjpeg");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mien"))
        .args(["run", "--realtime", "--config", "kiosk.toml", "--source"])
        .arg(clip)
        .current_dir(dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    subscriber.wait_for("mien/kiosk/status", 0, |status| status.payload == b"online");
    broker::signal(&child, "KILL");
    child.wait().unwrap();
    subscriber.wait_for("mien/kiosk/status", 0, |status| status.payload == b"offline");
    // Whoever comes later is told too.
    let mut later = rumqttc::MqttOptions::new("later", "127.0.0.1", mosquitto.port);
    later.set_keep_alive(Duration::from_secs(5));
    let later = Subscriber::new(later);
    let status = later.wait_for("mien/kiosk/status", 0, |status| status.retained);
    assert_eq!(status.text(), "offline");
}

/// Whether mosquitto's tool for it is there.
fn add_user(passwords: &Path, user: &str, password: &str) -> bool {
    let mut command = Command::new("mosquitto_passwd");
    if !passwords.exists() {
        command.arg("-c");
    }
    let added = command.arg("-b").arg(passwords).args([user, password]).status();
    added.is_ok_and(|status| status.success())
}

#[test]
fn a_wrong_password_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("passwords");
    let made = add_user(&passwords, "mien", "right");
    let lines = format!("allow_anonymous false\npassword_file {}", passwords.display());
    let Some(mosquitto) = Mosquitto::start(dir.path(), free_port(), &lines) else { return };
    assert!(made, "mosquitto_passwd comes with mosquitto");
    let mut options = rumqttc::MqttOptions::new("subscriber", "127.0.0.1", mosquitto.port);
    options.set_credentials("mien", "right");
    let subscriber = Subscriber::new(options);

    let mut kiosk = Kiosk::new(mosquitto.port);
    let password = kiosk.dir.path().join("password");
    fs::write(&password, "wrong\n").unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    kiosk.options.user = Some("mien".into());
    kiosk.options.password_file = Some(password.clone());
    let mut running = kiosk.start().unwrap();
    running.append(3);
    let refused = || mosquitto.log().matches("disconnected, not authorised").count();
    wait("three tries", || (refused() >= 3).then_some(()));
    drop(running);
    let warnings = warnings(mosquitto.port);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("password_file"), "{warnings:?}");

    fs::write(&password, "right\n").unwrap();
    let _running = kiosk.start().unwrap();
    wait_for_all(&subscriber, 3);
}

/// `mien check` finds a broker that lets it in, and says so where none is.
#[test]
fn check_looks_for_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let (port, nobody) = (free_port(), free_port());
    let Some(_mosquitto) = Mosquitto::start(dir.path(), port, ANYONE) else { return };
    let broker_line = |port: u16| {
        fs::write(dir.path().join("kiosk.toml"), format!("[mqtt]\nport = {port}\n")).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_mien"));
        let check = check.args(["check", "--config", "kiosk.toml"]).current_dir(dir.path());
        let text = String::from_utf8(check.output().unwrap().stdout).unwrap();
        text.lines().find(|line| line.starts_with("broker")).map(str::to_owned).unwrap()
    };
    let found = wait("the broker", || Some(broker_line(port)).filter(|line| line.contains(" ok ")));
    assert!(found.contains(&format!("localhost:{port}")), "{found}");
    let missed = broker_line(nobody);
    assert!(missed.contains("FAILED") && missed.contains(&nobody.to_string()), "{missed}");
}

/// `deploy/mosquitto.acl` as shipped: a kiosk may do what it needs, and nothing in another's name.
#[test]
fn the_access_rules_fit() {
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("passwords");
    let made = ["hall", "homeassistant"].map(|user| add_user(&passwords, user, "secret"));
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/mosquitto.acl");
    let lines = format!(
        "allow_anonymous false\npassword_file {}\nacl_file {}\nlog_type all",
        passwords.display(),
        rules.display()
    );
    let Some(mosquitto) = Mosquitto::start(dir.path(), free_port(), &lines) else { return };
    assert_eq!(made, [true, true], "mosquitto_passwd comes with mosquitto");
    let mut options = rumqttc::MqttOptions::new("home", "127.0.0.1", mosquitto.port);
    options.set_credentials("homeassistant", "secret");
    let home = Subscriber::new(options);

    let mut kiosk = Kiosk::new(mosquitto.port);
    let password = kiosk.dir.path().join("password");
    fs::write(&password, "secret").unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    kiosk.options.user = Some("hall".into());
    kiosk.options.password_file = Some(password);
    kiosk.options.commands = true;
    kiosk.options.home_assistant = true;
    let mut running = kiosk.start().unwrap();
    running.append(3);
    // Nobody may speak for another kiosk: the broker drops it.
    running.journal.append("mien/attic/room", &json!({})).unwrap();
    for topic in ["status", "kiosk", "metrics", "room"] {
        running.journal.append(&format!("mien/hall/{topic}"), &json!({})).unwrap();
        let sent = if topic == "status" { "kiosk" } else { topic };
        home.wait_for(&format!("mien/hall/{sent}"), 0, |_| true);
    }
    wait_for_all(&home, 3);
    home.wait_for("homeassistant/device/mien_hall/config", 0, |_| true);
    home.publish("mien/hall/set/pause", "ON", false);
    home.wait_for("mien/hall/reply/pause", 0, |reply| reply.json()["ok"] == false);
    let before = home.count();
    home.publish("homeassistant/status", "online", false);
    home.wait_for("homeassistant/device/mien_hall/config", before, |_| true);
    assert!(home.received().iter().all(|message| !message.topic.starts_with("mien/attic")));
    assert!(mosquitto.log().contains("Denied PUBLISH"), "the log tells what was dropped");
}

/// Certificates of a private authority, as PEM files.
struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a private authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        let path = self.path(&format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn tls_with_a_private_authority_and_a_client_certificate() {
    let authority = Authority::new();
    authority.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    authority.issue("kiosk", ExtendedKeyUsagePurpose::ClientAuth);
    let file = |name: &str| authority.path(name).display().to_string();
    let lines = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\nallow_anonymous true\n\
         listener {} 127.0.0.1",
        file("ca.pem"),
        file("localhost.pem"),
        file("localhost.key"),
        free_port(),
    );
    let plain: u16 = lines.rsplit(' ').nth(1).unwrap().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let Some(mosquitto) = Mosquitto::start(dir.path(), free_port(), &lines) else { return };
    let subscriber = Subscriber::plain(plain);

    let mut kiosk = Kiosk::new(mosquitto.port);
    kiosk.options.client_cert_file = Some(authority.path("kiosk.pem"));
    kiosk.options.client_key_file = Some(authority.path("kiosk.key"));
    // Another authority's word counts nothing.
    let other = Authority::new();
    kiosk.options.ca_file = Some(other.path("ca.pem"));
    let mut running = kiosk.start().unwrap();
    running.append(5);
    let why = wait("a warning", || warnings(mosquitto.port).pop());
    assert!(why.contains("don't trust each other"), "{why}");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(warnings(mosquitto.port).len(), 1, "told once");
    drop(running);
    assert!(sequences(&subscriber.received()).is_empty());

    kiosk.options.ca_file = Some(authority.path("ca.pem"));
    let _running = kiosk.start().unwrap();
    wait_for_all(&subscriber, 5);
}

/// What a broker does to each connection, after how much of what was sent to it.
type Manners = fn(TcpStream);

/// Listens until it is dropped.
struct FakeBroker {
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl FakeBroker {
    fn start(port: u16, manners: Manners) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (connections, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (Arc::clone(&connections), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        count.fetch_add(1, Ordering::Relaxed);
                        stream.set_nonblocking(false).unwrap();
                        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                        thread::spawn(move || manners(stream));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(10)),
                }
            }
        });
        Self { connections, stop, thread: Some(thread) }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// Reads whatever comes until the other end hangs up.
fn swallow(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).is_ok_and(|len| len > 0) {}
}

fn hear(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
}

fn takes_all_and_says_nothing(stream: TcpStream) {
    swallow(stream);
}

fn never_acknowledges(mut stream: TcpStream) {
    hear(&mut stream);
    let _ = stream.write_all(&CONNACK);
    swallow(stream);
}

fn closes_in_the_middle_of_a_packet(mut stream: TcpStream) {
    hear(&mut stream);
    let _ = stream.write_all(&CONNACK);
    hear(&mut stream);
    // A publication of 200 bytes, of which 7 come.
    let _ = stream.write_all(&[0x30, 200, 1, 0, 4, b'm', b'i']);
}

fn speaks_http(mut stream: TcpStream) {
    hear(&mut stream);
    let body = "<p>What is this?</p>\n".repeat(20);
    let _ = stream.write_all(format!("HTTP/1.1 400 Bad Request\r\n\r\n{body}").as_bytes());
    swallow(stream);
}

fn talks_garbage_once_connected(mut stream: TcpStream) {
    hear(&mut stream);
    let _ = stream.write_all(&CONNACK);
    let mut rng = fastrand::Rng::with_seed(7);
    let garbage: Vec<u8> = std::iter::repeat_with(|| rng.u8(0xF1..)).take(5000).collect();
    let _ = stream.write_all(&garbage);
    swallow(stream);
}

fn acknowledges_what_was_never_sent(mut stream: TcpStream) {
    hear(&mut stream);
    let _ = stream.write_all(&CONNACK);
    let _ = stream.write_all(&[0x40, 2, 0xFF, 0xF0]);
    swallow(stream);
}

/// The kiosk tries again and again, says once what is wrong, and when a sound broker takes the
/// port, it gets everything.
#[track_caller]
fn survives(manners: Manners, said: &str) {
    let port = free_port();
    let mut kiosk = Kiosk::new(port);
    kiosk.options.ack_timeout_s = 1;
    let fake = FakeBroker::start(port, manners);
    let mut running = kiosk.start().unwrap();
    running.append(50);
    wait("three tries", || (fake.connections() >= 3).then_some(()));
    drop(fake);
    let told = warnings(port);
    let about_it: Vec<_> = told.iter().filter(|warning| warning.contains(said)).collect();
    assert_eq!((about_it.len(), told.len()), (1, 1), "{told:#?}");
    assert!(!told[0].contains("panic"), "{told:?}");

    let dir = tempfile::tempdir().unwrap();
    let Some(mosquitto) = Mosquitto::start(dir.path(), port, ANYONE) else { return };
    let subscriber = Subscriber::plain(mosquitto.port);
    // What came before the subscriber is with the broker all the same: that is not its matter.
    running.append(50);
    wait("the rest", || (sequences(&subscriber.received()).last() == Some(&99)).then_some(()));
}

#[test]
fn a_broker_that_says_nothing_is_survived() {
    survives(takes_all_and_says_nothing, "does not answer: the connection took too long");
}

#[test]
fn a_broker_that_never_acknowledges_is_survived() {
    survives(never_acknowledges, "does not answer: it acknowledges nothing");
}

#[test]
fn a_broker_that_closes_in_the_middle_of_a_packet_is_survived() {
    survives(closes_in_the_middle_of_a_packet, "closed the connection");
}

#[test]
fn a_broker_that_speaks_something_else_is_survived() {
    survives(speaks_http, "does not keep to MQTT");
}

#[test]
fn a_broker_that_talks_garbage_is_survived() {
    survives(talks_garbage_once_connected, "does not keep to MQTT");
}

#[test]
fn a_broker_that_acknowledges_what_was_never_sent_is_survived() {
    survives(acknowledges_what_was_never_sent, "does not keep to MQTT");
}

/// A publication's identifier, of those that rumqttc writes: a first byte, two of length, a topic.
fn identifier(packet: &[u8]) -> Option<[u8; 2]> {
    let publish = packet.iter().position(|byte| byte >> 4 == 3)?;
    let length_bytes = packet[publish + 1..].iter().position(|byte| *byte < 0x80)? + 1;
    let topic = publish + 1 + length_bytes;
    let topic_len = usize::from(u16::from_be_bytes([*packet.get(topic)?, *packet.get(topic + 1)?]));
    packet.get(topic + 2 + topic_len..)?.first_chunk().copied()
}

fn takes_one_publication_and_hangs_up(mut stream: TcpStream) {
    hear(&mut stream);
    let _ = stream.write_all(&CONNACK);
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes).unwrap_or_default();
    if let Some([high, low]) = identifier(&bytes[..read]) {
        let _ = stream.write_all(&[0x40, 2, high, low]);
    }
    // What is not read would turn the end into a reset.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    swallow(stream);
}

#[test]
fn a_broker_that_hangs_up_after_a_publication_is_survived() {
    survives(takes_one_publication_and_hangs_up, "closed the connection");
}

/// The program's own words on a broker that breaks MQTT's rules each time are all there is of it.
#[test]
fn the_program_logs_a_bad_broker_once() {
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let fake = FakeBroker::start(port, acknowledges_what_was_never_sent);
    let config = format!("[mqtt]\nhost = \"localhost\"\nport = {port}\nack_timeout_s = 1\n");
    std::fs::write(dir.path().join("kiosk.toml"), config).unwrap();
    let clip = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo.mjpeg");
    let mut mien = std::process::Command::new(env!("CARGO_BIN_EXE_mien"))
        .args(["run", "--realtime", "--config", "kiosk.toml", "--source"])
        .arg(clip)
        .current_dir(dir.path())
        .env_remove("RUST_LOG")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait("three tries", || (fake.connections() >= 3).then_some(()));
    mien.kill().unwrap();
    let output = mien.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(log.matches("does not keep to MQTT").count(), 1, "{log}");
    assert!(!log.contains("rumqttc"), "{log}");
}
