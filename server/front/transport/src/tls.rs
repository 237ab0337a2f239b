//! TLS: what a server shows its clients, and what it wants to see of them.
//!
//! Knows no files: whoever has certificates hands them over as PEM.

use std::error::Error;
use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::who::{self, Names};

const HTTP2: &[u8] = b"h2";

/// Why certificates cannot be used.
pub type Unusable = Box<dyn Error + Send + Sync>;

/// How connections are opened: TLS 1.2 or 1.3, for HTTP/2 alone.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Makes it of a certificate with those that issued it, its key, and the authorities that
    /// clients have their certificates of; without these, clients need none. All are PEM.
    pub fn new(chain: &[u8], key: &[u8], roots: Option<&[u8]>) -> Result<Self, Unusable> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match roots {
            Some(roots) => builder.with_client_cert_verifier(verifier(roots, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config =
            builder.with_single_cert(certificates(chain)?, PrivateKeyDer::from_pem_slice(key)?)?;
        config.alpn_protocols = vec![HTTP2.to_vec()];
        if roots.is_some() {
            // A session that is taken up again would not show a certificate that has expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Opens a connection; returns it with the names in the client's certificate.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Names)> {
        let stream = self.0.accept(stream).await?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(HTTP2) {
            return Err(io::Error::other("it does not ask for HTTP/2 (ALPN h2)"));
        }
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let names = shown.map(who::names).unwrap_or_default();
        Ok((stream, names))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    Ok(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?)
}

fn verifier(
    roots: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Unusable> {
    let mut store = RootCertStore::empty();
    for root in certificates(roots)? {
        store.add(root)?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(store.into(), provider).build()?)
}
