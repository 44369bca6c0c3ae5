//! What a user calls a store and its settings: those of the source, or those of a target that is a store.

use crate::error::ErrorKind;
use crate::tls::Hints;

/// The words of one side, for messages and their advice.
#[derive(Debug)]
pub struct Words {
    /// Which side it is.
    pub side: &'static str,
    /// The forms of its URL.
    pub forms: &'static str,
    /// What kind of failure it is that the store can't be reached.
    pub unavailable: ErrorKind,
    /// What gives the URL.
    pub url: &'static str,
    /// What lets it be spoken to in the clear.
    pub allow_http: &'static str,
    /// What gives headers for a gateway.
    pub headers: &'static str,
    /// What gives the preshared key.
    pub token: &'static str,
    /// What gives the client's id.
    pub client_id: &'static str,
    /// What gives the client's secret, or its private key.
    pub client_secret: &'static str,
    /// What names the issuer of access tokens.
    pub issuer: &'static str,
    /// What access tokens are for.
    pub grants: &'static str,
    /// The setting of the client's private key.
    pub private_key: &'static str,
    /// The setting of how that signs.
    pub algorithm: &'static str,
    /// The setting of a certificate authority.
    pub authority: &'static str,
    /// The settings of a client certificate.
    pub identity: &'static str,
    /// What the job must be allowed to.
    pub rights: &'static str,
    /// What the job must be allowed to where models are copied.
    pub model_rights: &'static str,
    /// What to check where the store is not there.
    pub store_gone: &'static str,
    /// What to check where a request is wrong in itself.
    pub request: &'static str,
}

/// The source's.
pub static SOURCE: Words = Words {
    side: "source",
    forms: "a source is http://HOST, https://HOST, file:PATH or file:-",
    unavailable: ErrorKind::SourceUnavailable,
    url: "--source",
    allow_http: "--allow-http on a network that you trust (also source.allow_http, FGA_SYNC_ALLOW_HTTP=true)",
    headers: "FGA_CUSTOM_HEADERS (or source.headers_file)",
    token: "FGA_API_TOKEN (or source.auth.token_file)",
    client_id: "FGA_CLIENT_ID",
    client_secret: "FGA_CLIENT_SECRET (or source.auth.private_key)",
    issuer: "FGA_API_TOKEN_ISSUER",
    grants: "FGA_API_AUDIENCE and FGA_API_SCOPES",
    private_key: "source.auth.private_key",
    algorithm: "source.auth.algorithm",
    authority: "--tls-ca FILE (source.tls_ca)",
    identity: "--tls-cert FILE and --tls-key FILE (source.tls_cert, source.tls_key)",
    rights: "let the job read the store (GET /stores/ID), its changes (GET /stores/ID/changes) and its tuples (POST /stores/ID/read)",
    model_rights: "let the job read the store's models (GET /stores/ID/authorization-models), or leave --copy-model away",
    store_gone: "check --store-id; a store that was deleted is not \"nothing new\", so the target was left as it is",
    request: "check --source, --store-id, --type and --start-time",
};

/// A target's.
pub static TARGET: Words = Words {
    side: "target",
    forms: "a target that is a store is openfga+https://HOST[/PREFIX]?store=ID or openfga+http://HOST?store=ID",
    unavailable: ErrorKind::TargetUnavailable,
    url: "--target",
    allow_http: "--target-allow-http on a network that you trust (also target.allow_http, FGA_SYNC_TARGET_ALLOW_HTTP=true)",
    headers: "FGA_SYNC_TARGET_HEADERS (or target.headers_file)",
    token: "FGA_SYNC_TARGET_TOKEN (or target.auth.token_file)",
    client_id: "FGA_SYNC_TARGET_CLIENT_ID",
    client_secret: "FGA_SYNC_TARGET_CLIENT_SECRET (or target.auth.private_key)",
    issuer: "FGA_SYNC_TARGET_TOKEN_ISSUER",
    grants: "FGA_SYNC_TARGET_AUDIENCE and FGA_SYNC_TARGET_SCOPES",
    private_key: "target.auth.private_key",
    algorithm: "target.auth.algorithm",
    authority: "--target-tls-ca FILE (target.tls_ca)",
    identity: "--target-tls-cert FILE and --target-tls-key FILE (target.tls_cert, target.tls_key)",
    rights: "let the job read the target store (GET /stores/ID) and its tuples (POST /stores/ID/read), and write them (POST /stores/ID/write)",
    model_rights: "let the job read the target store's models (GET /stores/ID/authorization-models) and write them (POST to the same), or leave --copy-model away",
    store_gone: "check the store that --target names; one that was deleted or made anew is not filled on from an old position",
    request: "check --target and --target-model-id",
};

impl Words {
    /// How this side names certificates, for advice.
    pub(super) const fn hints(&self, shows_identity: bool) -> Hints {
        Hints {
            authority: self.authority,
            identity: self.identity,
            shows_identity,
        }
    }
}
