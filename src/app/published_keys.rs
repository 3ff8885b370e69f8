//! Reads the issuer's published keys for the gateway, which knows no HTTP client.

use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;
use tidecast_gateway::Fetch;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a key set.
const BYTES_MAX: usize = 1 << 20;

/// A reader of published keys. It follows no redirect: keys come from the address that the operator wrote.
pub fn fetch() -> anyhow::Result<Fetch> {
    // The provider is named once for a process; a second time says so and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("the HTTP client cannot be set up")?;
    Ok(Arc::new(move |url| {
        let client = client.clone();
        Box::pin(
            async move { read(&client, &url).await.map_err(|error| format!("{}: {error:#}", origin(&url))) },
        )
    }))
}

/// Whose address it is. Its path and query may hold a secret, and errors are logged.
fn origin(url: &str) -> String {
    reqwest::Url::parse(url)
        .map_or_else(|_| "no address".to_owned(), |url| url.origin().ascii_serialization())
}

async fn read(client: &reqwest::Client, url: &str) -> anyhow::Result<bytes::Bytes> {
    let asked = client.get(url).header("accept", "application/json").send().await;
    let mut answer = asked.map_err(reqwest::Error::without_url)?;
    anyhow::ensure!(answer.status().is_success(), "it answered {}", answer.status());
    let mut body = bytes::BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        anyhow::ensure!(body.len() + piece.len() <= BYTES_MAX, "it is larger than a mebibyte");
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}
