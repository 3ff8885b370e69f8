//! Tokens and tickets: from what a request carries to who is asking (contract section 12).

mod keys;
mod published;

pub use published::{Fetch, Fetching};

use crate::access::{Caller, Refusal, Role};
use crate::live::index::Pattern;
use crate::tickets::Tickets;
use axum::http::{HeaderMap, Uri, header};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use keys::Keys;
use published::{Place, Published};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidecast_config::{AuthKeys, ConfigError, Settings};

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Checks tokens as `[auth]` says.
pub struct Authenticator {
    checker: Option<Checker>,
    anybody: Arc<Caller>,
    /// Tickets that are out.
    pub tickets: Tickets,
}

struct Checker {
    source: Source,
    validation: Validation,
}

enum Source {
    /// They stay as they are.
    Fixed(Arc<Keys>),
    /// They may change.
    Published(Box<Published>),
}

/// Why a token cannot be used: for the log, its bearer learns no more than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// No key that is known can have signed it. Another may be published by now.
    UnknownKey,
    /// Whatever the keys are.
    Token(String),
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    models: Option<Vec<String>>,
    #[serde(default)]
    topics: Option<Vec<String>>,
}

impl Authenticator {
    /// From the settings. Refuses what it cannot check, rather than let anybody in. `fetch` reads published keys.
    pub fn new(settings: &Settings, fetch: Fetch) -> Result<Self, ConfigError> {
        let checker = match &settings.auth {
            None => None,
            Some(auth) => {
                let source = source(settings, &auth.keys, auth.jwks_refresh, fetch)?;
                // The algorithm is the key's, set for each token.
                let mut validation = Validation::new(Algorithm::HS256);
                // The library's own defaults are lenient: every check is set here.
                validation.leeway = auth.leeway.as_secs();
                validation.validate_exp = true;
                validation.validate_nbf = true;
                let mut required = vec!["exp", "sub"];
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
                Some(Checker { source, validation })
            }
        };
        Ok(Authenticator { checker, anybody: Caller::anybody(), tickets: Tickets::default() })
    }

    /// A token has to be shown.
    pub fn is_required(&self) -> bool {
        self.checker.is_some()
    }

    /// Looks after keys that may change, until dropped.
    pub async fn keep_fresh(&self) {
        match &self.checker {
            Some(Checker { source: Source::Published(published), .. }) => published.keep_fresh().await,
            _ => std::future::pending().await,
        }
    }

    /// Who sent this request: `Ok(None)` when it shows nothing and something is wanted. A ticket is for WebSockets
    /// alone; a token in the address would stand in logs, and is refused.
    pub async fn caller(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        is_websocket: bool,
    ) -> Result<Option<Arc<Caller>>, Refusal> {
        if self.checker.is_none() {
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
            return self.check(token).await.map(Some).map_err(|_| Refusal::NoToken);
        }
        match parameter("ticket").filter(|_| is_websocket) {
            Some(ticket) => {
                let caller = self.tickets.take(ticket, Instant::now()).await.ok_or(Refusal::NoToken)?;
                if caller.has_expired(SystemTime::now()) { Err(Refusal::NoToken) } else { Ok(Some(caller)) }
            }
            None => Ok(None),
        }
    }

    /// Who a token is. Published keys are looked at again for a key that is not known.
    pub async fn check(&self, token: &str) -> Result<Arc<Caller>, Unusable> {
        let checked = self.check_now(token);
        if let Err(Unusable::UnknownKey) = checked
            && let Some(Checker { source: Source::Published(published), .. }) = &self.checker
        {
            published.look_for_unknown().await;
            return self.check_now(token);
        }
        checked
    }

