//! The questions that a run begins with, asked one by one by whoever wants to know which of them is refused.

use super::OpenFga;
use super::client;
use crate::checkpoint::StoreIdentity;
use crate::error::{Error, Result};
use crate::source::Observed;

/// What the first request told.
#[derive(Debug)]
pub struct FirstAnswer {
    /// The store, or why it was not told.
    pub store: Result<StoreIdentity, Refusal>,
    /// What was observed on the way.
    pub observed: Observed,
}

/// Why a store is not told.
#[derive(Debug)]
pub enum Refusal {
    /// The server does not know who asks.
    SignIn(Error),
    /// Whatever else.
    Other(Error),
}

impl OpenFga {
    /// Gets an access token, where requests are signed in by one. Says how they are signed in.
    ///
    /// # Errors
    /// Where there is no token to be had.
    pub fn sign_in(&self) -> Result<&'static str> {
        self.client.sign_in()
    }

    /// Asks which store this is, as [`store`](crate::source::ChangeSource::store) does.
    pub fn ask_first(&self) -> FirstAnswer {
        let client::Answer { value, observed } = self.ask_store();
        let store = value.map_err(|failure| {
            if failure.is_of_sign_in {
                Refusal::SignIn(failure.error)
            } else {
                Refusal::Other(failure.error)
            }
        });
        let store = store.and_then(|store| self.check_store(store).map_err(Refusal::Other));
        FirstAnswer { store, observed }
    }
}
