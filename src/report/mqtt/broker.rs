//! How to get to the broker: address, credentials, TLS, last will.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{LastWill, QoS, TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::OFFLINE;
use super::error::MqttError;
use super::options::MqttOptions;
use super::topics::Topics;

/// Where the password is looked for if no file is named.
const PASSWORD_VARIABLE: &str = "MIEN_MQTT_PASSWORD";

/// Longest packet taken from the broker, bytes: commands are short.
const MAX_INCOMING: usize = 64 << 10;
/// Longest packet sent, bytes: above the journal's longest record.
const MAX_OUTGOING: usize = 512 << 10;
/// Packet identifiers beyond those in flight, so that none is used again while the broker has yet
/// to acknowledge it.
const SPARE_IDS: u16 = 1000;

/// A broker, and what it takes to be let in.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Host and port, for messages.
    pub address: String,
    /// What rumqttc wants to know.
    pub options: rumqttc::MqttOptions,
}

impl Broker {
    /// Reads the files that `options` name. `client` distinguishes this connection from others of
    /// the same device; a `will` is left if it breaks.
    pub fn new(
        device: &str,
        client: &str,
        options: &MqttOptions,
        will: bool,
    ) -> Result<Self, MqttError> {
        let MqttOptions { host, user, keep_alive_s, in_flight, .. } = options;
        let id = format!("mien-{device}{client}");
        let mut rumqttc = rumqttc::MqttOptions::new(id, host, options.port());
        rumqttc.set_keep_alive(Duration::from_secs((*keep_alive_s).into()));
        rumqttc.set_clean_session(true);
        rumqttc.set_max_packet_size(MAX_INCOMING, MAX_OUTGOING);
        rumqttc.set_inflight(in_flight + SPARE_IDS);
        if let Some(user) = user {
            rumqttc.set_credentials(user, password(options)?);
        }
        if let Some(ca_file) = &options.ca_file {
            let tls = tls(ca_file, options)?;
            rumqttc.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        }
        if will {
            let status = Topics::new(device).status();
            rumqttc.set_last_will(LastWill::new(status, OFFLINE, QoS::AtLeastOnce, true));
        }
        Ok(Self { address: format!("{host}:{}", options.port()), options: rumqttc })
    }
}

fn password(options: &MqttOptions) -> Result<String, MqttError> {
    let Some(path) = &options.password_file else {
        return Ok(std::env::var(PASSWORD_VARIABLE).unwrap_or_default());
    };
    let key = "password_file";
    let text = String::from_utf8(secret(key, path)?);
    let text = text.map_err(|_| content(key, path, "it is not UTF-8"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn tls(ca_file: &Path, options: &MqttOptions) -> Result<Arc<ClientConfig>, MqttError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", ca_file)? {
        let added = roots.add(certificate);
        added.map_err(|error| content("ca_file", ca_file, &error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let set_up = |error: rustls::Error| MqttError::TlsSetup(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(set_up)?
        .with_root_certificates(roots);
    let config = match (&options.client_cert_file, &options.client_key_file) {
        (Some(cert), Some(key)) => {
            let chain = certificates("client_cert_file", cert)?;
            builder.with_client_auth_cert(chain, private_key(key)?).map_err(set_up)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, MqttError> {
    let bytes = read(key, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates =
        certificates.map_err(|error| content(key, path, &format!("no certificate: {error}")))?;
    if certificates.is_empty() {
        return Err(content(key, path, "it has no certificate (PEM)"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, MqttError> {
    let key = "client_key_file";
    PrivateKeyDer::from_pem_slice(&secret(key, path)?)
        .map_err(|error| content(key, path, &format!("no private key (PEM): {error}")))
}

/// Reads a file that others must not be able to read.
fn secret(key: &'static str, path: &Path) -> Result<Vec<u8>, MqttError> {
    let io = |source| MqttError::File { key, path: path.into(), source };
    if fs::metadata(path).map_err(io)?.permissions().mode() & 0o007 != 0 {
        return Err(MqttError::OpenSecret { key, path: path.into() });
    }
    read(key, path)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, MqttError> {
    fs::read(path).map_err(|source| MqttError::File { key, path: path.into(), source })
}

fn content(key: &'static str, path: &Path, why: &str) -> MqttError {
    MqttError::Content { key, path: path.into(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_password_that_all_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "secret\n").unwrap();
        let user = Some("mien".to_owned());
        let options =
            MqttOptions { user, password_file: Some(path.clone()), ..MqttOptions::default() };
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = Broker::new("hall", "", &options, true).unwrap_err();
        assert!(matches!(error, MqttError::OpenSecret { .. }));
        assert!(error.to_string().contains("chmod o-rwx"), "{error}");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let broker = Broker::new("hall", "", &options, true).unwrap();
        assert_eq!(broker.options.credentials().unwrap().password, "secret");
    }

    #[test]
    fn files_that_are_not_what_they_should_be_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let options = MqttOptions { ca_file: Some(path.clone()), ..MqttOptions::default() };
        let error = || Broker::new("hall", "", &options, true).unwrap_err().to_string();
        assert!(error().contains("ca_file") && error().contains("ca.pem"), "{}", error());
        fs::write(&path, "hello").unwrap();
        assert!(error().contains("no certificate"), "{}", error());
    }
}
