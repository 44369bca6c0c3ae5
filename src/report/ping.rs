//! A service that watches over scheduled jobs is told when one begins and how it ends, as healthchecks.io takes it: `URL/start`, `URL` for a
//! success, and `URL/CODE` for another exit code, with what happened as the body.

use std::io;
use std::thread::{self, JoinHandle};

use reqwest::Method;

use super::web::{ServiceUrl, send, send_once};

/// A service that has been told that a command has begun, or is being told so.
pub(super) struct Ping {
    url: ServiceUrl,
    begun: JoinHandle<()>,
}

impl Ping {
    /// Tells it in the background.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(super) fn begin(url: &ServiceUrl) -> io::Result<Self> {
        let begins = url.with(["start"]);
        let begun = thread::Builder::new()
            .name("ping".to_owned())
            .spawn(move || {
                if let Err(error) = send_once(&Method::POST, &begins, "") {
                    tracing::warn!("can't tell the ping URL that the command begins: {error:#}");
                }
            })?;
        Ok(Self {
            url: url.clone(),
            begun,
        })
    }

    /// Tells it how the command ended.
    pub(super) fn end(self, exit_code: u8, text: &str) {
        // A panic there has been told, and says nothing of the command.
        let _ = self.begun.join();
        let url = match exit_code {
            0 => self.url,
            code => self.url.with([code.to_string().as_str()]),
        };
        if let Err(error) = send(&Method::POST, &url, text) {
            tracing::warn!("can't tell the ping URL how the command ended: {error:#}");
        }
    }
}
