//! Where snapshots are shared: a bucket or a folder, named by an address without user or password.

use std::fmt;
use std::path::PathBuf;

/// A place that every machine reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedPlace {
    /// `s3://bucket/prefix`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What names begin with, without a slash at its ends; empty: nothing.
        prefix: String,
    },
    /// `file:///folder`, a folder that all machines mount.
    Folder(PathBuf),
}

/// What an address may be, for messages and the reference.
pub(crate) const ALLOWED: &str =
    "s3://bucket/prefix or file:///folder, without user, password, spaces or any of ?#%";

impl SharedPlace {
    /// Reads an address. Names are taken as they are written: nothing in them is encoded.
    pub fn parse(text: &str) -> Option<SharedPlace> {
        let (scheme, rest) = text.split_once("://")?;
        let odd = |c: char| c.is_control() || c.is_whitespace() || "?#%@\\".contains(c);
        // A step upwards would leave the place, and an object's name has none.
        if rest.contains(odd) || rest.split('/').any(|part| matches!(part, "." | "..")) {
            return None;
        }
        match scheme.to_ascii_lowercase().as_str() {
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let prefix = prefix.trim_matches('/');
                let whole = prefix.is_empty() || prefix.split('/').all(|part| !part.is_empty());
                (is_bucket(bucket) && whole)
                    .then(|| SharedPlace::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
            }
            "file" => rest.starts_with('/').then(|| SharedPlace::Folder(PathBuf::from(rest))),
            _ => None,
        }
    }
}

impl fmt::Display for SharedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SharedPlace::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            SharedPlace::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            SharedPlace::Folder(folder) => write!(f, "file://{}", folder.display()),
        }
    }
}

/// Amazon's rule for names of buckets, which others keep too.
fn is_bucket(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    (3..=63).contains(&name.len())
        && name.bytes().all(legal)
        && ends(name.bytes().next())
        && ends(name.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::SharedPlace;

    #[test]
    fn addresses_read_and_are_told_as_they_are_meant() {
        for (text, told) in [
            ("s3://snapshots/tidecast/eu", "s3://snapshots/tidecast/eu"),
            ("S3://snapshots/tidecast/", "s3://snapshots/tidecast"),
            ("s3://snap.shots-1", "s3://snap.shots-1"),
            ("file:///mnt/shared/Tidecast", "file:///mnt/shared/Tidecast"),
        ] {
            assert_eq!(
                SharedPlace::parse(text).map(|place| place.to_string()).as_deref(),
                Some(told),
                "{text}"
            );
        }
        let others = [
            "",
            "snapshots",
            "/mnt/shared",
            "gs://bucket/x",
            "https://bucket.s3.amazonaws.com",
            "s3://",
            "s3:///x",
            "s3://Bucket/x",
            "s3://ab",
            "s3://-ab",
            "s3://bucket/a//b",
            "s3://bucket/../x",
            "s3://bucket/x?y=1",
            "s3://key:secret@bucket/x",
            "file://mnt/shared",
            "file://",
            "file:///mnt/../etc",
            "file:///mnt/a%20b",
            "file:///mnt/a b",
        ];
        for text in others {
            assert_eq!(SharedPlace::parse(text), None, "{text}");
        }
    }
}
