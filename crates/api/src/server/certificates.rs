//! The server's certificate and key, read again when their files change.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at: soon enough for whoever renews a certificate days before it ends.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What HTTP is spoken behind TLS.
const PROTOCOL: &[u8] = b"http/1.1";

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What was found.
        #[source]
        source: pem::Error,
    },
    /// They do not belong together, or cannot be used.
    #[error("the certificate and the key cannot be used together")]
    Tls(#[from] rustls::Error),
}

/// What the files held.
#[derive(PartialEq, Eq)]
struct Pems {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<(Pems, Arc<ServerConfig>)>,
}

/// A certificate and its key. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct Certificates(Arc<Inner>);

impl Certificates {
    /// Reads a certificate, with those that vouch for it behind it, and its key.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let pems = read(&certificate, &key)?;
        let config = config(&pems, &certificate, &key)?;
        Ok(Self(Arc::new(Inner { certificate, key, current: RwLock::new((pems, Arc::new(config))) })))
    }

    /// Reads the files again, and says whether they have changed. Connections that are open stay as they are.
    ///
    /// # Errors
    /// If they cannot be used; those that were read before go on to be.
    pub fn look(&self) -> Result<bool, CertificateError> {
        let Inner { certificate, key, current } = &*self.0;
        let pems = read(certificate, key)?;
        if current.read().unwrap_or_else(PoisonError::into_inner).0 == pems {
            return Ok(false);
        }
        let config = Arc::new(config(&pems, certificate, key)?);
        *current.write().unwrap_or_else(PoisonError::into_inner) = (pems, config);
        Ok(true)
    }

    /// Looks from time to time until `shutdown`.
    pub async fn follow(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
            match self.look() {
                Ok(false) => {}
                Ok(true) => tracing::info!("the certificate has changed, and is used from now on"),
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the certificate has changed and cannot be used: the one before still is"
                ),
            }
        }
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.0.certificate).finish()
    }
}

fn read(certificate: &PathBuf, key: &PathBuf) -> Result<Pems, CertificateError> {
    let file = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| CertificateError::File { path: path.clone(), source })
    };
    Ok(Pems { certificate: file(certificate)?, key: file(key)? })
}

fn config(pems: &Pems, certificate: &PathBuf, key: &PathBuf) -> Result<ServerConfig, CertificateError> {
    let refused = |path: &PathBuf, what| {
        let path = path.clone();
        move |source| CertificateError::Pem { path, what, source }
    };
    let chain = CertificateDer::pem_slice_iter(&pems.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused(certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&pems.key).map_err(refused(key, "private key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}
