//! TLS, and a certificate that changes.

use std::{fs, path::PathBuf, sync::Arc};

use laurel_api::Certificates;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::{ASK, Served, answer};

/// A certificate's files.
struct Files {
    _folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

fn make() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        Self { _folder: folder, certificate, key }
    }

    fn write(&self, made: &CertifiedKey<KeyPair>) {
        fs::write(&self.certificate, made.cert.pem()).unwrap();
        fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
    }

    fn read(&self) -> Result<Certificates, laurel_api::CertificateError> {
        Certificates::read(self.certificate.clone(), self.key.clone())
    }
}

/// A connection of a client that trusts only that certificate.
async fn connect(served: &Served, trusted: &CertifiedKey<KeyPair>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, served.connect().await).await
}

async fn asks(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(ASK.as_bytes()).await.unwrap();
    let told = answer(stream).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
}

#[tokio::test]
async fn a_new_certificate_is_used_and_no_connection_is_dropped() {
    let (files, first, second) = (Files::new(), make(), make());
    files.write(&first);
    let certificates = files.read().unwrap();
    let served = Served::with(Some(certificates.clone())).await;
    let mut before = connect(&served, &first).await.unwrap();
    asks(&mut before).await;
    assert!(!certificates.look().unwrap());
    files.write(&second);
    assert!(certificates.look().unwrap());
    let mut after = connect(&served, &second).await.unwrap();
    asks(&mut after).await;
    asks(&mut before).await;
    assert!(connect(&served, &first).await.is_err());
    drop((before, after));
    served.stop().await;
}

#[tokio::test]
async fn what_is_no_certificate_does_not_take_its_place() {
    let (files, good) = (Files::new(), make());
    assert!(files.read().unwrap_err().to_string().contains("cannot be read"));
    files.write(&good);
    let certificates = files.read().unwrap();
    let served = Served::with(Some(certificates.clone())).await;
    fs::write(&files.key, make().signing_key.serialize_pem()).unwrap();
    assert!(certificates.look().unwrap_err().to_string().contains("together"));
    fs::write(&files.key, "nonsense").unwrap();
    assert!(certificates.look().unwrap_err().to_string().contains("no private key in PEM"));
    asks(&mut connect(&served, &good).await.unwrap()).await;
    served.stop().await;
}

#[tokio::test]
async fn nobody_is_served_without_tls_where_there_is_some() {
    let (files, made) = (Files::new(), make());
    files.write(&made);
    let served = Served::with(Some(files.read().unwrap())).await;
    let mut plain = served.connect().await;
    let told = super::talk(&mut plain, ASK).await;
    assert!(!told.contains("HTTP/1.1 200"), "{told}");
    served.stop().await;
}
