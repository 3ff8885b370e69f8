//! Where keys come from that may change while running: a file, or an address. They are looked at again in time, and at
//! once when a token names a key that is not known.

use super::keys::Keys;
use bytes::Bytes;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Gets the body at an address: within seconds, at most a mebibyte, without following it elsewhere. Given by the wiring,
/// which knows an HTTP client.
pub type Fetch = Arc<dyn Fn(String) -> Fetching + Send + Sync>;

/// In time, the body or why there is none.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// Between two looks that tokens with unknown keys bring about: anybody can send such tokens.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Between two looks at a file.
const FILE_EVERY: Duration = Duration::from_secs(2);
/// Keys that nobody has confirmed for this long are trusted no more.
const TRUSTED: Duration = Duration::from_secs(24 * 3_600);

/// Where to look.
pub(super) enum Place {
    /// One public key in PEM.
    Pem(PathBuf),
    /// A published set.
    SetFile(PathBuf),
    /// A published set, at an address.
    SetUrl(String, Fetch),
}

impl Place {
    async fn read(&self) -> Result<Keys, String> {
        match self {
            Place::Pem(file) => Keys::pem(&read_file(file).await?),
            Place::SetFile(file) => Keys::published(&read_file(file).await?),
            Place::SetUrl(url, fetch) => Keys::published(&fetch(url.clone()).await?),
        }
    }
}

async fn read_file(file: &PathBuf) -> Result<Vec<u8>, String> {
    tokio::fs::read(file).await.map_err(|error| format!("{} cannot be read ({error})", file.display()))
}

struct Held {
    keys: Arc<Keys>,
    confirmed: Instant,
}

/// Keys that are looked after.
pub(super) struct Published {
    place: Place,
    every: Duration,
    held: RwLock<Held>,
    /// When the last look ended. Whoever holds it is looking.
    looked: tokio::sync::Mutex<Option<Instant>>,
}

impl Published {
    pub(super) fn new(place: Place, every: Duration, keys: Keys) -> Self {
        let every = match place {
            Place::Pem(_) | Place::SetFile(_) => FILE_EVERY,
            Place::SetUrl(..) => every,
        };
        let held = RwLock::new(Held { keys: Arc::new(keys), confirmed: Instant::now() });
        Published { place, every, held, looked: tokio::sync::Mutex::new(None) }
    }

    /// The keys as last seen.
    pub(super) fn keys(&self) -> Arc<Keys> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        match held.confirmed.elapsed() < TRUSTED {
            true => held.keys.clone(),
            false => Arc::new(Keys::none()),
        }
    }

    async fn look(&self) {
        match self.place.read().await {
            Ok(keys) => {
                if keys.is_empty() {
                    tracing::warn!("the key set for tokens has no keys: no token is good until it has");
                }
                let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
                *held = Held { keys: Arc::new(keys), confirmed: Instant::now() };
            }
            Err(why) => {
                tracing::warn!(why, "the keys for tokens cannot be read; those that were read before stay")
            }
        }
    }

    /// Looks at once, unless somebody has just done so. Those who ask together look together.
    pub(super) async fn look_for_unknown(&self) {
        let asked = Instant::now();
        let mut looked = self.looked.lock().await;
        let pause = LOOK_AGAIN.min(self.every);
        if looked.is_none_or(|at| at < asked && at.elapsed() >= pause) {
            self.look().await;
            *looked = Some(Instant::now());
        }
    }

    /// Looks in time, until dropped.
    pub(super) async fn keep_fresh(&self) {
        loop {
            {
                let mut looked = self.looked.lock().await;
                if looked.is_none_or(|at| at.elapsed() >= self.every) {
                    self.look().await;
                    *looked = Some(Instant::now());
                }
            }
            tokio::time::sleep(self.every).await;
        }
    }
}
