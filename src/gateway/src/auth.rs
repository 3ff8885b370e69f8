//! Tokens and tickets: from what a request carries to who is asking (contract section 12).

use crate::access::{Caller, Refusal, Role};
use crate::live::index::Pattern;
use crate::tickets::Tickets;
use axum::http::{HeaderMap, Uri, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidecast_config::{AuthKeys, ConfigError, Settings};

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Checks tokens as `[auth]` says.
pub struct Authenticator {
    key: Option<Key>,
    anybody: Arc<Caller>,
    /// Tickets that are out.
    pub tickets: Tickets,
}

/// One family of algorithms: a public key is never taken for a shared secret.
struct Key {
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    exp: f64,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    models: Option<Vec<String>>,
    #[serde(default)]
    topics: Option<Vec<String>>,
}

impl Authenticator {
    /// From the settings. Refuses what it cannot check, rather than let anybody in.
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let key = match &settings.auth {
            None => None,
            Some(auth) => {
                let (key, algorithm) = read_key(settings, &auth.keys)?;
                let mut validation = Validation::new(algorithm);
                // The library's own defaults are lenient: every check is set here.
                validation.algorithms = vec![algorithm];
                validation.leeway = auth.leeway.as_secs();
                validation.validate_exp = true;
                validation.validate_nbf = true;
                let mut required = vec!["exp"];
                validation.validate_aud = auth.audience.is_some();
                if let Some(audience) = &auth.audience {
                    validation.set_audience(&[audience]);
                    required.push("aud");
                }
                if let Some(issuer) = &auth.issuer {
                    validation.set_issuer(&[issuer]);
                    required.push("iss");
                }
                validation.set_required_spec_claims(&required);
                Some(Key { key, validation })
            }
        };
        Ok(Authenticator { key, anybody: Caller::anybody(), tickets: Tickets::default() })
    }

    /// A token has to be shown.
    pub fn is_required(&self) -> bool {
        self.key.is_some()
    }

    /// Who sent this request: `Ok(None)` when it shows nothing and something is wanted. A ticket is for WebSockets
    /// alone; a token in the address would stand in logs, and is refused.
    pub fn caller(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        is_websocket: bool,
    ) -> Result<Option<Arc<Caller>>, Refusal> {
        if self.key.is_none() {
            return Ok(Some(self.anybody.clone()));
        }
        let query = uri.query().unwrap_or_default();
        let parameter = |wanted: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| *name == wanted)
                .map(|(_, v)| v)
        };
        if ["token", "access_token", "jwt", "auth"].iter().any(|name| parameter(name).is_some()) {
            return Err(Refusal::NoToken);
        }
        if headers.contains_key(header::AUTHORIZATION) {
            let token = bearer(headers).ok_or(Refusal::NoToken)?;
            return self.check(token).map(Some).map_err(|_| Refusal::NoToken);
        }
        match parameter("ticket").filter(|_| is_websocket) {
            Some(ticket) => {
                let caller = self.tickets.take(ticket, Instant::now()).ok_or(Refusal::NoToken)?;
                if caller.has_expired(SystemTime::now()) { Err(Refusal::NoToken) } else { Ok(Some(caller)) }
            }
            None => Ok(None),
        }
    }

    /// Who a token is. The error is for the log; its bearer learns only that it cannot be used.
    pub fn check(&self, token: &str) -> Result<Arc<Caller>, String> {
        let Some(Key { key, validation }) = &self.key else { return Ok(self.anybody.clone()) };
        if token.len() > TOKEN_BYTES_MAX {
            return Err("the token is longer than 8 KiB".into());
        }
        let claims =
            jsonwebtoken::decode::<Claims>(token, key, validation).map_err(|error| error.to_string())?.claims;
        // A life of ten thousand years is none: what cannot be said as a time ends now.
        let life = Duration::try_from_secs_f64(claims.exp).map_err(|_| "exp is no time".to_owned())?;
        let expires = SystemTime::UNIX_EPOCH
            .checked_add(life)
            .and_then(|at| at.checked_add(Duration::from_secs(validation.leeway)))
            .ok_or("exp is past all time")?;
        let patterns = |names: Option<Vec<String>>| {
            names.map(|names| names.iter().map(|name| Pattern::parse(name)).collect::<Vec<_>>())
        };
        Ok(Arc::new(Caller {
            subject: claims.sub.map(Arc::from),
            roles: claims.roles.iter().filter_map(|name| Role::parse(name)).collect(),
            models: patterns(claims.models),
            topics: patterns(claims.topics),
            expires: Some(expires),
        }))
    }
}

fn read_key(settings: &Settings, keys: &AuthKeys) -> Result<(DecodingKey, Algorithm), ConfigError> {
    match keys {
        AuthKeys::Hs256(secret) => {
            Ok((DecodingKey::from_secret(secret.expose_secret().as_bytes()), Algorithm::HS256))
        }
        AuthKeys::PublicKeyFile(file) => {
            const ALLOWED: &str = "a readable PEM file with an RSA or a P-256 public key";
            let name = format!("\"{}\"", file.display());
            let refuse =
                |why: String| settings.refuse("auth.public_key_file", format!("{name}, {why}"), ALLOWED);
            let pem =
                std::fs::read(file).map_err(|error| refuse(format!("which cannot be read ({error})")))?;
            if let Ok(key) = DecodingKey::from_rsa_pem(&pem) {
                return Ok((key, Algorithm::RS256));
            }
            let key = DecodingKey::from_ec_pem(&pem).map_err(|_| refuse("which holds no such key".into()))?;
            Ok((key, Algorithm::ES256))
        }
        AuthKeys::Jwks(_) => {
            let found = "an address, whose keys this version does not fetch yet";
            Err(settings.refuse("auth.jwks_url", found, "auth.public_key_file or auth.hs256_secret instead"))
        }
    }
}

/// The token of `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
