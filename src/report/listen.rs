//! While a command lasts, it answers over HTTP how far it is: `/metrics` for Prometheus, `/healthz` and `/readyz` for Kubernetes' probes.
//!
//! One thread serves, whatever the clients do: few at once, each for one request and for a limited time. It ends with the process, which does
//! not wait for it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, thread};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener as Listener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use url::Host;

use super::metrics::encode;
use super::under_way::UnderWay;

/// For a connection, from its request to the end of the answer. Prometheus waits as long by default.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that are served at once; others wait until one of these ends. Prometheus and the probes need one each.
const CONNECTIONS: usize = 16;
/// For the head of a request, in bytes; the least that hyper takes.
const LARGEST_HEAD: usize = 8 << 10;
/// Before another connection is accepted where the system had no room for one.
const PAUSE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// `None` for every interface.
    host: Option<Host>,
    port: u16,
}

impl ListenAddress {
    /// `HOST:PORT`, or `:PORT` for every interface.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = Some(host).filter(|host| !host.is_empty());
        Some(Self {
            host: host.map(Host::parse).transpose().ok()?,
            port: port.parse().ok()?,
        })
    }

    fn bind(&self) -> io::Result<TcpListener> {
        if self.host.is_some() {
            return TcpListener::bind(self.to_string());
        }
        // The first is for both where the machine has IPv6.
        let every: [SocketAddr; 2] = [
            (Ipv6Addr::UNSPECIFIED, self.port).into(),
            (Ipv4Addr::UNSPECIFIED, self.port).into(),
        ];
        TcpListener::bind(every.as_slice())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(formatter, "{host}")?;
        }
        write!(formatter, ":{}", self.port)
    }
}

/// Answers until it is dropped.
pub(super) struct Listening {
    _ends: oneshot::Sender<Infallible>,
}

impl Listening {
    /// Listens.
    ///
    /// # Errors
    /// Where the address is taken or not of this machine, or the system gives no thread.
    pub(super) fn begin(address: &ListenAddress, under_way: UnderWay) -> io::Result<Self> {
        let listener = address.bind()?;
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (ends, ended) = oneshot::channel();
        thread::Builder::new()
            .name("listen".to_owned())
            .spawn(move || listen(&runtime, listener, under_way, ended))?;
        Ok(Self { _ends: ends })
    }
}

fn listen(
    runtime: &Runtime,
    listener: TcpListener,
    under_way: UnderWay,
    ended: oneshot::Receiver<Infallible>,
) {
    runtime.spawn(async {
        match Listener::from_std(listener) {
            Ok(listener) => accept(listener, under_way).await,
            Err(error) => tracing::warn!("can't serve what --listen asks for: {error}"),
        }
    });
    // The other side is never sent anything: it goes away.
    let _ = runtime.block_on(ended);
}

async fn accept(listener: Listener, under_way: UnderWay) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // They are never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            // The client has gone, or there are no more files to be had.
            Err(error) => {
                tracing::debug!("can't accept a connection: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let under_way = under_way.clone();
        let answers = service_fn(move |request| {
            let answer = answer(&request, &under_way);
            async { Ok::<_, Infallible>(answer) }
        });
        let served = http1::Builder::new()
            .keep_alive(false)
            .header_read_timeout(None)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(connection), answers);
        tokio::spawn(async move {
            // A client that is slow, gone or no client of HTTP is nobody's trouble.
            let _ = timeout(TIMEOUT, served).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, under_way: &UnderWay) -> Response<String> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are answered");
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    match request.uri().path() {
        "/metrics" => match under_way.look(|samples| encode(samples, None)) {
            Ok(metrics) => with_type(StatusCode::OK, prometheus::TEXT_FORMAT, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        "/healthz" => text(StatusCode::OK, "ok"),
        "/readyz" => match under_way.lacks() {
            None => text(StatusCode::OK, "ready"),
            Some(what) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("not ready: {what}"),
            ),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "/metrics, /healthz and /readyz are here",
        ),
    }
}

fn text(status: StatusCode, line: &str) -> Response<String> {
    with_type(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_written() {
        for text in [":9464", "127.0.0.1:9464", "[::1]:9464", "localhost:0"] {
            let address = ListenAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in ["", ":", "9464", "::1:9464", "a b:1", "localhost:65536"] {
            assert_eq!(ListenAddress::parse(text), None, "{text}");
        }
    }
}
