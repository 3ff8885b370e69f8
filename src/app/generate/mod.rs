//! `tidecast generate`: the load generator. Paced by the clock: what was missed while the other side was slow is sent
//! as soon as it takes it again, so that the rate holds over the run.

mod events;
mod pace;

use crate::cli::{ConfigOptions, GenerateOptions};
use crate::load_settings;
use anyhow::{Context, bail};
use bytes::Bytes;
use events::Maker;
use futures::{SinkExt, StreamExt};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tidecast_kafka::{Cluster, Ingest, Publishing};
use tidecast_ports::EventIngest;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Between two looks at what is due.
const STEP: Duration = Duration::from_millis(5);
/// Longest wait for the last acknowledgement, or for why there is none.
const LAST_WORD: Duration = Duration::from_secs(10);
/// Most events sent between two looks.
const BATCH: u64 = 4_096;

/// What has happened so far.
#[derive(Debug, Default)]
struct Progress {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    /// Why the first of them was.
    reason: OnceLock<String>,
}

impl Progress {
    /// Of events that were sent and refused or never acknowledged: why, as far as is known.
    fn refuse(&self, count: u64, why: impl FnOnce() -> String) {
        if count > 0 {
            self.refused.fetch_add(count, Relaxed);
            self.reason.get_or_init(why);
        }
    }

    /// A run none of whose events arrived has failed; one that lost some says why.
    fn verdict(&self) -> anyhow::Result<()> {
        let Some(reason) = self.reason.get() else { return Ok(()) };
        let (sent, refused) = (self.sent.load(Relaxed), self.refused.load(Relaxed));
        if self.acknowledged.load(Relaxed) == 0 {
            bail!("none of {sent} events was acknowledged: {reason}");
        }
        eprintln!("tidecast: {refused} of {sent} events were refused: {reason}");
        Ok(())
    }
}

