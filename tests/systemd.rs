//! What the program tells systemd (`sd_notify(3)`): a datagram socket stands in for it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The longest that a message may take; no test waits so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// What systemd is told to wait for a sign of life, as `WATCHDOG_USEC`.
const WATCHDOG_MS: u64 = 200;
/// Silence for so many times as long means that none comes any more.
const SILENT_PERIODS: u64 = 10;

/// systemd, and the program that it has started.
struct Service {
    socket: UnixDatagram,
    program: Child,
    /// All messages so far, a line each.
    told: Vec<String>,
    _place: TempDir,
}

impl Service {
    fn start(source: &str, options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let place = TempDir::new().unwrap();
        prepare(place.path());
        fs::write(place.path().join("kiosk.toml"), "deployment_context = 'test'\n").unwrap();
        let path = place.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_mien"))
            .args(["run", "--source", source, "--config", "kiosk.toml"])
            .args(options)
            .current_dir(place.path())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", (1000 * WATCHDOG_MS).to_string())
            .env_remove("WATCHDOG_PID")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { socket, program, told: Vec::new(), _place: place }
    }

    /// The next line, if one comes in time.
    fn hear(&mut self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        self.told.push(text.trim_end().to_owned());
        self.told.last().cloned()
    }

    /// Hears on until this line has come so often in all.
    fn await_line(&mut self, line: &str, times: usize) {
        while self.told.iter().filter(|told| *told == line).count() < times {
            self.hear(PATIENCE).unwrap_or_else(|| panic!("no {line:?} after {:?}", self.told));
        }
    }

    fn place_of(&self, line: &str) -> usize {
        let place = self.told.iter().position(|told| told == line);
        place.unwrap_or_else(|| panic!("no {line:?} in {:?}", self.told))
    }

    /// Ends it as systemd does.
    fn stop(&mut self) {
        let id = self.program.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        self.await_line("STOPPING=1", 1);
        assert!(self.program.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// A folder of faceless pictures.
fn pictures(folder: &Path, count: u32) {
    fs::create_dir(folder).unwrap();
    for i in 0..count {
        let picture = image::GrayImage::from_pixel(160, 120, image::Luma([40 + (i % 16) as u8]));
        picture.save(folder.join(format!("{i:05}.png"))).unwrap();
    }
}

#[test]
fn it_is_ready_with_the_first_frame_alive_while_it_watches_and_says_goodbye() {
    // At the default of 10 frames a second, longer than the test can last.
    let prepare = |place: &Path| pictures(&place.join("clip"), 5000);
    let mut service = Service::start("clip", &["--realtime"], prepare);
    service.await_line("READY=1", 1);
    service.await_line("STATUS=watching", 1);
    service.await_line("WATCHDOG=1", 4);
    service.stop();
    assert!(service.place_of("STATUS=waiting for the first frame") < service.place_of("READY=1"));
    assert_eq!(service.told.iter().filter(|told| *told == "READY=1").count(), 1);
}

#[test]
#[cfg(feature = "v4l")]
fn a_kiosk_whose_camera_is_missing_is_ready_and_alive() {
    let mut service = Service::start("/dev/video63", &[], |_| ());
    service.await_line("READY=1", 1);
    service.await_line("STATUS=no camera, opening it again", 1);
    service.await_line("WATCHDOG=1", 4);
    service.stop();
}

#[test]
fn a_loop_that_hangs_gives_no_sign_of_life() {
    // Opening the last picture never ends.
    let prepare = |place: &Path| {
        pictures(&place.join("clip"), 3);
        let pipe = place.join("clip/99999.png");
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    };
    let mut service = Service::start("clip", &[], prepare);
    service.await_line("READY=1", 1);
    let silence = Duration::from_millis(SILENT_PERIODS * WATCHDOG_MS);
    while service.hear(silence).is_some() {
        assert!(service.told.len() < 1000, "it is still said to be alive");
    }
    assert!(service.program.try_wait().unwrap().is_none(), "it hangs, it has not ended");
}
