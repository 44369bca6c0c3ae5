//! An HTTP/1.1 server for tests that can also answer as none should: late, in part, or not at all.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a wait looks whether the server has ended.
const POLL: Duration = Duration::from_millis(10);
const CHUNK: usize = 1 << 20;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An answer, and how it comes over the line.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Spaces after the body, as part of it: a large answer need not be in memory.
    pub padding: usize,
    /// Before anything is sent.
    pub delay: Duration,
    pub line: Line,
}

/// What happens to an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Line {
    #[default]
    Good,
    /// The connection is dropped and no answer sent,
    DropBeforeHeaders,
    /// in the middle of the headers,
    DropInHeaders,
    /// or in the middle of the body.
    DropInBody,
    /// The headers come in two parts with a pause between,
    PauseInHeaders(Duration),
    /// or the body.
    PauseInBody(Duration),
}

type Handler = Box<dyn Fn(HttpRequest) -> HttpAnswer + Send + Sync>;

/// The server, on a loopback port of its own. It ends when dropped.
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Handler,
    listening: AtomicBool,
    ended: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl HttpServer {
    pub fn start(handler: impl Fn(HttpRequest) -> HttpAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                handler: Box::new(handler),
                listening: AtomicBool::new(true),
                ended: AtomicBool::default(),
                connections: Mutex::default(),
            }),
        };
        server.accept(listener);
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections and drops those that are open, until [`listen`](Self::listen).
    pub fn refuse(&self) {
        if self.shared.listening.swap(false, Ordering::SeqCst) {
            // Wakes the thread that waits for connections, and comes back when it has dropped the listener.
            while TcpStream::connect(self.address).is_ok() {
                thread::sleep(POLL);
            }
        }
        self.shared.drop_connections();
    }

    /// Accepts connections again, on the same port.
    pub fn listen(&self) {
        if !self.shared.listening.swap(true, Ordering::SeqCst) {
            self.accept(TcpListener::bind(self.address).unwrap());
        }
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                if !shared.listening.load(Ordering::SeqCst) {
                    return;
                }
                let _ = connection.set_nodelay(true);
                shared.connections().extend(connection.try_clone());
                // A thread for each, so that a slow answer holds up no other client.
                let shared = Arc::clone(&shared);
                // The client may go at any moment.
                thread::spawn(move || drop(shared.serve(&connection)));
            }
        });
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.refuse();
    }
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_connections(&self) {
        for connection in self.connections().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn serve(&self, connection: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection);
        while let Some(request) = read_request(&mut reader)? {
            let answer = (self.handler)(request);
            if !self.send(connection, &answer)? {
                break;
            }
        }
        connection.shutdown(Shutdown::Both)
    }

    /// Whether the connection can be used again.
    fn send(&self, mut to: &TcpStream, answer: &HttpAnswer) -> std::io::Result<bool> {
        self.wait(answer.delay);
        let head = answer.head();
        let (head_begins, head_ends) = head.as_bytes().split_at(head.len() / 2);
        let (body_begins, body_ends) = answer.body.split_at(answer.body.len() / 2);
        if answer.line == Line::DropBeforeHeaders {
            return Ok(false);
        }
        to.write_all(head_begins)?;
        match answer.line {
            Line::DropInHeaders => return Ok(false),
            Line::PauseInHeaders(pause) => self.wait(pause),
            _ => {}
        }
        to.write_all(head_ends)?;
        to.write_all(body_begins)?;
        match answer.line {
            Line::DropInBody => return Ok(false),
            Line::PauseInBody(pause) => self.wait(pause),
            _ => {}
        }
        to.write_all(body_ends)?;
        let spaces = vec![b' '; CHUNK];
        let mut left = answer.padding;
        while left > 0 {
            let count = left.min(CHUNK);
            to.write_all(&spaces[..count])?;
            left -= count;
        }
        Ok(true)
    }

    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.ended.load(Ordering::SeqCst) {
            thread::sleep(POLL.min(pause));
        }
    }
}

impl HttpAnswer {
    /// A status and a body, sent at once.
    pub const fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            padding: 0,
            delay: Duration::ZERO,
            line: Line::Good,
        }
    }

    fn head(&self) -> String {
        let length = self.body.len() + self.padding;
        let mut head = format!("HTTP/1.1 {} -\r\ncontent-length: {length}\r\n", self.status);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head + "\r\n"
    }
}

/// The next request of a connection, or `None` when the client has closed it.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<HttpRequest>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&head).map_err(std::io::Error::other)?;
    let headers: Vec<_> = parsed
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_ascii_lowercase(), value)
        })
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, length)| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(HttpRequest {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers,
        body,
    }))
}