/// Runs the generator.
pub fn run(options: &GenerateOptions) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &options.url {
            Some(url) => to_websocket(options, url).await,
            None => to_kafka(options, true).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn now_s() -> f64 {
    tidecast_actors::wall_clock_ms() as f64 / 1e3
}

/// Sends to Kafka until the duration is over, or for ever.
pub async fn to_kafka(options: &GenerateOptions, report: bool) -> anyhow::Result<()> {
    let servers: Vec<String> = options
        .kafka
        .iter()
        .flat_map(|list| list.split(','))
        .map(|server| format!("{:?}", server.trim()))
        .collect();
    let config = ConfigOptions {
        config: None,
        set: vec![
            format!("kafka.bootstrap_servers=[{}]", servers.join(",")),
            format!("topics.events={}", options.topic),
        ],
    };
    let settings = load_settings::load(&config, None)?;
    let cluster = Cluster::from_settings(&settings);
    let ingest = Ingest::new(&cluster, &settings, Publishing::default())?;
    let progress = Arc::new(Progress::default());
    let reporting = report.then(|| tokio::spawn(tell(progress.clone())));
    let mut maker = Maker::new(options.sources, options.seed, run_name());
    let mut waiting = tokio::task::JoinSet::new();
    pace(options, |count| {
        let now = now_s();
        let events = (0..count).map(|_| {
            let mut event = Vec::with_capacity(192);
            maker.write(now, &mut event);
            Bytes::from(event)
        });
        let (checked, acknowledged) = ingest.ingest_batch(events.collect(), (now * 1e3) as i64);
        let mut rejections = checked.iter().filter_map(|check| check.as_ref().err());
        let first = rejections.next();
        let refused = first.map_or(0, |_| 1 + rejections.count() as u64);
        progress.sent.fetch_add(count, Relaxed);
        progress.refuse(refused, || first.map_or_else(String::new, ToString::to_string));
        let progress = progress.clone();
        waiting.spawn(async move {
            match acknowledged.await {
                Ok(()) => drop(progress.acknowledged.fetch_add(count - refused, Relaxed)),
                Err(error) => progress.refuse(count - refused, || error.to_string()),
            }
        });
        // A bounded number of batches wait for Kafka; the pace falls behind and catches up later.
        while waiting.try_join_next().is_some() {}
        let full = waiting.len() >= 256;
        std::future::ready(full.then_some(()))
    })
    .await?;
    while waiting.join_next().await.is_some() {}
    finish(reporting, &progress, report);
    if report { progress.verdict() } else { Ok(()) }
}

/// Calls `send` with as many events as are due, at most [`BATCH`] at a time, until the run is over.
async fn pace<F, W>(options: &GenerateOptions, mut send: F) -> anyhow::Result<()>
where
    F: FnMut(u64) -> W,
    W: Future<Output = Option<()>>,
{
    let started = Instant::now();
    let mut steps = tokio::time::interval(STEP);
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sent = 0_u64;
    loop {
        let elapsed = started.elapsed().as_secs_f64();
        let at = options.duration.map_or(elapsed, |duration| duration.min(elapsed));
        let due = pace::due(options.pattern, options.rate, options.duration, at) as u64;
        if due > sent {
            let count = (due - sent).min(BATCH);
            if send(count).await.is_some() {
                // The other side has enough to do: look again a moment later.
                steps.tick().await;
            }
            sent += count;
            continue;
        }
        if options.duration.is_some_and(|duration| elapsed >= duration) {
            return Ok(());
        }
        steps.tick().await;
    }
}

async fn to_websocket(options: &GenerateOptions, url: &str) -> anyhow::Result<()> {
    let progress = Arc::new(Progress::default());
    let reporting = tokio::spawn(tell(progress.clone()));
    let connections = options.connections.min(options.sources).max(1);
    let mut tasks = tokio::task::JoinSet::new();
    let run = run_name();
    for number in 0..connections {
        let mut share = options.clone();
        share.rate = options.rate / f64::from(connections);
        share.seed = options.seed.wrapping_add(u64::from(number));
        tasks.spawn(connection(share, format!("{run}-{number}"), url.to_owned(), progress.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    finish(Some(reporting), &progress, true);
    progress.verdict()
}

/// Of this process at this moment, and of no other.
fn run_name() -> String {
    format!("{:x}-{:x}", (now_s() * 1e6) as u64, std::process::id())
}

async fn connection(
    options: GenerateOptions,
    run: String,
    url: String,
    progress: Arc<Progress>,
) -> anyhow::Result<()> {
    let mut request =
        url.as_str().into_client_request().with_context(|| format!("{url} is no WebSocket address"))?;
    if let Some(token) = &options.token {
        let value = format!("Bearer {token}").parse().context("the token cannot be sent in a header")?;
        request.headers_mut().insert("authorization", value);
    }
    let (socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .with_context(|| format!("cannot connect to {url}"))?;
    let (mut out, mut answers) = socket.split();
    let done = Arc::new(AtomicU64::new(u64::MAX));
    let counted = tokio::spawn({
        let (progress, done) = (progress.clone(), done.clone());
        async move {
            let (mut acknowledged, mut refused) = (0_u64, 0_u64);
            while let Some(answer) = answers.next().await {
                let text = match answer {
                    Ok(Message::Text(text)) => text,
                    Ok(Message::Close(Some(frame))) => {
                        return Some(format!("{} ({})", frame.reason, u16::from(frame.code)));
                    }
                    _ => continue,
                };
                let Ok(answer) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
                match answer["type"].as_str() {
                    Some("ack") => {
                        let now = answer["data"]["accepted"].as_u64().unwrap_or(acknowledged);
                        progress.acknowledged.fetch_add(now.saturating_sub(acknowledged), Relaxed);
                        acknowledged = now;
                    }
                    Some("error") => {
                        refused += 1;
                        let why =
                            || answer["data"]["message"].as_str().unwrap_or("no reason was given").to_owned();
                        progress.refuse(1, why);
                    }
                    _ => {}
                }
                if acknowledged + refused >= done.load(Relaxed) {
                    return None;
                }
            }
            None
        }
    });
    let sent = send_all(&options, run, &mut out, &progress).await;
    done.store(*sent.as_ref().unwrap_or(&0), Relaxed);
    // The last acknowledgement may be on its way; one that never comes is told by the figures.
    let farewell = tokio::time::timeout(LAST_WORD, counted).await.ok().and_then(Result::ok).flatten();
    let _ = out.close().await;
    match (sent, farewell) {
        (_, Some(why)) => bail!("{url} closed the connection: {why}"),
        (Err(error), None) => Err(error.context(format!("{url} closed the connection"))),
        (Ok(_), None) => Ok(()),
    }
}

/// Sends what is due until the run is over; gives how many that were.
async fn send_all(
    options: &GenerateOptions,
    run: String,
    out: &mut (impl SinkExt<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin),
    progress: &Progress,
) -> anyhow::Result<u64> {
    let mut maker = Maker::new(options.sources, options.seed, run);
    let started = Instant::now();
    let mut steps = tokio::time::interval(STEP);
    let mut sent = 0_u64;
    loop {
        let elapsed = started.elapsed().as_secs_f64();
        let at = options.duration.map_or(elapsed, |duration| duration.min(elapsed));
        let due = pace::due(options.pattern, options.rate, options.duration, at) as u64;
        let count = due.saturating_sub(sent).min(BATCH);
        for _ in 0..count {
            let mut event = Vec::with_capacity(192);
            maker.write(now_s(), &mut event);
            let text = String::from_utf8(event).context("an event is text")?;
            out.feed(Message::text(text)).await?;
        }
        if count > 0 {
            out.flush().await?;
            sent += count;
            progress.sent.fetch_add(count, Relaxed);
        } else if options.duration.is_some_and(|duration| elapsed >= duration) {
            return Ok(sent);
        } else {
            steps.tick().await;
        }
    }
}

async fn tell(progress: Arc<Progress>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.tick().await;
    let mut before = 0;
    loop {
        seconds.tick().await;
        let sent = progress.sent.load(Relaxed);
        eprintln!(
            "{:>9} events/s   {sent:>12} sent   {:>12} acknowledged   {:>6} refused",
            sent - before,
            progress.acknowledged.load(Relaxed),
            progress.refused.load(Relaxed)
        );
        before = sent;
    }
}

fn finish(reporting: Option<tokio::task::JoinHandle<()>>, progress: &Progress, report: bool) {
    if let Some(reporting) = reporting {
        reporting.abort();
    }
    if report {
        println!(
            "{{\"sent\":{},\"acknowledged\":{},\"refused\":{}}}",
            progress.sent.load(Relaxed),
            progress.acknowledged.load(Relaxed),
            progress.refused.load(Relaxed)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_delivered_nothing_fails_with_the_reason_and_one_that_lost_some_does_not() {
        let progress = Progress::default();
        assert!(progress.verdict().is_ok(), "nothing was due");
        progress.sent.fetch_add(10, Relaxed);
        progress.refuse(0, || "nothing was refused".into());
        assert!(progress.verdict().is_ok());
        progress.refuse(7, || "the broker is away".into());
        progress.refuse(3, || "later".into());
        let error = progress.verdict().unwrap_err().to_string();
        assert!(error.contains("none of 10") && error.contains("the broker is away"), "{error}");
        progress.acknowledged.fetch_add(1, Relaxed);
        assert!(progress.verdict().is_ok());
    }
}
