//! Signing in to the API: not at all, by a preshared key, or by access tokens.

use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::SecretString;

use super::answer::Failure;
use super::client_credentials::{ClientCredentials, TokenSource};
use super::http::{Http, bearer};
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

/// What goes with each request.
pub(super) enum Bearer {
    Fixed(Option<HeaderValue>),
    Renewed(Box<TokenSource>),
}

impl Bearer {
    /// # Errors
    /// Where a preshared key can't be a header's value.
    pub(super) fn new(sign_in: SignIn) -> Result<Self> {
        Ok(match sign_in {
            SignIn::None => Self::Fixed(None),
            SignIn::Preshared(token) => Self::Fixed(Some(bearer(&token).ok_or_else(|| {
                Error::usage("the API token holds characters that a header can't carry")
            })?)),
            SignIn::ClientCredentials(credentials) => {
                Self::Renewed(Box::new(TokenSource::new(*credentials)))
            }
        })
    }

    /// The header that signs a request, where one does.
    pub(super) fn header(
        &mut self,
        http: &Http,
        timeout: Duration,
    ) -> Result<Option<HeaderValue>, Failure> {
        match self {
            Self::Fixed(header) => Ok(header.clone()),
            Self::Renewed(tokens) => tokens.header(http, timeout).map(Some),
        }
    }

    /// Forgets a header that the API refused, where there can be another; tells whether there can.
    pub(super) fn renew(&mut self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Renewed(tokens) => {
                tracing::debug!("the access token was refused; another is fetched");
                tokens.forget();
                true
            }
        }
    }
}