    fn check_now(&self, token: &str) -> Result<Arc<Caller>, Unusable> {
        let Some(Checker { source, validation }) = &self.checker else { return Ok(self.anybody.clone()) };
        let unusable = |why: String| Unusable::Token(why);
        if token.len() > TOKEN_BYTES_MAX {
            return Err(unusable("the token is longer than 8 KiB".into()));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| unusable(error.to_string()))?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: what the issuer calls critical has to be understood, and no extension is.
            return Err(unusable("its header has crit, and no extension is understood here".into()));
        }
        let keys = match source {
            Source::Fixed(keys) => keys.clone(),
            Source::Published(published) => published.keys(),
        };
        let mut refusal = Unusable::UnknownKey;
        for key in keys.for_token(&header) {
            let mut validation = validation.clone();
            validation.algorithms = vec![key.algorithm];
            match jsonwebtoken::decode::<Claims>(token, &key.key, &validation) {
                Ok(decoded) => return caller_of(decoded.claims, validation.leeway).map_err(Unusable::Token),
                // A key without a name was only a guess: the one that the token names may be published by now.
                Err(error) if *error.kind() == ErrorKind::InvalidSignature && !key.is_named_by(&header) => {}
                Err(error) => refusal = unusable(error.to_string()),
            }
        }
        Err(refusal)
    }
}

fn caller_of(claims: Claims, leeway: u64) -> Result<Arc<Caller>, String> {
    if claims.sub.trim().is_empty() {
        // The audit log would name nobody.
        return Err("sub is empty".to_owned());
    }
    // A life of ten thousand years is none: what cannot be said as a time ends now.
    let life = Duration::try_from_secs_f64(claims.exp).map_err(|_| "exp is no time".to_owned())?;
    let expires = SystemTime::UNIX_EPOCH
        .checked_add(life)
        .and_then(|at| at.checked_add(Duration::from_secs(leeway)))
        .ok_or("exp is past all time")?;
    let patterns = |names: Option<Vec<String>>| {
        names.map(|names| names.iter().map(|name| Pattern::parse(name)).collect::<Vec<_>>())
    };
    Ok(Arc::new(Caller {
        subject: Some(claims.sub.into()),
        roles: claims.roles.iter().filter_map(|name| Role::parse(name)).collect(),
        models: patterns(claims.models),
        topics: patterns(claims.topics),
        expires: Some(expires),
    }))
}

/// The keys as they are now, and where they come from if they may change.
fn source(
    settings: &Settings,
    keys: &AuthKeys,
    every: Duration,
    fetch: Fetch,
) -> Result<Source, ConfigError> {
    let file = |setting: &str, file: &Path, allowed: &str, read: fn(&[u8]) -> Result<Keys, String>| {
        let refuse = |why: String| {
            settings.refuse(setting, format!("\"{}\", which cannot be used: {why}", file.display()), allowed)
        };
        let bytes = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
        read(&bytes).map_err(refuse)
    };
    let (place, keys) = match keys {
        AuthKeys::Hs256(secret) => {
            return Ok(Source::Fixed(Arc::new(Keys::secret(secret.expose_secret()))));
        }
        AuthKeys::PublicKeyFile(path) => {
            let allowed = "a readable PEM file with an RSA or a P-256 public key";
            (Place::Pem(path.clone()), file("auth.public_key_file", path, allowed, Keys::pem)?)
        }
        AuthKeys::JwksFile(path) => {
            let allowed = "a readable JSON key set with an RSA or a P-256 public key";
            let some = |json: &[u8]| Keys::published(json)?.some();
            (Place::SetFile(path.clone()), file("auth.jwks_file", path, allowed, some)?)
        }
        // The issuer may be away at the start: until its keys are read no token is good.
        AuthKeys::Jwks(url) => (Place::SetUrl(url.clone(), fetch), Keys::none()),
    };
    Ok(Source::Published(Box::new(Published::new(place, every, keys))))
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

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_config::Sources;

    #[test]
    fn a_file_without_a_key_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        for (setting, text, why) in [
            ("auth.jwks_file", "{\"keys\": []}", "it has no keys"),
            ("auth.jwks_file", "{\"keys\": [{\"kty\": \"oct\"}]}", "none is RSA"),
            ("auth.jwks_file", "-----BEGIN PUBLIC KEY-----", "not a JSON key set"),
            ("auth.public_key_file", "{\"keys\": []}", "no RSA and no P-256"),
        ] {
            std::fs::write(&file, text).unwrap();
            let overrides = vec![format!("{setting}={}", file.display())];
            let settings = Settings::load(&Sources { overrides, ..Sources::default() }).unwrap();
            let fetch: Fetch = Arc::new(|_| Box::pin(std::future::pending()));
            let refused = Authenticator::new(&settings, fetch).err().unwrap().to_string();
            assert!(refused.contains(setting) && refused.contains(why), "{refused}");
        }
    }
}
