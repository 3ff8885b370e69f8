//! A place that all machines reach, S3 or a folder: what can be asked of it, each in bounded time.
//!
//! Callers block, perhaps on a thread of an async runtime; the asking itself is done on a thread of its own.

use crate::error::StoreError;
use crate::place_steps::Steps;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, MultipartUpload, ObjectStore, ObjectStoreExt, RetryConfig,
};
use std::ffi::OsString;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use tidecast_config::SharedPlace;

/// Bytes that one request carries, at most: S3 takes no smaller parts, and a limit on a request's time is then one on the
/// rate. Larger objects go up part by part and come down piece by piece.
const PART: usize = 5 << 20;
/// Without a connection after this there is nobody; well below what the retries have.
const CONNECT: Duration = Duration::from_secs(3);
/// A request with its body: [`PART`] at 2 Mbit/s.
const REQUEST: Duration = Duration::from_secs(20);
/// After this no request is tried again: who asks has a partition that stands still, or snapshots that wait.
const RETRIES: Duration = Duration::from_secs(10);
/// Tries again within [`RETRIES`], at most.
const TRIES: usize = 6;
/// Between two tries, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// Names listed at most: a partition has a few, and a place that gives more is not ours to go through.
const LISTED: usize = 1_000;

/// An open place.
#[derive(Debug)]
pub(crate) struct Place {
    address: SharedPlace,
    store: Arc<dyn ObjectStore>,
    /// What every name in the place begins with.
    prefix: String,
    steps: Steps,
}

impl Place {
    /// Opens the place; nothing is asked of it yet. Credentials, region and endpoint of S3 are in `variables`.
    pub fn open(
        address: &SharedPlace,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Place, StoreError> {
        let refuse = |cause: String| StoreError::Shared { place: address.clone(), action: "opened", cause };
        let (store, prefix): (Arc<dyn ObjectStore>, _) = match address {
            SharedPlace::S3 { bucket, prefix } => {
                let s3 = s3(bucket, variables).map_err(|error| refuse(cause(&error)))?;
                (Arc::new(s3), prefix.clone())
            }
            // Not made where it is missing: a share that is not mounted would be a folder of this machine alone.
            SharedPlace::Folder(folder) => {
                let folder =
                    LocalFileSystem::new_with_prefix(folder).map_err(|error| refuse(cause(&error)))?;
                (Arc::new(folder.with_fsync(true)), String::new())
            }
        };
        let steps = Steps::start().map_err(|error| refuse(error.to_string()))?;
        Ok(Place { address: address.clone(), store, prefix, steps })
    }

    /// Whether the place answers, and lets what is below a folder be listed.
    pub fn reach(&self, folder: &str) -> Result<(), StoreError> {
        let (store, path) = (self.store.clone(), self.path(folder)?);
        self.ask("listed", async move { store.list(Some(&path)).try_next().await.map(drop) })
    }

    /// The names in a folder of the place, without the folder.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let (store, path) = (self.store.clone(), self.path(folder)?);
        self.ask("listed", async move {
            let mut names = Vec::new();
            let mut found = store.list(Some(&path));
            while let Some(object) = found.try_next().await? {
                names.extend(object.location.filename().map(str::to_owned));
                if names.len() > LISTED {
                    return Err(own(format!("more than {LISTED} names in {path}")));
                }
            }
            Ok(names)
        })
    }

    /// Reads an object whole.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name)?;
        let (store, location) = (self.store.clone(), path.clone());
        let size = self.ask("read", async move { store.head(&location).await })?.size;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < size {
            let (store, location) = (self.store.clone(), path.clone());
            let from = bytes.len() as u64;
            let to = size.min(from + PART as u64);
            let piece = self.ask("read", async move { store.get_range(&location, from..to).await })?;
            if piece.is_empty() {
                return Err(self.error("read", format!("{path} ended before its end")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Writes an object from what `from` gives: there whole when this returns, and not there before.
    pub fn write(&self, name: &str, from: &mut dyn Read) -> Result<(), StoreError> {
        let path = self.path(name)?;
        let part = |from: &mut dyn Read| part(from).map_err(|error| self.error("written", error.to_string()));
        let first = part(from)?;
        let (store, location) = (self.store.clone(), path);
        if first.len() < PART {
            return self.ask("written", async move { store.put(&location, first.into()).await }).map(drop);
        }
        let mut upload = self.ask("written", async move { store.put_multipart(&location).await })?;
        if let Err(error) = self.upload(&mut upload, first, part, from) {
            // What is there of it would only take room; the error is the one that is told.
            let _ = self.ask("written", async move { upload.abort().await });
            return Err(error);
        }
        self.ask("written", async move { upload.complete().await }).map(drop)
    }

    fn upload(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        first: Vec<u8>,
        part: impl Fn(&mut dyn Read) -> Result<Vec<u8>, StoreError>,
        from: &mut dyn Read,
    ) -> Result<(), StoreError> {
        let mut next = first;
        while !next.is_empty() {
            self.ask("written", upload.put_part(next.into()))?;
            next = part(from)?;
        }
        Ok(())
    }

    /// Removes an object; one that is gone is removed.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let (store, path) = (self.store.clone(), self.path(name)?);
        self.ask("written", async move {
            match store.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    /// A name with its place in front, for messages.
    pub fn full(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// As an error of this place.
    pub fn error(&self, action: &'static str, cause: String) -> StoreError {
        StoreError::Shared { place: self.address.clone(), action, cause }
    }

    fn path(&self, name: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}/{name}", self.prefix))
            .map_err(|error| self.error("opened", error.to_string()))
    }

    fn ask<T: Send + 'static>(
        &self,
        action: &'static str,
        step: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        // The last try may begin when the retries' time ends.
        let answer = self.steps.wait(RETRIES + REQUEST, step).map_err(|cause| self.error(action, cause))?;
        answer.map_err(|error| self.error(action, cause(&error)))
    }
}

/// The next part of what is written; short only at the end.
fn part(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(PART);
    from.take(PART as u64).read_to_end(&mut part)?;
    Ok(part)
}

fn s3(
    bucket: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> object_store::Result<impl ObjectStore> {
    // Another part of the process may have chosen the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::new();
    // As AmazonS3Builder::from_env, of variables that a test can choose.
    for (name, value) in variables {
        if let (Some(name), Some(value)) = (name.to_str(), value.to_str())
            && name.starts_with("AWS_")
            && let Ok(key) = name.to_ascii_lowercase().parse()
        {
            builder = builder.with_config(key, value);
        }
    }
    let seconds = |limit: Duration| format!("{} seconds", limit.as_secs());
    builder
        .with_bucket_name(bucket)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout), seconds(CONNECT))
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), seconds(REQUEST))
        .with_retry(RetryConfig {
            backoff: BackoffConfig { init_backoff: BACKOFF.0, max_backoff: BACKOFF.1, base: 2.0 },
            max_retries: TRIES,
            retry_timeout: RETRIES,
        })
        .build()
}

fn own(cause: String) -> object_store::Error {
    object_store::Error::Generic { store: "place", source: cause.into() }
}

/// The cause in one short line. What S3 answers is a document that repeats the request and names the key: of it only the
/// code and the message are told.
fn cause(error: &object_store::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let whole = error.to_string();
    let field = |name: &str| {
        let (_, rest) = whole.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(field, _)| field)
    };
    let text = match (field("Code"), field("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => innermost.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(CAUSE).collect()
}

/// Letters of a cause that are told: a line is to be read.
const CAUSE: usize = 300;
