//! TLS: the certificate, and its replacement while the server runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_host::config::TlsConfig;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::Error as PemError;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// The current certificate and key.
pub(super) struct Tls {
    files: TlsConfig,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the certificate and its key.
    pub(super) fn open(files: &TlsConfig) -> Result<Self> {
        Ok(Self { files: files.clone(), current: RwLock::new(read(files)?) })
    }

    /// Reads them again, for new connections. If that fails, the old ones stay in use.
    pub(super) fn reload(&self) {
        match read(&self.files) {
            Ok(read) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = read;
                tracing::info!(certificate = %self.files.certificate.display(), "reloaded the certificate");
            }
            Err(error) => tracing::error!(%error, "keeping the old certificate"),
        }
    }

    /// Returns the acceptor for the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(files: &TlsConfig) -> Result<Arc<ServerConfig>> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(&files.certificate, error))?;
    if certificates.is_empty() {
        return Err(unreadable(&files.certificate, PemError::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, error))?;
    let unfit = |error| {
        let message = format!(
            "cannot use the certificate {} and the key {}: {error}",
            files.certificate.display(),
            files.key.display()
        );
        Error::new(ErrorKind::InvalidInput, message).with_hint("use the key that belongs to the certificate")
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn unreadable(path: &Path, error: PemError) -> Error {
    match error {
        PemError::Io(error) => Error::io(format!("reading {}", path.display()), error),
        error => Error::new(ErrorKind::InvalidInput, format!("cannot use {}: {error:?}", path.display()))
            .with_hint("use a PEM file, as ACME clients write it"),
    }
}
