//! The certificate of the server: a new one, or the one in a folder.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The file with the certificate that clients must trust, in PEM.
pub const CA_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "server.pem";
const KEY_FILE: &str = "server.key";

/// The TLS configuration of a server with its own certificate authority.
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) ca_pem: String,
}

/// All in PEM. The key of the authority is not kept.
struct Certificate {
    ca: String,
    certificate: String,
    key: String,
}

impl Tls {
    /// For servers of this machine: `127.0.0.1` and `localhost`.
    pub(super) fn create() -> anyhow::Result<Self> {
        Certificate::create()
            .and_then(Certificate::into_tls)
            .context("cannot create a certificate")
    }

    /// The same with the certificate in the folder. If there is none, a new one is created and written there.
    pub(super) fn kept_in(folder: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot keep a certificate in {}", folder.display());
        let certificate = match Certificate::read(folder).with_context(context)? {
            Some(certificate) => certificate,
            None => {
                let certificate = Certificate::create().context("cannot create a certificate")?;
                certificate.write(folder).with_context(context)?;
                certificate
            }
        };
        let unusable = || format!("cannot use the certificate in {}", folder.display());
        certificate.into_tls().with_context(unusable)
    }
}

impl Certificate {
    fn create() -> anyhow::Result<Self> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "testbed");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();

        let key = KeyPair::generate()?;
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate =
            CertificateParams::new(names)?.signed_by(&key, &Issuer::new(ca, ca_key))?;
        Ok(Self {
            ca: ca_pem,
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// `None` unless all files exist.
    fn read(folder: &Path) -> io::Result<Option<Self>> {
        let read = |name| match fs::read_to_string(folder.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            text => text.map(Some),
        };
        let [ca, certificate, key] = [read(CA_FILE)?, read(CERTIFICATE_FILE)?, read(KEY_FILE)?];
        let all = ca.zip(certificate).zip(key);
        Ok(all.map(|((ca, certificate), key)| Self {
            ca,
            certificate,
            key,
        }))
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(CA_FILE), &self.ca)?;
        fs::write(folder.join(CERTIFICATE_FILE), &self.certificate)?;
        let mut key = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(folder.join(KEY_FILE))?;
        key.write_all(self.key.as_bytes())
    }

    fn into_tls(self) -> anyhow::Result<Tls> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        // The provider is explicit, because there is no default if other crates add a second one.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Tls {
            config: Arc::new(config),
            ca_pem: self.ca,
        })
    }
}
