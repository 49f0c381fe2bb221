//! The thread that sends the journal's records on, and keeps at it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rumqttc::Publish;
use tokio::runtime::{self, Runtime};
use tokio::select;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::kiosk::controls::{Controls, Health};
use crate::kiosk::trouble::Trouble;
use crate::report::journal::follow::Follower;
use crate::report::journal::position::{Position, PositionError};
use crate::report::journal::{JournalError, Run};

use super::backoff::Backoff;
use super::broker::Broker;
use super::commands::{self, Command};
use super::error::MqttError;
use super::message::{Message, Unsent, Writer};
use super::metrics::Metrics;
use super::options::MqttOptions;
use super::session::{Happened, Sent, Session};
use super::topics::Topics;
use super::window::Window;
use super::{OFFLINE, ONLINE, home_assistant};

/// The read position's name in the journal's directory.
const POSITION: &str = "mqtt";
/// The read position is written once in so long at most, or in the journal's sync period if that is
/// longer, for the card's sake: a power cut then has the last minute sent again, which consumers drop.
const SAVE_PERIOD: Duration = Duration::from_secs(60);
/// How often the journal is looked at for new records.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// Most records sent from one look to the next: a backlog at 10,000 a second leaves the CPU to live
/// frames.
const RECORDS_PER_LOOK: u32 = 1000;
/// At the end, the broker may take so long for what it has not acknowledged yet.
const FINISH_PATIENCE: Duration = Duration::from_secs(3);
/// And so long for the goodbye.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);
/// The stages' times are asked for so long before they are told.
const ASK_AHEAD: Duration = Duration::from_secs(1);

/// A connection that lasts so long, longer than any wait, works. One that is closed before does not,
/// whatever it took: the next wait is longer, and nothing new is said of it.
const STEADY: Duration = Duration::from_secs(120);

/// Carries out a command; else says why not.
pub type Obey = Box<dyn FnMut(Command) -> Result<(), String> + Send>;

/// What a forwarder needs.
pub struct Setup {
    /// This kiosk's name.
    pub device: String,
    /// The section `[mqtt]`.
    pub options: MqttOptions,
    /// The journal's directory.
    pub journal_dir: PathBuf,
    /// What the journal's writer appends from now on.
    pub run: Run,
    /// How often the journal is synced.
    pub journal_sync_period: Duration,
    /// Whether gender is told.
    pub gender: bool,
    /// See [`crate::kiosk::Options::only_rooms_of_at_least`].
    pub only_rooms_of_at_least: Option<u32>,
    /// The kiosk's state.
    pub controls: Arc<Controls>,
    /// Carries out commands.
    pub obey: Obey,
}

/// Sends on what a journal gets, until it is dropped.
pub struct Forwarder {
    finish: watch::Sender<bool>,
    acked: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Checks the files that the options name, and begins. A broker that can't be reached is no
    /// error: it is tried until it can.
    pub fn start(setup: Setup) -> Result<Self, MqttError> {
        let (finish, finishing) = watch::channel(false);
        let worker = Worker::new(setup, finishing)?;
        let acked = Arc::clone(&worker.acked);
        let runtime = runtime()?;
        let thread = thread::Builder::new()
            .name("mqtt".into())
            .spawn(move || runtime.block_on(worker.run()))
            .map_err(MqttError::Thread)?;
        Ok(Self { finish, acked, thread: Some(thread) })
    }

    /// The sequence below which the broker has acknowledged every record.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }
}

impl Drop for Forwarder {
    /// Sends what the journal has, if the broker takes it soon, and says goodbye.
    fn drop(&mut self) {
        self.finish.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the MQTT thread had panicked");
        }
    }
}

