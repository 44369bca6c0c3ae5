//! A TCP proxy that cuts connections exactly where a test wants it, such as around a COMMIT.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// How long the server may take for the answer that `Cut::AfterForward` keeps from the client.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// An answer is complete when nothing came after it for so long.
const QUIET: Duration = Duration::from_millis(20);

/// What to do with a connection when a chunk has come from its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Forward the chunk and go on.
    No,
    /// Drop both sides: the server never has the chunk.
    BeforeForward,
    /// Forward the chunk and drop the client: the server acts on it, the client never sees the answer.
    AfterForward,
    /// Forward the chunk and the first part of the answer, and drop both sides a moment later.
    AfterReply,
}

type Hook = Box<dyn FnMut(&mut [u8]) -> Cut + Send>;

/// Forwards connections from a loopback port of its own to a server, until dropped.
pub struct TcpProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    hook: Mutex<Hook>,
    connections: Mutex<Vec<Arc<Connection>>>,
    cuts: AtomicUsize,
    stopped: AtomicBool,
}

impl TcpProxy {
    /// Starts one before the server at this address.
    pub fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            hook: Mutex::new(Box::new(|_| Cut::No)),
            connections: Mutex::default(),
            cuts: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { address, shared })
    }

    /// Starts one before the server on this loopback port.
    pub fn before_port(port: u16) -> anyhow::Result<Self> {
        Self::start(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Replaces the hook, which sees every chunk that any client sends. Encrypted connections show it nothing.
    pub fn cut_when(&self, mut hook: impl FnMut(&[u8]) -> Cut + Send + 'static) {
        *lock(&self.shared.hook) = Box::new(move |chunk| hook(chunk));
    }

    /// Replaces the hook by one that changes what any client sends.
    pub fn change(&self, mut hook: impl FnMut(&mut [u8]) + Send + 'static) {
        *lock(&self.shared.hook) = Box::new(move |chunk| {
            hook(chunk);
            Cut::No
        });
    }

    /// Cuts once, at the first chunk that holds this text in any case.
    pub fn cut_once_at(&self, text: &str, cut: Cut) {
        let text = text.to_ascii_lowercase().into_bytes();
        let mut done = false;
        self.cut_when(move |chunk| {
            if done || !holds(chunk, &text) {
                return Cut::No;
            }
            done = true;
            cut
        });
    }

    /// Drops every connection now.
    pub fn cut_all(&self) {
        for connection in lock(&self.shared.connections).drain(..) {
            connection.close();
        }
    }

    /// How often the hook has cut.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
        self.cut_all();
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            // A server that is down looks to the client as it would without the proxy: a connection that fails.
            let Ok(server) = TcpStream::connect(self.upstream) else {
                continue;
            };
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            let connection = Arc::new(Connection {
                client,
                server,
                state: Mutex::default(),
            });
            {
                let mut connections = lock(&self.connections);
                connections.retain(|old| Arc::strong_count(old) > 1);
                connections.push(Arc::clone(&connection));
            }
            let answering = Arc::clone(&connection);
            thread::spawn(move || answering.forward_answers());
            let shared = Arc::clone(&self);
            thread::spawn(move || shared.forward_requests(&connection));
        }
    }

    fn forward_requests(&self, connection: &Connection) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = (&connection.client).read(&mut buffer) {
            let chunk = &mut buffer[..length];
            let cut = (lock(&self.hook))(chunk);
            if cut != Cut::No {
                self.cuts.fetch_add(1, Ordering::SeqCst);
            }
            match cut {
                Cut::BeforeForward => break,
                Cut::AfterForward => return connection.swallow_answer(chunk),
                Cut::AfterReply => lock(&connection.state).answers = Answers::OneMore,
                Cut::No => {}
            }
            if (&connection.server).write_all(chunk).is_err() {
                break;
            }
        }
        connection.close();
    }
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answers: Answers,
    last_answer: Option<Instant>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Answers {
    #[default]
    Forward,
    OneMore,
    Swallow,
}

impl Connection {
    fn swallow_answer(&self, chunk: &[u8]) {
        {
            let mut state = lock(&self.state);
            state.answers = Answers::Swallow;
            state.last_answer = None;
        }
        if (&self.server).write_all(chunk).is_err() {
            return self.close();
        }
        let deadline = Instant::now() + ANSWER_WITHIN;
        while Instant::now() < deadline {
            let answered = lock(&self.state).last_answer;
            if answered.is_some_and(|last| last.elapsed() > QUIET) {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        let _ = self.client.shutdown(Shutdown::Both);
        // Only this direction, and the answers are still read: closing a socket with unread data resets the connection, and a
        // reset can take the chunk from a server that has not read it yet.
        let _ = self.server.shutdown(Shutdown::Write);
    }

    fn forward_answers(&self) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = (&self.server).read(&mut buffer) {
            let answers = {
                let mut state = lock(&self.state);
                state.last_answer = Some(Instant::now());
                state.answers
            };
            if answers == Answers::Swallow {
                continue;
            }
            if (&self.client).write_all(&buffer[..length]).is_err() {
                break;
            }
            if answers == Answers::OneMore {
                // A client that finds the answer and the end in one read may report the end only.
                sleep(QUIET);
                break;
            }
        }
        self.close();
    }

    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn holds(chunk: &[u8], lowercase: &[u8]) -> bool {
    chunk
        .windows(lowercase.len())
        .any(|window| window.eq_ignore_ascii_case(lowercase))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
