//! TLS on a listener: its certificate and key are read again when their files change, for the connections that come then.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tidecast_config::{ConfigError, ListenerName, Settings, TlsFiles};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a client may take for its part of the handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// One listener's TLS.
pub(crate) struct Tls {
    files: TlsFiles,
    protocols: &'static [&'static str],
    config: RwLock<Arc<ServerConfig>>,
    /// What was read last, good or not: only a change is worth a try, or a word.
    read: Mutex<(Vec<u8>, Vec<u8>)>,
}

/// Without what was read: a key is never printed.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// As the settings of the listener say; `None` where it speaks in the clear. `protocols` are offered in this order.
    pub(crate) fn load(
        settings: &Settings,
        name: ListenerName,
        protocols: &'static [&'static str],
    ) -> Result<Option<Arc<Self>>, ConfigError> {
        let Some(files) = settings.listener(name).tls.clone() else { return Ok(None) };
        let path = |key: &str| format!("{}.{key}", name.as_str());
        let read = |setting: String, file: &std::path::Path| {
            std::fs::read(file).map_err(|error| {
                let found = format!("\"{}\", which cannot be read ({error})", file.display());
                settings.refuse(&setting, found, "a readable PEM file")
            })
        };
        let certificate = read(path("tls_certfile"), &files.certificate)?;
        let key = read(path("tls_keyfile"), &files.key)?;
        let config = config(&certificate, &key, protocols).map_err(|(setting, why)| {
            let file = if setting == "tls_keyfile" { &files.key } else { &files.certificate };
            let found = format!("\"{}\", which cannot be used: {why}", file.display());
            settings.refuse(
                &path(setting),
                found,
                "a certificate with its chain, and the key that belongs to it",
            )
        })?;
        let config = RwLock::new(config);
        Ok(Some(Arc::new(Tls { files, protocols, config, read: Mutex::new((certificate, key)) })))
    }

    /// The client's handshake; `None` when it fails or does not end in time.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let handshake = TlsAcceptor::from(config).accept(stream);
        match tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => None,
        }
    }

    /// Looks at the files again and again, until dropped. Connections that are open keep what they began with.
    pub(crate) async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (certificate, key) =
                (tokio::fs::read(&self.files.certificate).await, tokio::fs::read(&self.files.key).await);
            // Files are replaced one after the other: what is not there, or does not fit yet, may in a moment.
            let (Ok(certificate), Ok(key)) = (certificate, key) else { continue };
            let both = (certificate, key);
            {
                let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
                if *read == both {
                    continue;
                }
                *read = both.clone();
            }
            let file = self.files.certificate.display();
            match config(&both.0, &both.1, self.protocols) {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!(%file, "certificate changed: new connections use it");
                }
                Err((_, why)) => {
                    tracing::warn!(%file, why, "the changed certificate cannot be used; the one before stays");
                }
            }
        }
    }
}

/// From PEM to what a handshake needs; the error names the setting at fault.
fn config(
    certificate: &[u8],
    key: &[u8],
    protocols: &[&str],
) -> Result<Arc<ServerConfig>, (&'static str, String)> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| ("tls_certfile", error.to_string()))?;
    if chain.is_empty() {
        return Err(("tls_certfile", "it holds no certificate".to_owned()));
    }
    // What is wrong with a key is not told in its own words.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| ("tls_keyfile", "it holds no private key in PEM".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ("tls_certfile", error.to_string()))?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| ("tls_keyfile", format!("it does not fit the certificate ({error})")))?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