struct Worker {
    device: String,
    options: MqttOptions,
    broker: Broker,
    topics: Topics,
    writer: Writer,
    follower: Follower,
    /// The journal had no more records when it was last asked.
    all_read: bool,
    /// Records sent since the last look.
    sent_since_look: u32,
    /// The last record whose missing predecessors were told.
    gap_told: Option<u64>,
    window: Window,
    position: Position,
    acked: Arc<AtomicU64>,
    backoff: Backoff,
    metrics: Metrics,
    next_metrics: Instant,
    /// As told last: paused, and whether there is a problem.
    told: Option<(bool, bool)>,
    controls: Arc<Controls>,
    obey: Obey,
    finishing: watch::Receiver<bool>,
    broker_trouble: Trouble<MqttError>,
    journal_trouble: Trouble<JournalError>,
    position_trouble: Trouble<PositionError>,
}

impl Worker {
    fn new(setup: Setup, finishing: watch::Receiver<bool>) -> Result<Self, MqttError> {
        let Setup { device, options, journal_dir, run, gender, controls, obey, .. } = setup;
        let save_period = setup.journal_sync_period.max(SAVE_PERIOD);
        let broker = Broker::new(&device, "", &options, true)?;
        let (position, lost) = Position::open(&journal_dir, POSITION, save_period);
        if let Some(lost) = lost {
            log::warn!("{lost}");
        }
        controls.deliver(position.next().unwrap_or(0));
        Ok(Self {
            topics: Topics::new(&device),
            writer: Writer {
                device: device.clone(),
                gender,
                only_rooms_of_at_least: setup.only_rooms_of_at_least,
                run,
            },
            device,
            broker,
            follower: Follower::new(&journal_dir, position.next()),
            all_read: false,
            sent_since_look: 0,
            gap_told: None,
            window: Window::new(options.in_flight.into()),
            acked: Arc::new(AtomicU64::new(position.next().unwrap_or(0))),
            position,
            backoff: Backoff::new(),
            metrics: Metrics::new(setup.only_rooms_of_at_least.is_none()),
            next_metrics: Instant::now(),
            told: None,
            controls,
            obey,
            finishing,
            broker_trouble: Trouble::new("MQTT broker"),
            journal_trouble: Trouble::new("journal's forwarding"),
            position_trouble: Trouble::new("read position's keeping"),
            options,
        })
    }

    async fn run(mut self) {
        while let Err(error) = self.session().await {
            self.broker_trouble.note::<()>(Err(error));
            self.save_position();
            let wait = self.backoff.wait();
            select! {
                () = finished(&mut self.finishing) => break,
                () = sleep(wait) => {}
            }
        }
        self.save_position();
    }

    /// One connection, until it fails or the forwarder is to finish.
    async fn session(&mut self) -> Result<(), MqttError> {
        let mut session = Session::open(&self.broker);
        loop {
            select! {
                () = finished(&mut self.finishing) => return Ok(()),
                happened = session.next() => {
                    if let Happened::Connected = happened? {
                        break;
                    }
                }
            }
        }
        self.greet(&mut session)?;
        let mut look = interval(LOOK_PERIOD);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut finish_by = None;
        loop {
            self.send_records(&mut session)?;
            select! {
                happened = session.next() => self.happened(&mut session, happened?)?,
                _ = look.tick() => self.look(&mut session)?,
                () = finished(&mut self.finishing), if finish_by.is_none() => {
                    finish_by = Some(Instant::now() + FINISH_PATIENCE);
                    self.all_read = false;
                }
            }
            if let Some(finish_by) = finish_by
                && (self.all_read && !session.owes() || Instant::now() >= finish_by)
            {
                self.say_goodbye(session).await;
                return Ok(());
            }
        }
    }

    /// What a new connection begins with.
    fn greet(&mut self, session: &mut Session) -> Result<(), MqttError> {
        self.window.clear();
        self.follower.seek(self.position.next());
        self.all_read = false;
        self.told = None;
        if self.options.commands {
            session.subscribe(self.topics.set("+"))?;
        }
        let status = Message { topic: self.topics.status(), payload: ONLINE.into(), retain: true };
        session.publish(status, Sent::Other)?;
        if self.options.home_assistant {
            session.subscribe(home_assistant::birth_topic(&self.options.home_assistant_prefix))?;
            self.introduce(session)?;
        }
        Ok(())
    }

