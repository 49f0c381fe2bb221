//! Names of a kiosk's topics, and of Home Assistant's.

/// Below this are all topics of all kiosks.
const ROOT: &str = "mien";

/// The topics of one kiosk.
#[derive(Clone, Debug)]
pub struct Topics {
    base: String,
}

impl Topics {
    /// Of the kiosk named `device`.
    pub fn new(device: &str) -> Self {
        Self { base: format!("{ROOT}/{device}") }
    }

    /// What the room shows.
    pub fn room(&self) -> String {
        format!("{}/room", self.base)
    }

    /// `online` or `offline`.
    pub fn status(&self) -> String {
        format!("{}/status", self.base)
    }

    /// How the kiosk is.
    pub fn metrics(&self) -> String {
        format!("{}/metrics", self.base)
    }

    /// Where `command` is given.
    pub fn set(&self, command: &str) -> String {
        format!("{}/set/{command}", self.base)
    }

    /// Where `command` is answered.
    pub fn reply(&self, command: &str) -> String {
        format!("{}/reply/{command}", self.base)
    }

    /// The command that is given at `topic`, if it is one of this kiosk's.
    pub fn command<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(&self.base)?.strip_prefix("/set/")
    }
}
