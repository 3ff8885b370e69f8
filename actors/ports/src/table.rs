//! A compacted topic as a table: what is configured while running.

use bytes::Bytes;

/// A table kept in a compacted topic. Every process reads it whole and follows it.
#[async_trait::async_trait]
pub trait Table: Send + Sync {
    /// Writes a value; returns once Kafka has it and this process has read it back.
    async fn put(&self, key: &str, value: Bytes) -> Result<(), String>;

    /// Removes a key, likewise.
    async fn delete(&self, key: &str) -> Result<(), String>;
}

/// Who is told of a table's changes, on the reader's thread; must not wait.
pub trait TableReader: Send + Sync {
    /// A key has a new value, or none any more.
    fn changed(&self, key: &str, value: Option<&[u8]>);
}
