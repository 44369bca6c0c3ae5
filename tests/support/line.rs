//! A long line to a server: what it carries arrives late, and it counts how often somebody waited for an answer.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Forwards connections from a loopback port of its own to a server, until dropped.
///
/// A round trip is an answer: something from the server after something from its client. The handshake of TCP is one too, and so is
/// a greeting, for which the client has only connected.
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    one_way: Mutex<Duration>,
    round_trips: AtomicUsize,
    stopped: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Client,
    Server,
}

impl Line {
    /// Starts one before the server on this loopback port. It is a short one at first.
    pub fn before_port(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            one_way: Mutex::default(),
            round_trips: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { address, shared })
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on a round trip takes so long.
    pub fn stretch(&self, round_trip: Duration) {
        *lock(&self.shared.one_way) = round_trip / 2;
    }

    /// How many there were, over all connections.
    pub fn round_trips(&self) -> usize {
        self.shared.round_trips.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let shared = Arc::clone(&self);
            thread::spawn(move || shared.connect(&client));
        }
    }

    fn connect(self: Arc<Self>, client: &TcpStream) {
        self.round_trips.fetch_add(1, Ordering::SeqCst);
        // The handshake: on loopback the client took it to be over at once.
        sleep(self.one_way() * 2);
        let Ok(server) = TcpStream::connect(self.server) else {
            return;
        };
        let last = Arc::new(Mutex::new(Speaker::Client));
        self.carry(client, &server, Speaker::Client, &last);
        self.carry(&server, client, Speaker::Server, &last);
    }

    /// Carries what one side says to the other, in threads of its own.
    fn carry(
        self: &Arc<Self>,
        from: &TcpStream,
        to: &TcpStream,
        speaker: Speaker,
        last: &Arc<Mutex<Speaker>>,
    ) {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
            return;
        };
        let _ = to.set_nodelay(true);
        let (shared, last) = (Arc::clone(self), Arc::clone(last));
        let (underway, arriving) = mpsc::channel::<(Instant, Vec<u8>)>();
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                shared.hear(speaker, &last);
                let due = Instant::now() + shared.one_way();
                if underway.send((due, buffer[..length].to_vec())).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || {
            for (due, bytes) in arriving {
                sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
    }

    fn one_way(&self) -> Duration {
        *lock(&self.one_way)
    }

    fn hear(&self, speaker: Speaker, last: &Mutex<Speaker>) {
        let mut last = lock(last);
        if *last == Speaker::Client && speaker == Speaker::Server {
            self.round_trips.fetch_add(1, Ordering::SeqCst);
        }
        *last = speaker;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
