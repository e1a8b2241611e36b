//! Whom a server must be certified by, and who we are to it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hyper_rustls::ConfigBuilderExt as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::OutboundError;

/// Authorities and a client certificate. By default the machine's authorities, and nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    authority: Option<String>,
    identity: Option<(String, String)>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust")
            .field("authority", &self.authority.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

impl Trust {
    /// Reads the keys that Flux knows: `ca.crt` (`caFile`), `tls.crt` and `tls.key` (`certFile`, `keyFile`).
    pub(crate) fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, OutboundError> {
        let text = |keys: [&str; 2]| -> Result<Option<String>, OutboundError> {
            let Some((key, bytes)) = keys
                .iter()
                .find_map(|key| data.get(*key).map(|bytes| (*key, bytes)))
            else {
                return Ok(None);
            };
            String::from_utf8(bytes.clone()).map(Some).map_err(|_| {
                OutboundError::Tls(format!("key '{key}' of the Secret is not valid UTF-8"))
            })
        };
        let identity = match (
            text(["tls.crt", "certFile"])?,
            text(["tls.key", "keyFile"])?,
        ) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(OutboundError::Tls(
                    "the Secret has only one of 'tls.crt' and 'tls.key'".to_owned(),
                ));
            }
        };
        Ok(Self {
            authority: text(["ca.crt", "caFile"])?,
            identity,
        })
    }

    /// The configuration for rustls, for HTTP/1.1.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, OutboundError> {
        static MACHINE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        if *self == Self::default() {
            if let Some(known) = MACHINE.get() {
                return Ok(known.clone());
            }
            let made = self.make()?;
            return Ok(MACHINE.get_or_init(|| made).clone());
        }
        self.make()
    }

    fn make(&self) -> Result<Arc<ClientConfig>, OutboundError> {
        let wrong = |what: &str| OutboundError::Tls(format!("{what} of the Secret cannot be used"));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc knows the default versions of TLS");
        let builder = match &self.authority {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|_| wrong("'ca.crt'"))?;
                    roots.add(certificate).map_err(|_| wrong("'ca.crt'"))?;
                }
                if roots.is_empty() {
                    return Err(wrong("'ca.crt'"));
                }
                builder.with_root_certificates(roots)
            }
            None => builder.with_native_roots().map_err(|error| {
                OutboundError::Tls(format!(
                    "this machine has no certificates of authorities: {error}"
                ))
            })?,
        };
        let mut config = match &self.identity {
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| wrong("'tls.crt'"))?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|_| wrong("'tls.key'"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| wrong("'tls.crt' and 'tls.key'"))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
