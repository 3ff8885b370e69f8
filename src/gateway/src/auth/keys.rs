//! The keys that tokens are checked with: a shared secret, one public key, or a published set of them (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde_json::Value;

/// Most keys of a published set that are kept.
const KEYS_MAX: usize = 100;
/// Most keys tried for a token that names none.
const TRIED_MAX: usize = 8;
/// Shortest RSA modulus, bytes: what is shorter can be broken.
const MODULUS_BYTES_MIN: usize = 256;

/// A key, which is of one algorithm: a public key is never taken for a shared secret.
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl Key {
    /// A token with this header means this key, and no other.
    pub(super) fn is_named_by(&self, header: &Header) -> bool {
        self.id.is_some() && self.id == header.kid
    }
}

/// Keys in use.
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// None: no token is good.
    pub(super) fn none() -> Self {
        Keys(Vec::new())
    }

    /// A shared secret, HS256.
    pub(super) fn secret(secret: &str) -> Self {
        let key = DecodingKey::from_secret(secret.as_bytes());
        Keys(vec![Key { id: None, algorithm: Algorithm::HS256, key }])
    }

    /// A public key in PEM: RSA (RS256) or P-256 (ES256).
    pub(super) fn pem(pem: &[u8]) -> Result<Self, String> {
        let (algorithm, key) = match DecodingKey::from_rsa_pem(pem) {
            Ok(key) => (Algorithm::RS256, key),
            Err(_) => {
                let key = DecodingKey::from_ec_pem(pem);
                (Algorithm::ES256, key.map_err(|_| "it holds no RSA and no P-256 public key".to_owned())?)
            }
        };
        Ok(Keys(vec![Key { id: None, algorithm, key }]))
    }

    /// A published set. Keys for another use, or of another kind, are passed over; one at least must be left, but of a set
    /// without any: whoever publishes that takes all keys back.
    pub(super) fn published(json: &[u8]) -> Result<Self, String> {
        let set: Value =
            serde_json::from_slice(json).map_err(|error| format!("it is not a JSON key set: {error}"))?;
        let Some(listed) = set.get("keys").and_then(Value::as_array) else {
            return Err("it has no list \"keys\", as a JSON key set does".to_owned());
        };
        let keys: Vec<Key> = listed.iter().filter_map(usable).take(KEYS_MAX).collect();
        if keys.is_empty() && !listed.is_empty() {
            return Err(format!(
                "of its {} keys none is RSA (2048 bits or more) or P-256, for signatures",
                listed.len()
            ));
        }
        Ok(Keys(keys))
    }

    /// These, if there are any.
    pub(super) fn some(self) -> Result<Self, String> {
        if self.0.is_empty() { Err("it has no keys".to_owned()) } else { Ok(self) }
    }

    /// Whether no token can be good.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that may have signed a token with this header; empty when none of them can have.
    pub(super) fn for_token(&self, header: &Header) -> Vec<&Key> {
        let may_be = |key: &&Key| {
            key.algorithm == header.alg
                && match (&key.id, &header.kid) {
                    (Some(id), Some(named)) => id == named,
                    // A key without a name may be any; a token that names none may be of any.
                    _ => true,
                }
        };
        self.0.iter().filter(may_be).take(TRIED_MAX).collect()
    }
}

fn usable(listed: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(listed.clone()).ok()?;
    let common = &jwk.common;
    let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
        && common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
            (bytes >= MODULUS_BYTES_MIN).then_some((Algorithm::RS256, KeyAlgorithm::RS256))?
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        // A secret has no place in a published set, and would let a public key be one.
        _ => return None,
    };
    let meant = common.key_algorithm.is_none_or(|meant| meant == named);
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (for_signatures && meant).then(|| Key { id: jwk.common.key_id.clone(), algorithm, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(keys: Value) -> Result<usize, String> {
        Keys::published(json!({"keys": keys}).to_string().as_bytes()).map(|keys| keys.0.len())
    }

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        // The example of RFC 7517, appendix A.1.
        let ec = json!({"kty": "EC", "crv": "P-256", "kid": "1", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
        let with = |field: &str, value: Value| {
            let mut key = ec.clone();
            key[field] = value;
            key
        };
        assert_eq!(set(json!([ec])), Ok(1));
        assert_eq!(set(json!([with("alg", json!("ES256")), {"kty": "unheard of"}, 7])), Ok(1));
        let secret = json!({"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"});
        let short = json!({"kty": "RSA", "n": "sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri", "e": "AQAB"});
        for other in [
            with("use", json!("enc")),
            with("alg", json!("ES384")),
            with("key_ops", json!(["sign"])),
            secret,
            short,
        ] {
            assert!(set(json!([other])).unwrap_err().contains("none is"), "{other}");
        }
        assert_eq!(set(json!([])), Ok(0), "all keys are taken back");
        assert!(Keys::published(b"<html>").is_err_and(|why| why.contains("not a JSON")));
        assert!(Keys::published(b"{}").is_err_and(|why| why.contains("\"keys\"")));
    }

    #[test]
    fn a_token_is_checked_with_the_key_that_it_names() {
        let key = |id: Option<&str>, algorithm| Key {
            id: id.map(str::to_owned),
            algorithm,
            key: DecodingKey::from_secret(b"x"),
        };
        let keys = Keys(vec![
            key(Some("a"), Algorithm::RS256),
            key(Some("b"), Algorithm::RS256),
            key(Some("a"), Algorithm::ES256),
        ]);
        let found = |algorithm, id: Option<&str>| {
            let mut header = Header::new(algorithm);
            header.kid = id.map(str::to_owned);
            keys.for_token(&header).len()
        };
        assert_eq!((found(Algorithm::RS256, Some("a")), found(Algorithm::RS256, Some("c"))), (1, 0));
        assert_eq!((found(Algorithm::RS256, None), found(Algorithm::HS256, Some("a"))), (2, 0));
    }
}
