//! Flights of 2013 on a topic: some weeks at once, then at a pace, around the year without an end.

use std::sync::Arc;
use std::time::Duration;
use tidecast_config::Settings;
use tidecast_flights::{Flight, flights};
use tidecast_kafka::{Cluster, Publishing, SingleSender};

/// How the year is replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Hours a second.
    pub speed: f64,
    /// Weeks given at once.
    pub history_weeks: u32,
    /// Where to.
    pub topic: String,
}

const WEEK_S: i64 = 7 * 24 * 3_600;
/// A whole number of weeks, so that a weekday stays a weekday when the year begins anew.
const YEAR_S: i64 = 52 * WEEK_S;
/// Records sent before the first of them is waited for.
const IN_FLIGHT: usize = 500;
/// Steps of the paced part.
const STEP: Duration = Duration::from_millis(100);

/// Sends flights until dropped.
pub async fn run(settings: Arc<Settings>, replay: Replay) -> anyhow::Result<()> {
    let cluster = Cluster::from_settings(&settings);
    let sender = SingleSender::new(&cluster, Publishing::default()).map_err(anyhow::Error::msg)?;
    let year: Vec<Flight> = tokio::task::spawn_blocking(|| flights().map(Iterator::collect)).await??;
    let Some(first) = year.first().map(|flight| flight.scheduled_s) else { return Ok(()) };
    let history_end = first + i64::from(replay.history_weeks) * WEEK_S;
    let mut endless = Endless { year: &year, at: 0, shift: 0, first };

    let mut batch = Vec::new();
    while let Some(next) = endless.next_before(history_end) {
        batch.push(next);
        if batch.len() == IN_FLIGHT {
            send(&sender, &replay.topic, &batch).await?;
            batch.clear();
        }
    }
    send(&sender, &replay.topic, &batch).await?;

    let started = tokio::time::Instant::now();
    let mut steps = tokio::time::interval(STEP);
    loop {
        steps.tick().await;
        let now = history_end + (started.elapsed().as_secs_f64() * replay.speed * 3_600.0) as i64;
        batch.clear();
        while let Some(next) = endless.next_before(now) {
            batch.push(next);
        }
        send(&sender, &replay.topic, &batch).await?;
    }
}

/// One year after another, each a year later than the one before. The last days past the 52 weeks are left out.
struct Endless<'y> {
    year: &'y [Flight],
    at: usize,
    shift: i64,
    first: i64,
}

impl<'y> Endless<'y> {
    /// The next flight and its shift, when it leaves before `time`.
    fn next_before(&mut self, time: i64) -> Option<(&'y Flight, i64)> {
        if self.year.get(self.at).is_none_or(|flight| flight.scheduled_s >= self.first + YEAR_S) {
            self.at = 0;
            self.shift += YEAR_S;
        }
        let flight = self.year.get(self.at)?;
        (flight.scheduled_s + self.shift < time).then(|| {
            self.at += 1;
            (flight, self.shift)
        })
    }
}

async fn send(sender: &SingleSender, topic: &str, batch: &[(&Flight, i64)]) -> anyhow::Result<()> {
    let sent = batch.iter().map(|(flight, shift)| {
        let (key, mut value) = (flight.source(), Vec::with_capacity(256));
        flight.write_event(*shift, &mut value);
        async move { sender.send(topic, Some(key.as_bytes()), Some(&value)).await }
    });
    for result in futures::future::join_all(sent).await {
        result.map_err(anyhow::Error::msg)?;
    }
    Ok(())
}
