//! A real broker, and a client that listens to it.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rumqttc::{Client, ConnectReturnCode, Event, MqttOptions, Packet, QoS};
use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's mosquitto is not on every user's path.
const PROGRAMS: [&str; 3] = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];

/// A port that nobody listens on, once in a test program. It lies below those that Linux gives to whoever asks
/// for none (32768 and up): else a connection of another test could take it while its broker is away.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // A hundred for each process, as test programs may run side by side.
    let first = 10_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = first + TAKEN.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `done` gives something.
#[track_caller]
pub fn wait<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(result) = done() {
            return result;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A mosquitto of one test, in a directory of its own.
pub struct Mosquitto {
    program: PathBuf,
    dir: PathBuf,
    pub port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one that listens on `port` with these further lines of configuration. `None`, with
    /// the reason printed, if the program is not there; under CI that is a failure.
    pub fn start(dir: &Path, port: u16, lines: &str) -> Option<Self> {
        let runs = |program: &str| Command::new(program).arg("-h").output().is_ok();
        let Some(program) = PROGRAMS.into_iter().find(|program| runs(program)) else {
            let missing = "no mosquitto on this machine; install Debian's package `mosquitto`";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            let _ = writeln!(std::io::stderr(), "skipped: {missing}");
            return None;
        };
        // What is queued for a subscriber survives a restart.
        let config = format!(
            "listener {port} 127.0.0.1\nuser root\npersistence true\n\
             persistence_location {}/\nlog_dest file {}\nmax_queued_messages 1000000\n{lines}\n",
            dir.display(),
            dir.join("broker.log").display(),
        );
        fs::write(dir.join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { program: program.into(), dir: dir.into(), port, child: None };
        broker.resume();
        Some(broker)
    }

    /// Starts it again after a stop.
    pub fn resume(&mut self) {
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.dir.join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        wait("mosquitto to listen", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Ends it in peace; it keeps what it has.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, "TERM");
            child.wait().unwrap();
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("broker.log")).unwrap_or_default()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal to a process of this test.
pub fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retained: bool,
}

impl Received {
    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }
}

/// Listens to all topics; comes back after each restart of the broker, which keeps for it what
/// it missed.
pub struct Subscriber {
    client: Client,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Subscriber {
    pub fn new(mut options: MqttOptions) -> Self {
        options.set_clean_session(false);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = Client::new(options, 100);
        let received = Arc::new(Mutex::new(Vec::new()));
        let (theirs, subscribing) = (Arc::clone(&received), client.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                        assert_eq!(ack.code, ConnectReturnCode::Success);
                        if !ack.session_present {
                            subscribing.try_subscribe("#", QoS::AtLeastOnce).unwrap();
                        }
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        let _ = ready.send(());
                    }
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let (topic, payload) = (publish.topic, publish.payload.to_vec());
                        let retained = publish.retain;
                        theirs.lock().unwrap().push(Received { topic, payload, retained });
                    }
                    Ok(_) => {}
                    Err(_) => thread::sleep(Duration::from_millis(50)),
                }
            }
        });
        is_ready.recv_timeout(PATIENCE).expect("the broker takes the subscription");
        Self { client, received }
    }

    /// One that needs nothing to be let in.
    pub fn plain(port: u16) -> Self {
        Self::new(MqttOptions::new("subscriber", "127.0.0.1", port))
    }

    pub fn publish(&self, topic: &str, payload: &str, retain: bool) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).unwrap();
    }

    /// All that came so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// How much came so far.
    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Waits for a message after the first `after` that is at `topic` and fits.
    #[track_caller]
    pub fn wait_for(
        &self,
        topic: &str,
        after: usize,
        fits: impl Fn(&Received) -> bool,
    ) -> Received {
        wait(topic, || {
            let received = self.received.lock().unwrap();
            let new = received.iter().skip(after);
            new.filter(|message| message.topic == topic).find(|message| fits(message)).cloned()
        })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.client.try_disconnect();
    }
}
