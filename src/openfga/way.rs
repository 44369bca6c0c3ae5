//! The way to a server, stretch by stretch: its name, a connection, its certificate. A request goes all of it at once, and says less of each.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::client::proxy::matcher::Matcher;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use url::Url;
use x509_cert::Certificate as X509;
use x509_cert::der::Decode;

use super::answer::unreachable;
use super::http::{is_this_machine, shown};
use super::{OpenFgaSettings, Words};
use crate::engine::look_up;
use crate::error::{Error, Result};
use crate::tls::{TlsSettings, explain};

/// How long each stretch may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to the server of a store.
#[derive(Debug)]
pub struct Way<'a> {
    url: &'a Url,
    tls: &'a TlsSettings,
    words: &'static Words,
    /// The proxy that requests go to instead, as the HTTP client finds it.
    proxy: Option<Proxy>,
}

#[derive(Debug)]
struct Proxy {
    host: String,
    port: u16,
}

/// What a server's certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Who issued it: a distinguished name (RFC 4514).
    pub issuer: String,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

impl<'a> Way<'a> {
    /// The way that requests with these settings take. Nothing is looked up yet.
    pub fn of(settings: &'a OpenFgaSettings) -> Self {
        let url = &settings.url;
        Self {
            url,
            tls: &settings.tls,
            words: settings.words,
            proxy: if is_this_machine(url) {
                None
            } else {
                Proxy::before(url)
            },
        }
    }

    /// The proxy that requests go by, without what may be secret.
    pub fn proxy(&self) -> Option<String> {
        let Proxy { host, port } = self.proxy.as_ref()?;
        Some(format!("{host}:{port}"))
    }

    /// Whether what is sent there stays on this machine.
    pub fn stays_here(&self) -> bool {
        is_this_machine(self.url)
    }

    /// Whether the server is spoken to by TLS.
    pub fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The addresses of the server, or else of its proxy.
    ///
    /// # Errors
    /// Where its name is not known, or nobody looks it up in time.
    pub fn look_up(&self) -> Result<Vec<SocketAddr>> {
        let (host, port) = match &self.proxy {
            Some(Proxy { host, port }) => (host.as_str(), *port),
            None => (
                self.url.host_str().unwrap_or_default(),
                self.url.port_or_known_default().unwrap_or_default(),
            ),
        };
        look_up(host.trim_matches(['[', ']']), port, PATIENCE)
            .map_err(|error| self.broken(error.context(format!("looking {host} up"))))
    }

    /// A connection to the first of the addresses that accepts one.
    ///
    /// # Errors
    /// Where none does; what the last said.
    pub fn connect(&self, addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr)> {
        let mut failed = anyhow::anyhow!("the host has no address");
        for address in addresses {
            match TcpStream::connect_timeout(address, PATIENCE) {
                Ok(stream) => return Ok((stream, *address)),
                Err(error) => {
                    failed = anyhow::Error::new(error).context(format!("connecting to {address}"));
                }
            }
        }
        Err(self.broken(failed))
    }

    /// The certificate of the server at the other end, once it is trusted.
    ///
    /// # Errors
    /// Where it is not, or where no TLS is spoken there.
    pub fn certificate(&self, mut stream: TcpStream) -> Result<Certificate> {
        let config = Arc::new(self.tls.client_config()?);
        let shake_hands = || -> io::Result<ClientConnection> {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            let host = self.url.host_str().unwrap_or_default();
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
            let name = name.map_err(io::Error::other)?;
            let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
            while connection.is_handshaking() {
                if connection.complete_io(&mut stream)? == (0, 0) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(connection)
        };
        let connection = shake_hands().map_err(|error| self.not_trusted(error))?;
        let chain = connection.peer_certificates().unwrap_or_default();
        let own = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let read =
            X509::from_der(own).map_err(|error| self.not_trusted(io::Error::other(error)))?;
        let certificate = read.tbs_certificate;
        Ok(Certificate {
            issuer: certificate.issuer.to_string(),
            not_after: certificate.validity.not_after.to_system_time(),
        })
    }

    /// The whole way at once. There is no certificate where it is not encrypted, or ends at a proxy.
    ///
    /// # Errors
    /// Where it does not go on.
    pub fn go(&self) -> Result<Option<Certificate>> {
        if !self.is_encrypted() || self.proxy.is_some() {
            return Ok(None);
        }
        let (stream, _) = self.connect(&self.look_up()?)?;
        self.certificate(stream).map(Some)
    }

    fn broken(&self, why: anyhow::Error) -> Error {
        unreachable(&shown(self.url), why, self.words)
    }

    fn not_trusted(&self, error: io::Error) -> Error {
        let url = shown(self.url);
        // How a read ends that takes too long; the system has two words for it.
        if matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ) {
            let silence = anyhow::anyhow!(
                "it accepted the connection, and gave no answer within {PATIENCE:?}"
            );
            return unreachable(&url, silence, self.words);
        }
        let hints = self.words.hints(self.tls.identity.is_some());
        match explain(&error, hints) {
            Some(trouble) => trouble.error(&format!("can't read {url}"), self.words),
            None => unreachable(&url, error, self.words),
        }
    }
}

impl Proxy {
    /// As the HTTP client looks for it, by the same code.
    fn before(url: &Url) -> Option<Self> {
        let target = url.as_str().parse().ok()?;
        let found = Matcher::from_system().intercept(&target)?;
        let uri = found.uri();
        Some(Self {
            host: uri.host()?.to_owned(),
            port: uri.port_u16().unwrap_or(match uri.scheme_str() {
                Some("https") => 443,
                Some("http") | None => 80,
                Some(_) => 1080,
            }),
        })
    }
}