    /// Describes the kiosk to Home Assistant.
    fn introduce(&self, session: &mut Session) -> Result<(), MqttError> {
        let MqttOptions { home_assistant_prefix: prefix, commands, .. } = &self.options;
        let topic = home_assistant::discovery_topic(prefix, &self.device);
        let payload = home_assistant::discovery(&self.device, self.writer.gender, *commands);
        session.publish(Message { topic, payload: payload.to_string(), retain: true }, Sent::Other)
    }

    /// Sends records while the journal has any and the broker may take more.
    fn send_records(&mut self, session: &mut Session) -> Result<(), MqttError> {
        while !self.all_read && self.sent_since_look < RECORDS_PER_LOOK && self.window.has_room() {
            let missed = self.follower.missed();
            let Some(record) = self.journal_trouble.note(self.follower.next()).flatten() else {
                self.all_read = true;
                break;
            };
            if self.follower.missed().records > missed.records
                && self.gap_told < Some(record.sequence)
            {
                log::warn!(
                    "up to {} records before record {} are no longer in the journal: the broker \
                     was away too long for `max_total_bytes`, or they are damaged",
                    self.follower.missed().records - missed.records,
                    record.sequence
                );
                self.gap_told = Some(record.sequence);
            }
            self.sent_since_look += 1;
            self.window.sent(record.sequence);
            match self.writer.message(&record, SystemTime::now()) {
                Ok(message) => session.publish(message, Sent::Record(record.sequence))?,
                Err(why) => {
                    if let Unsent::Topic = why {
                        log::warn!("record {} has no topic that can be sent to", record.sequence);
                    }
                    self.done(record.sequence);
                }
            }
        }
        Ok(())
    }

    fn happened(&mut self, session: &mut Session, happened: Happened) -> Result<(), MqttError> {
        match happened {
            Happened::Connected => Ok(()),
            Happened::Acked(Sent::Record(sequence)) => {
                self.done(sequence);
                Ok(())
            }
            Happened::Acked(Sent::Other) => Ok(()),
            Happened::Message(message) => self.message(session, &message),
        }
    }

    /// The record is with the broker for good.
    fn done(&mut self, sequence: u64) {
        if let Some(next) = self.window.acked(sequence) {
            self.position.advance(next);
            self.acked.store(next, Ordering::Relaxed);
            self.controls.deliver(next);
        }
    }

    fn message(&mut self, session: &mut Session, message: &Publish) -> Result<(), MqttError> {
        let Publish { topic, payload, retain, .. } = message;
        if self.options.home_assistant
            && *topic == home_assistant::birth_topic(&self.options.home_assistant_prefix)
        {
            return if payload[..] == *home_assistant::BIRTH {
                self.introduce(session)
            } else {
                Ok(())
            };
        }
        let Some(name) = self.topics.command(topic).filter(|_| self.options.commands) else {
            return Ok(());
        };
        let done = Command::parse(name, payload, *retain).and_then(|command| (self.obey)(command));
        match &done {
            Ok(()) => log::info!("obeyed the command {name:?}"),
            Err(why) => log::info!("refused the command {name:?}: {why}"),
        }
        let payload = commands::reply(&done).to_string();
        let topic = self.topics.reply(name);
        session.publish(Message { topic, payload, retain: false }, Sent::Other)
    }

    /// What is to be done once in a while.
    fn look(&mut self, session: &mut Session) -> Result<(), MqttError> {
        let patience = Duration::from_secs(self.options.ack_timeout_s.into());
        if session.silent_for() > patience {
            let address = self.broker.address.clone();
            return Err(MqttError::Silent { address, what: "it acknowledges nothing" });
        }
        if session.age() >= STEADY {
            self.broker_trouble.note(Ok(()));
            self.backoff.reset();
        }
        self.all_read = false;
        self.sent_since_look = 0;
        if self.position.is_due() {
            self.save_position();
        }
        self.tell_metrics(session)
    }

