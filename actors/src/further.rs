//! Forecasts that reach further than the published ones, of models that another process runs. Whoever is asked writes the
//! question among the group's notes; the process that runs the model puts its answer beside it.

use crate::messages::ForecasterMessage;
use crate::registry::Registry;
use crate::{wall_clock_ms, wire};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidecast_event::ForecastMessage;
use tidecast_ports::{ControlError, Notes};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

/// Keys of questions and of answers begin so; the rest is the question's own name.
const QUESTIONS: &str = "forecast/asked/";
const ANSWERS: &str = "forecast/answered/";
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for it.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Questions that one process may have out.
const AT_ONCE: usize = 16;
/// Questions that may wait here to be answered; of more the askers run out of patience.
const WAITING: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    model_id: String,
    horizon: usize,
    /// Nobody waits for the answer any more from then on, epoch milliseconds.
    until_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    until_ms: u64,
    forecast: Option<ForecastMessage>,
    /// Why there is none.
    error: Option<String>,
}

/// Asks and answers. One of a process.
pub struct Further {
    instance: String,
    notes: Arc<dyn Notes>,
    asked: AtomicU64,
    out: Semaphore,
    heard: mpsc::Sender<(String, Question)>,
}

impl Further {
    /// Answers for the models of `registry` from now on. Called within a tokio runtime.
    pub fn start(instance: String, notes: Arc<dyn Notes>, registry: Arc<Registry>) -> Arc<Further> {
        let (heard, mut questions) = mpsc::channel::<(String, Question)>(WAITING);
        let shelf = notes.clone();
        tokio::spawn(async move {
            while let Some((name, question)) = questions.recv().await {
                if let Some(answer) = answer(&registry, &question).await {
                    // Who asked finds out by waiting.
                    let _ = shelf.put(&format!("{ANSWERS}{name}"), wire::json(&answer)).await;
                }
            }
        });
        Arc::new(Further { instance, notes, asked: AtomicU64::new(0), out: Semaphore::new(AT_ONCE), heard })
    }

    /// A note was written or removed.
    pub fn changed(&self, key: &str, value: Option<&[u8]>) {
        let (Some(name), Some(value)) = (key.strip_prefix(QUESTIONS), value) else { return };
        let Ok(question) = serde_json::from_slice::<Question>(value) else { return };
        // Those of a time before this process began are read as well.
        if question.until_ms > wall_clock_ms() {
            let _ = self.heard.try_send((name.to_owned(), question));
        }
    }

    /// Asks the process that runs a model for a forecast of so many steps.
    pub async fn ask(&self, model_id: &str, horizon: usize) -> Result<ForecastMessage, ControlError> {
        let late = || {
            ControlError::Unavailable(format!(
                "the process that runs {model_id} has not answered within {} s: ask again in a moment",
                PATIENCE.as_secs()
            ))
        };
        let deadline = Instant::now() + PATIENCE;
        let turn = tokio::time::timeout_at(deadline, self.out.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(late()) };
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", self.instance, wall_clock_ms());
        let until_ms = wall_clock_ms() + PATIENCE.as_millis() as u64;
        let question = Question { model_id: model_id.to_owned(), horizon, until_ms };
        let (asked, answered) = (format!("{QUESTIONS}{name}"), format!("{ANSWERS}{name}"));
        self.notes.put(&asked, wire::json(&question)).await.map_err(ControlError::Unavailable)?;
        let answer = loop {
            if let Some(answer) = self.notes.get(&answered) {
                break Some(answer);
            }
            if Instant::now() >= deadline {
                break None;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let notes = self.notes.clone();
        // Nobody waits for that.
        tokio::spawn(async move { tidy(&*notes, [asked, answered]).await });
        let answer = answer.ok_or_else(late)?;
        let Answer { forecast, error, .. } = serde_json::from_slice(&answer)
            .map_err(|error| ControlError::Unavailable(format!("the answer cannot be read: {error}")))?;
        forecast.ok_or_else(|| ControlError::Conflict(error.unwrap_or_default()))
    }
}

/// What this process says to a question; `None` where it does not run the model.
async fn answer(registry: &Registry, question: &Question) -> Option<Answer> {
    let Question { model_id, horizon, until_ms } = question;
    let mailbox = registry.get(model_id)?.mailbox()?;
    let (reply, answer) = oneshot::channel();
    mailbox.send(ForecasterMessage::Forecast { horizon: Some(*horizon), reply }).await.ok()?;
    let (forecast, error) = match answer.await.ok()? {
        Ok(forecast) => (Some(forecast), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Some(Answer { until_ms: *until_ms, forecast, error })
}

/// Removes a question with its answer, and what was left by processes that died meanwhile.
async fn tidy(notes: &dyn Notes, done: [String; 2]) {
    #[derive(Deserialize)]
    struct Until {
        until_ms: u64,
    }
    let now = wall_clock_ms();
    let is_over = |value: &[u8]| {
        let until = serde_json::from_slice::<Until>(value);
        until.map_or(true, |until| until.until_ms + PATIENCE.as_millis() as u64 * 2 < now)
    };
    let left = [QUESTIONS, ANSWERS].into_iter().flat_map(|prefix| notes.below(prefix));
    let over = left.filter(|(_, value)| is_over(value)).map(|(key, _)| key);
    let known = done.into_iter().filter(|key| notes.get(key).is_some());
    for key in known.chain(over).collect::<Vec<_>>() {
        let _ = notes.delete(&key).await;
    }
}
