//! The run's lock: an advisory lock that an open transaction on a connection of its own holds.
//!
//! A lock of the session would stay with a pooler's server connection after the run is gone. A transaction
//! keeps its server connection for itself even at a pooler in transaction mode, and ends with the client.
//! It has no transaction id and, read committed, no snapshot between statements: vacuum doesn't wait for it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use postgres::Client;
use sha2::{Digest, Sha256};

use super::classify::classify;
use super::message::{Failure, Statement, ask};
use super::settings::Complete;
use super::{connection, statements};
use crate::engine::within::within;
use crate::target::TargetResult;

/// How long the server may take to show that the lock's connection lives, or to end it.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a pooler may let the run's own connection wait while the lock keeps one for itself.
const SECOND_CONNECTION: Duration = Duration::from_secs(15);

/// The lock is of no table.
const NO_SCHEMA: &str = "";

/// A key of PostgreSQL's advisory locks, which all programs in a database share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LockKey(pub(super) i64);

impl LockKey {
    /// The lock of the checkpoint `name` in the schema.
    pub(super) fn of_run(schema: &str, name: &str) -> Self {
        Self::of(&["fga-sync", schema, name])
    }

    /// The lock of the schema's tables while they are changed.
    pub(super) fn of_migration(schema: &str) -> Self {
        Self::of(&["fga-sync migrate", schema])
    }

    /// The lock of the schema's list of checkpoints while one is added.
    pub(super) fn of_new_checkpoint(schema: &str) -> Self {
        Self::of(&["fga-sync new checkpoint", schema])
    }

    fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut key = [0; 8];
        key.copy_from_slice(&hash.finalize()[..8]);
        Self(i64::from_be_bytes(key))
    }
}

/// The lock, held from [`take`](Self::take) until this is dropped or its connection breaks.
pub(super) struct RunLock {
    key: LockKey,
    /// Whether it was taken once, and is to be taken again where it is lost.
    was_taken: bool,
    /// Whether it is held, as long as the connection lives.
    is_held: bool,
    client: Option<Client>,
}

impl RunLock {
    /// A lock that is not taken yet.
    pub(super) const fn on(key: LockKey) -> Self {
        Self {
            key,
            was_taken: false,
            is_held: false,
            client: None,
        }
    }

    /// Whether this is the lock of that key.
    pub(super) fn is_on(&self, key: LockKey) -> bool {
        self.key == key
    }

    /// Whether it was taken once.
    pub(super) const fn was_taken(&self) -> bool {
        self.was_taken
    }

    /// Whether it was taken and is not held any more. Ends a connection that does not answer, with whatever it holds.
    pub(super) fn is_lost(&mut self) -> bool {
        let is_alive = |client: &mut Client| client.is_valid(ALIVE_TIMEOUT).is_ok();
        if self.is_held && !self.client.as_mut().is_some_and(is_alive) {
            self.is_held = false;
            self.client = None;
        }
        self.was_taken && !self.is_held
    }

    /// Does work on the run's own connection. What it came to is an error where it was not done before the lock was given up: a
    /// pooler that has one connection to the server, which the lock keeps for itself, lets the other wait for minutes.
    pub(super) fn beside<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> Result<T, T> {
        thread::scope(|scope| {
            let (sender, done) = mpsc::sync_channel(1);
            let worker = scope.spawn(move || {
                let done = work();
                // Nobody hears it where the time was up.
                let _ = sender.send(());
                done
            });
            let in_time = done.recv_timeout(SECOND_CONNECTION) != Err(RecvTimeoutError::Timeout);
            if !in_time {
                self.release();
            }
            match worker.join() {
                Ok(done) if in_time => Ok(done),
                Ok(done) => Err(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn release(&mut self) {
        if self.is_held
            && let Some(mut client) = self.client.take()
        {
            within(ALIVE_TIMEOUT, move || client.batch_execute("rollback"));
        }
        self.is_held = false;
    }

    /// Takes the lock, on a connection of its own; `false` says that someone else holds it. The connection stays for
    /// the next attempt, but no transaction on it: a pooler with few connections may need the one that it would pin
    /// for the run that holds the lock.
    pub(super) fn take(&mut self, settings: &Complete) -> TargetResult<bool> {
        let mut client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => connection::connect(settings)?,
        };
        let mut take = || -> Result<bool, Failure> {
            let statements = [
                Statement::plain(statements::BEGIN),
                Statement::new(statements::TRY_LOCK, [self.key.0.into()]),
                Statement::plain(statements::KEEP_LOCK),
            ];
            let mut answers = ask(&mut client, NO_SCHEMA, statements)?;
            answers.next();
            let taken = answers.next().is_true();
            if !taken {
                client.batch_execute("rollback")?;
            }
            Ok(taken)
        };
        self.is_held = take().map_err(|failure| {
            failure.told(|error| classify("PostgreSQL failed to take the lock", error))
        })?;
        self.was_taken |= self.is_held;
        self.client = Some(client);
        Ok(self.is_held)
    }
}

impl Drop for RunLock {
    /// The server notices a moment later that a connection has ended, and a run that follows at once would be kept out.
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of different versions must exclude each other.
    #[test]
    fn keys_stay_as_they_are() {
        assert_eq!(
            LockKey::of_run("public", "01HVMMBCMGZNT3SED4Z17ECXCA"),
            LockKey(-6_542_394_793_105_141_417)
        );
        assert_eq!(
            LockKey::of_migration("public"),
            LockKey(-7_901_610_779_540_165_352)
        );
    }

    #[test]
    fn names_do_not_run_into_each_other() {
        assert_ne!(LockKey::of_run("a", "bc"), LockKey::of_run("ab", "c"));
        assert_ne!(LockKey::of_run("a", "b"), LockKey::of_migration("a"));
    }
}
