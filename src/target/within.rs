//! A limit for work that a library does not bound.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What the work comes to, or nothing where it takes longer. Work that takes longer goes on in a thread of its own,
/// finds nobody to tell when it is done, and what it made is dropped.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || drop(sender.send(work())));
    receiver.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_longer_is_not_waited_for() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let (sender, receiver) = mpsc::channel::<()>();
        let waits = within(Duration::from_millis(10), move || receiver.recv());
        assert_eq!(waits, None);
        drop(sender);
    }
}
