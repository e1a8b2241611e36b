//! The certificate authority of a server and the certificates of its listeners.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Making a key or a certificate failed.
    #[error("make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls does not take it.
    #[error("set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// The kept authority cannot be read or written.
    #[error("use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// A certificate authority: its certificate goes into kubeconfigs.
pub(crate) struct Authority {
    pub(crate) certificate_pem: String,
    key_pem: String,
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "fairway simulated clusters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

impl Authority {
    /// A new authority.
    pub(crate) fn generate() -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let certificate = authority_params()?.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The authority that is kept in a folder; made at the first start. Only its owner can read the key.
    pub(crate) fn keep_in(folder: &Path) -> Result<Self, TlsError> {
        let certificate_path = folder.join("ca.crt");
        let key_path = folder.join("ca.key");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Io { path, source }
        };
        if let (Ok(certificate_pem), Ok(key_pem)) = (
            fs::read_to_string(&certificate_path),
            fs::read_to_string(&key_path),
        ) {
            return Ok(Self {
                certificate_pem,
                key_pem,
            });
        }
        let made = Self::generate()?;
        fs::create_dir_all(folder).map_err(io(folder))?;
        crate::server::write_private(&key_path, &made.key_pem).map_err(io(&key_path))?;
        fs::write(&certificate_path, &made.certificate_pem).map_err(io(&certificate_path))?;
        Ok(made)
    }

    /// TLS settings with a certificate for the loopback addresses.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let authority_key = KeyPair::from_pem(&self.key_pem)?;
        let issuer = Issuer::new(authority_params()?, authority_key);
        let mut params = CertificateParams::new(vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
            "kubernetes.default.svc".to_owned(),
        ])?;
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
