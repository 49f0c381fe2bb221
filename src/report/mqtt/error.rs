//! What goes wrong between a kiosk and its broker.

use std::io;
use std::path::PathBuf;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError, mqttbytes};

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum MqttError {
    /// A file named in the configuration can't be read.
    #[error("can't read {}, `{key}` under `[mqtt]`: {source}", path.display())]
    File { key: &'static str, path: PathBuf, source: io::Error },
    /// A secret lies open.
    #[error(
        "{}, `{key}` under `[mqtt]`, is readable by all; run `chmod o-rwx {}`",
        path.display(),
        path.display()
    )]
    OpenSecret { key: &'static str, path: PathBuf },
    /// A file is not what its key says.
    #[error("{}, `{key}` under `[mqtt]`: {why}", path.display())]
    Content { key: &'static str, path: PathBuf, why: String },
    /// Certificate and key can't be used.
    #[error("TLS for MQTT can't be set up: {0}; check the files under `[mqtt]`")]
    TlsSetup(String),
    /// The forwarder's thread can't be started.
    #[error("can't start forwarding to MQTT: {0}")]
    Thread(io::Error),
    /// Nobody answers there.
    #[error(
        "{address} can't be reached: {why}; is a broker there? Check `host` and `port` under `[mqtt]`"
    )]
    Unreachable { address: String, why: String },
    /// TLS fails: another CA, a wrong name, no certificate.
    #[error("{address} and this kiosk don't trust each other: {why}; check the certificates")]
    Untrusted { address: String, why: String },
    /// The broker does not let the kiosk in.
    #[error("{address} refuses this kiosk: {why}")]
    Refused { address: String, why: &'static str },
    /// It does not answer, or acknowledges nothing.
    #[error("{address} does not answer: {what}")]
    Silent { address: String, what: &'static str },
    /// It speaks something else.
    #[error("{address} does not keep to MQTT: {why}")]
    Garbage { address: String, why: String },
    /// It hung up.
    #[error("{address} closed the connection{}", if why.is_empty() { String::new() } else { format!(": {why}") })]
    Closed { address: String, why: String },
}

impl MqttError {
    /// Sorts what rumqttc tells.
    pub(super) fn sort(address: &str, error: ConnectionError) -> Self {
        let address = address.to_owned();
        match error {
            ConnectionError::ConnectionRefused(code) => {
                Self::Refused { address, why: refusal(code) }
            }
            ConnectionError::NetworkTimeout => {
                Self::Silent { address, what: "the connection took too long" }
            }
            ConnectionError::FlushTimeout => Self::Silent { address, what: "it takes no data" },
            ConnectionError::Tls(TlsError::Io(error)) | ConnectionError::Io(error) => {
                Self::of_io(address, &error)
            }
            ConnectionError::Tls(error) => Self::Untrusted { address, why: error.to_string() },
            ConnectionError::NotConnAck(packet) => {
                Self::Garbage { address, why: format!("{packet:?} came before CONNACK") }
            }
            ConnectionError::MqttState(error) => Self::of_state(address, error),
            ConnectionError::RequestsDone => Self::Closed { address, why: String::new() },
        }
    }

    fn of_state(address: String, error: StateError) -> Self {
        match error {
            StateError::Io(error) => Self::of_io(address, &error),
            StateError::Deserialization(mqttbytes::Error::Io(error)) => {
                Self::of_io(address, &error)
            }
            StateError::ConnectionAborted => Self::Closed { address, why: String::new() },
            StateError::AwaitPingResp | StateError::CollisionTimeout => {
                Self::Silent { address, what: "no sign of life within the keep-alive time" }
            }
            error => Self::Garbage { address, why: error.to_string() },
        }
    }

    fn of_io(address: String, error: &io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, UnexpectedEof,
        };
        let why = error.to_string();
        match error.kind() {
            // rustls wraps what it finds wrong.
            InvalidData if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                Self::Untrusted { address, why }
            }
            InvalidData => Self::Garbage { address, why },
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
                Self::Closed { address, why }
            }
            _ => Self::Unreachable { address, why },
        }
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::BadUserNamePassword => {
            "wrong user or password; check `user` and `password_file` under `[mqtt]`"
        }
        ConnectReturnCode::NotAuthorized => {
            "it is not allowed in; check `user` and `password_file` under `[mqtt]`, and the \
             broker's access rules"
        }
        ConnectReturnCode::ServiceUnavailable => "the broker is not available now",
        ConnectReturnCode::BadClientId => "the broker does not take its client id",
        ConnectReturnCode::RefusedProtocolVersion => "the broker does not speak MQTT 3.1.1",
        ConnectReturnCode::Success => "it says so, with code 0",
    }
}
