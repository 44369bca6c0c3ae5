//! Signing in to the API: not at all, by a preshared key, or by access tokens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::SecretString;

use super::answer::Failure;
use super::client_credentials::{ClientCredentials, TokenSource};
use super::http::{Http, bearer};
use super::words::Words;
use crate::error::{Error, Result};

/// How to sign in.
#[derive(Debug, Clone)]
pub enum SignIn {
    /// Not at all.
    None,
    /// By a preshared key, sent as a bearer token.
    Preshared(SecretString),
    /// By access tokens of an issuer.
    ClientCredentials(Box<ClientCredentials>),
}

/// What goes with each request. Clones share their access tokens.
#[derive(Clone)]
pub(super) enum Bearer {
    Fixed(Option<HeaderValue>),
    Renewed(Arc<Mutex<TokenSource>>),
}

impl Bearer {
    /// # Errors
    /// Where a preshared key can't be a header's value.
    pub(super) fn new(sign_in: SignIn, words: &'static Words) -> Result<Self> {
        Ok(match sign_in {
            SignIn::None => Self::Fixed(None),
            SignIn::Preshared(token) => Self::Fixed(Some(bearer(&token).ok_or_else(|| {
                Error::usage("the API token holds characters that a header can't carry")
            })?)),
            SignIn::ClientCredentials(credentials) => {
                let tokens = TokenSource::new(*credentials, words);
                Self::Renewed(Arc::new(Mutex::new(tokens)))
            }
        })
    }

    /// The header that signs a request, where one does. Who needs a token while another thread fetches one waits for
    /// that.
    pub(super) fn header(
        &self,
        http: &Http,
        timeout: Duration,
    ) -> Result<Option<HeaderValue>, Failure> {
        match self {
            Self::Fixed(header) => Ok(header.clone()),
            Self::Renewed(tokens) => locked(tokens).header(http, timeout).map(Some),
        }
    }

    /// How requests are signed in, in words.
    pub(super) const fn how(&self) -> &'static str {
        match self {
            Self::Fixed(None) => "no token is set, and none was asked for",
            Self::Fixed(Some(_)) => "a token is sent, and not refused",
            Self::Renewed(_) => "the token endpoint gives an access token, and that is not refused",
        }
    }

    /// Forgets a header that the API refused, unless there is another since; tells whether there is or can be.
    pub(super) fn renew(&self, refused: &HeaderValue) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Renewed(tokens) => {
                tracing::debug!("the access token was refused; another is fetched");
                locked(tokens).forget(refused);
                true
            }
        }
    }
}

fn locked(tokens: &Mutex<TokenSource>) -> MutexGuard<'_, TokenSource> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}
