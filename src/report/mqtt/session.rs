//! One connection to the broker, from its opening to its end. After any failure it is thrown away
//! whole: what was not acknowledged is read from the journal again.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Outgoing, Packet, Publish, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::broker::Broker;
use super::error::MqttError;
use super::message::Message;

/// Requests that may wait to be written.
const QUEUE: usize = 2048;
/// Seconds for a connection to be made, TLS and login included.
const CONNECT_S: u64 = 5;

/// What a publication was, so that its acknowledgement means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The record of this sequence.
    Record(u64),
    /// Anything else.
    Other,
}

/// What comes from the broker.
#[derive(Debug)]
pub enum Happened {
    /// It has let the kiosk in.
    Connected,
    /// It has taken a publication.
    Acked(Sent),
    /// It brings a message.
    Message(Publish),
}

/// A connection.
pub struct Session {
    client: AsyncClient,
    address: String,
    events: mpsc::Receiver<Result<Event, ConnectionError>>,
    pump: JoinHandle<()>,
    /// Published, not yet written: rumqttc writes in this order.
    queued: VecDeque<Sent>,
    /// Written and not acknowledged, by packet identifier.
    unacked: HashMap<u16, Sent>,
    /// Of these two, records.
    records_owed: usize,
    /// When the broker last acknowledged a record, or began to owe one; and the same of anything.
    record_progress: Instant,
    progress: Instant,
    opened: Instant,
}

impl Session {
    /// Begins to connect.
    pub fn open(broker: &Broker) -> Self {
        let (client, mut event_loop) = AsyncClient::new(broker.options.clone(), QUEUE);
        event_loop.network_options.set_connection_timeout(CONNECT_S);
        // Each event goes out at once.
        event_loop.network_options.set_tcp_nodelay(true);
        let (sender, events) = mpsc::channel(QUEUE);
        // A task of its own, because rumqttc's wait must not be broken off in the middle.
        let pump = tokio::spawn(pump(event_loop, sender));
        Self {
            client,
            address: broker.address.clone(),
            events,
            pump,
            queued: VecDeque::new(),
            unacked: HashMap::new(),
            records_owed: 0,
            record_progress: Instant::now(),
            progress: Instant::now(),
            opened: Instant::now(),
        }
    }

    /// How long ago it was opened.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Publishes by quality of service 1.
    pub fn publish(&mut self, message: Message, sent: Sent) -> Result<(), MqttError> {
        let Message { topic, payload, retain } = message;
        let published = self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload);
        if published.is_err() {
            return self.clogged();
        }
        if !self.owes() {
            self.progress = Instant::now();
        }
        if let Sent::Record(_) = sent {
            if self.records_owed == 0 {
                self.record_progress = Instant::now();
            }
            self.records_owed += 1;
        }
        self.queued.push_back(sent);
        Ok(())
    }

    /// Asks for the messages of a topic.
    pub fn subscribe(&self, topic: String) -> Result<(), MqttError> {
        let subscribed = self.client.try_subscribe(topic, QoS::AtLeastOnce);
        if subscribed.is_err() { self.clogged() } else { Ok(()) }
    }

    /// Why a request was not taken.
    fn clogged(&self) -> Result<(), MqttError> {
        if self.pump.is_finished() {
            // The connection is over; the next event tells why.
            return Ok(());
        }
        Err(MqttError::Silent { address: self.address.clone(), what: "it takes no data" })
    }

    /// Whether the broker has yet to acknowledge something.
    pub fn owes(&self) -> bool {
        !self.queued.is_empty() || !self.unacked.is_empty()
    }

    /// How long the broker has acknowledged nothing that it owes, or no record of those.
    pub fn silent_for(&self) -> Duration {
        let since = |owes: bool, progress: Instant| match owes {
            true => progress.elapsed(),
            false => Duration::ZERO,
        };
        since(self.owes(), self.progress).max(since(self.records_owed > 0, self.record_progress))
    }

    /// The next thing to happen. May be broken off and called again.
    pub async fn next(&mut self) -> Result<Happened, MqttError> {
        loop {
            let happened = match self.events.recv().await {
                Some(Ok(Event::Incoming(packet))) => self.incoming(packet),
                Some(Ok(Event::Outgoing(Outgoing::Publish(id)))) => {
                    self.written(id);
                    None
                }
                Some(Ok(Event::Outgoing(_))) => None,
                Some(Err(error)) => return Err(MqttError::sort(&self.address, error)),
                None => {
                    let why = "its bytes could not be made sense of".into();
                    return Err(MqttError::Garbage { address: self.address.clone(), why });
                }
            };
            if let Some(happened) = happened {
                return Ok(happened);
            }
        }
    }

    /// Says goodbye, so that the last will is not published, and waits for the connection's end.
    pub async fn leave(mut self) {
        // If there is no room for it, the will tells the same.
        let _ = self.client.try_disconnect();
        while self.next().await.is_ok() {}
    }

    fn written(&mut self, id: u16) {
        if let Some(sent) = self.queued.pop_front() {
            self.unacked.insert(id, sent);
        }
    }

    fn incoming(&mut self, packet: Packet) -> Option<Happened> {
        match packet {
            Packet::ConnAck(_) => Some(Happened::Connected),
            Packet::PubAck(ack) => {
                let sent = self.unacked.remove(&ack.pkid)?;
                self.progress = Instant::now();
                if let Sent::Record(_) = sent {
                    self.records_owed -= 1;
                    self.record_progress = self.progress;
                }
                Some(Happened::Acked(sent))
            }
            Packet::Publish(message) => Some(Happened::Message(message)),
            _ => None,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Drives rumqttc until the connection ends, which is the last thing it tells.
async fn pump(mut event_loop: EventLoop, events: mpsc::Sender<Result<Event, ConnectionError>>) {
    loop {
        let event = event_loop.poll().await;
        let failed = event.is_err();
        if events.send(event).await.is_err() || failed {
            return;
        }
    }
}
