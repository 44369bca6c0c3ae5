//! Proof of a client's identity by its private key: `private_key_jwt` (RFC 7523, OpenID Connect Core 9).

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, KeyUtils};
use jsonwebtoken::errors::{ErrorKind as JwtErrorKind, new_error};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
    RsaKeyPair,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::words::Words;
use crate::error::{Error, ErrorKind, Result};

/// As the official SDKs have it.
const VALID_FOR: Duration = Duration::from_secs(120);

/// What signs assertions.
#[derive(Clone)]
pub struct AssertionKey {
    key: EncodingKey,
    algorithm: Algorithm,
    key_id: Option<String>,
    audience: String,
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AssertionKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

impl AssertionKey {
    /// The names of the algorithms, the default first.
    pub const ALGORITHMS: [&'static str; 3] = ["RS256", "ES256", "PS256"];

    /// Takes a private key in PEM: PKCS#8, or PKCS#1 for RSA. `audience` is whom the assertions are for, `words` what the user calls the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where it is not a key for this algorithm; the text holds nothing of it.
    pub fn from_pem(
        pem: &SecretString,
        algorithm: &str,
        key_id: Option<String>,
        audience: String,
        words: &Words,
    ) -> Result<Self> {
        let unusable = || {
            Error::usage(format!("the client's private key can't be used for {algorithm}")).advise(format!(
                "{} takes an unencrypted PEM (\"BEGIN PRIVATE KEY\"): RSA of 2048 bits or more for RS256 and PS256, P-256 in PKCS#8 for ES256; {} says which",
                words.private_key, words.algorithm
            ))
        };
        let pem = pem.expose_secret().as_bytes();
        let (algorithm, key) = match algorithm {
            "RS256" => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)),
            "PS256" => (Algorithm::PS256, EncodingKey::from_rsa_pem(pem)),
            "ES256" => (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
            _ => {
                return Err(Error::usage(format!(
                    "{} must be one of {}, and {algorithm:?} is not",
                    words.algorithm,
                    Self::ALGORITHMS.join(", ")
                )));
            }
        };
        let assertion = Self {
            key: key.map_err(|_| unusable())?,
            algorithm,
            key_id,
            audience,
        };
        // What the PEM's labels promise can still be wrong inside.
        assertion.sign("").map_err(|_| unusable())?;
        Ok(assertion)
    }

    /// A new assertion that `client_id` is who it says.
    ///
    /// # Errors
    /// Where signing fails.
    pub(super) fn sign(&self, client_id: &str) -> Result<String> {
        let failed = || Error::new(ErrorKind::Unexpected, "can't sign the client's assertion");
        install_ring();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| failed())?;
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: &self.audience,
            jti: ulid::Ulid::generate().to_string(),
            iat: now.as_secs(),
            exp: (now + VALID_FOR).as_secs(),
        };
        let header = Header {
            kid: self.key_id.clone(),
            ..Header::new(self.algorithm)
        };
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|error| failed().because(error))
    }
}

/// `jsonwebtoken` leaves the cryptography to a provider. Those that it brings are other implementations than the one
/// that does TLS here, so this is ring.
fn install_ring() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| {
            let (algorithm, der) = (*algorithm, key.as_bytes().to_vec());
            Ok(Box::new(RingSigner { algorithm, der }))
        },
        // Nothing is verified here.
        verifier_factory: |_, _| Err(new_error(JwtErrorKind::InvalidAlgorithm)),
        key_utils: KeyUtils::new_unimplemented(),
    };
    INSTALLED.get_or_init(|| {
        // Nobody else installs one.
        let _ = PROVIDER.install_default();
    });
}

struct RingSigner {
    algorithm: Algorithm,
    der: Vec<u8>,
}

impl signature::Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let random = SystemRandom::new();
        let refused = |_| signature::Error::new();
        let padding: &'static dyn RsaEncoding = match self.algorithm {
            Algorithm::RS256 => &RSA_PKCS1_SHA256,
            Algorithm::PS256 => &RSA_PSS_SHA256,
            Algorithm::ES256 => {
                let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
                return EcdsaKeyPair::from_pkcs8(curve, &self.der, &random)
                    .map_err(refused)?
                    .sign(&random, message)
                    .map(|signature| signature.as_ref().to_vec())
                    .map_err(|_| signature::Error::new());
            }
            _ => return Err(signature::Error::new()),
        };
        let key = RsaKeyPair::from_der(&self.der).map_err(refused)?;
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &random, message, &mut signature)
            .map_err(|_| signature::Error::new())?;
        Ok(signature)
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
