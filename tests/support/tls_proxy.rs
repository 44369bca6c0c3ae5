//! What stands before a server to speak TLS for it, as a gateway does: with a certificate of its own, and asking for
//! its clients' where it is told to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::certificates::Certified;

/// Takes TLS off connections to a loopback port of its own, and forwards them to a server, until dropped.
pub struct TlsProxy {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

impl TlsProxy {
    /// Starts one. With `client_authority`, it wants a client certificate of that authority.
    pub fn start(
        upstream: SocketAddr,
        certified: &Certified,
        client_authority: Option<&Path>,
    ) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match client_authority {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(file)?)?;
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()?,
                )
            }
        };
        let config = builder.with_single_cert(
            vec![CertificateDer::from_pem_file(&certified.certificate)?],
            PrivateKeyDer::from_pem_file(&certified.key)?,
        )?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::spawn(move || {
            runtime.block_on(async {
                let accepting = tokio::spawn(accept(listener, config, upstream, counter));
                // Dropping the sender is what stops it.
                let _ = stopped.await;
                accepting.abort();
            });
        });
        Ok(Self {
            address,
            accepted,
            _stop: stop,
        })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections came.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: std::net::TcpListener,
    config: ServerConfig,
    upstream: SocketAddr,
    accepted: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (client, _) = listener.accept().await?;
        accepted.fetch_add(1, Ordering::Relaxed);
        let acceptor = acceptor.clone();
        // What goes wrong with a connection is the client's to tell.
        tokio::spawn(async move {
            let mut client = acceptor.accept(client).await?;
            let mut server = TcpStream::connect(upstream).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}