    /// Tells how the kiosk is, if it is time or if it needs to be known at once.
    fn tell_metrics(&mut self, session: &mut Session) -> Result<(), MqttError> {
        let now = Instant::now();
        if self.next_metrics.saturating_duration_since(now) < ASK_AHEAD {
            self.controls.ask_stage_times();
        }
        let health = self.controls.health();
        let telling = (health.paused, health.has_problem());
        if now < self.next_metrics && self.told == Some(telling) {
            return Ok(());
        }
        self.told = Some(telling);
        self.next_metrics = now + Duration::from_secs(self.options.metrics_period_s.into());
        let payload = self.metrics.payload(&health, self.backlog(&health)).to_string();
        let message = Message { topic: self.topics.metrics(), payload, retain: true };
        session.publish(message, Sent::Other)
    }

    /// Records that the broker has not acknowledged.
    fn backlog(&self, health: &Health) -> u64 {
        let end = health.journal_end.unwrap_or(self.writer.run.first);
        end.saturating_sub(self.position.next().unwrap_or(0))
    }

    fn save_position(&mut self) {
        // A position on disk must not be ahead of the journal on disk.
        if self.journal_trouble.note(self.follower.sync()).is_some() {
            self.position_trouble.note(self.position.save());
        }
    }

    /// Takes the kiosk's status back, and waits a moment for the broker to hear it.
    async fn say_goodbye(&mut self, mut session: Session) {
        let status = Message { topic: self.topics.status(), payload: OFFLINE.into(), retain: true };
        if session.publish(status, Sent::Other).is_err() {
            return;
        }
        // Whatever fails now, the last will tells the same.
        let _ = timeout(GOODBYE_PATIENCE, async {
            while session.owes() {
                let Ok(happened) = session.next().await else { return };
                if let Happened::Acked(Sent::Record(sequence)) = happened {
                    self.done(sequence);
                }
            }
            session.leave().await;
        })
        .await;
    }
}

/// Returns when the forwarder is to finish.
async fn finished(finishing: &mut watch::Receiver<bool>) {
    // An error means that the forwarder is gone.
    let _ = finishing.wait_for(|finish| *finish).await;
}

/// Runs connections in the thread that asks.
fn runtime() -> Result<Runtime, MqttError> {
    runtime::Builder::new_current_thread().enable_all().build().map_err(MqttError::Thread)
}

/// Whether the options make a broker's address and the files that they name can be read.
pub fn check_files(device: &str, options: &MqttOptions) -> Result<(), MqttError> {
    Broker::new(device, "", options, true).map(drop)
}

/// Connects to the broker once, as `device`, and leaves; gives its address.
pub fn check(device: &str, options: &MqttOptions) -> Result<String, MqttError> {
    let broker = Broker::new(device, "-check", options, false)?;
    runtime()?.block_on(async {
        let mut session = Session::open(&broker);
        while !matches!(session.next().await?, Happened::Connected) {}
        let _ = timeout(GOODBYE_PATIENCE, session.leave()).await;
        Ok(broker.address)
    })
}

/// Removes the device from Home Assistant.
pub fn remove_discovery(device: &str, options: &MqttOptions) -> Result<(), MqttError> {
    let broker = Broker::new(device, "-remove-discovery", options, false)?;
    let topic = home_assistant::discovery_topic(&options.home_assistant_prefix, device);
    let patience = Duration::from_secs(options.ack_timeout_s.into());
    runtime()?.block_on(async {
        let mut session = Session::open(&broker);
        session.publish(Message { topic, payload: String::new(), retain: true }, Sent::Other)?;
        let acked = timeout(patience, async {
            while session.owes() {
                session.next().await?;
            }
            Ok(())
        });
        let silent =
            MqttError::Silent { address: broker.address.clone(), what: "it acknowledges nothing" };
        acked.await.unwrap_or(Err(silent))?;
        let _ = timeout(GOODBYE_PATIENCE, session.leave()).await;
        Ok(())
    })
}
