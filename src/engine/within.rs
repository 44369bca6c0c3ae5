//! A limit for work that a library does not bound.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::span::inherited;
use crate::target::{TargetError, TargetResult};
use crate::worker::do_beside;

/// The drivers bound the time until a host accepts, and say more of it, so they get to speak first.
const GRACE: Duration = Duration::from_millis(500);

/// Silence after which it is asked whether another server than the wanted one listens. MySQL may look our name up first.
const SILENCE: Duration = Duration::from_secs(1);

/// Connects, unless the host accepts and then stays silent: a driver would wait as long as it lives. `stranger` asks whether it is
/// because another server listens there than the wanted one, and `doing` says what failed.
pub(super) fn sign_in<T: Send + 'static>(
    doing: &str,
    limit: Duration,
    stranger: impl FnOnce() -> Option<TargetError>,
    connect: impl FnOnce() -> T + Send + 'static,
) -> TargetResult<T> {
    let until = Instant::now() + limit + GRACE;
    let done = start(connect);
    if let Ok(done) = done.recv_timeout(SILENCE.min(limit)) {
        return Ok(done);
    }
    if let Some(stranger) = stranger() {
        return Err(stranger);
    }
    let rest = until.saturating_duration_since(Instant::now());
    done.recv_timeout(rest).map_err(|_| {
        TargetError::Interrupted(
            Error::new(
                ErrorKind::TargetUnavailable,
                format!("{doing}: it accepted the connection and did not answer within {limit:?}"),
            )
            .advise("see whether the server, or the pooler before it, is overloaded or stopped"),
        )
    })
}

/// The addresses of a host, unless nobody looks its name up in time.
pub(crate) fn look_up(host: &str, port: u16, limit: Duration) -> anyhow::Result<Vec<SocketAddr>> {
    let host = (host.to_owned(), port);
    let found = within(limit, move || host.to_socket_addrs())
        .ok_or_else(|| anyhow::anyhow!("nobody looked its name up in {limit:?}"))??;
    Ok(found.collect())
}

/// What the work comes to, or nothing where it takes longer. Work that takes longer goes on in a thread of its own,
/// finds nobody to tell when it is done, and what it made is dropped.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    start(work).recv_timeout(limit).ok()
}

fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = inherited(work);
    do_beside(move || drop(sender.send(work())));
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_looks_up_is_not_waited_for() {
        let found = look_up("127.0.0.1", 7, Duration::from_secs(60)).unwrap();
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 7))]);
        let error = look_up("no-such-host.invalid", 7, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("nobody looked"), "{error}");
    }

    #[test]
    fn what_takes_longer_is_not_waited_for() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let (sender, receiver) = mpsc::channel::<()>();
        let waits = within(Duration::from_millis(10), move || receiver.recv());
        assert_eq!(waits, None);
        drop(sender);
    }
}
