//! Sampled events on their way: which of them a batch carries, and the span of the stage they are in.

use crate::intake::Intake;
use crate::messages::BatchOutput;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tidecast_event::{EventTime, TopicPartition};
use tidecast_ports::{Destination, OutputRecord, RecordBatch, Tracer};
use tracing::Span;

/// Events of a partition that are followed while their windows are open; the oldest is let go for a newer one.
const WAITING: usize = 16;
/// Partial aggregates that take the context of one event: its window's are among the next that leave.
const PARTIALS: usize = 4;
pub(crate) const HEADER: &str = "traceparent";

/// A sampled event on its way: its own span, and that of the stage it is in.
pub struct Trace {
    tracer: Arc<dyn Tracer>,
    whole: Span,
    stage: Span,
    source: Box<str>,
    /// Partial aggregates that were given its context.
    partials: usize,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("stage", &self.stage).field("source", &self.source).finish()
    }
}

impl Trace {
    fn new(tracer: &Arc<dyn Tracer>, whole: Span, source: Box<str>) -> Self {
        let stage = tracer.stage(&whole, "aggregate");
        Trace { tracer: tracer.clone(), whole, stage, source, partials: 0 }
    }

    /// The stage it was in is done, the next begins.
    pub fn enter(&mut self, stage: &'static str) {
        self.stage = self.tracer.stage(&self.whole, stage);
    }

    /// Gives the context to one record of each destination, so that its readers go on with the trace: a record about
    /// the event's source before any other. A batch may hold the windows of thousands of others.
    pub fn mark(&self, records: &mut [OutputRecord]) {
        let Some(header) = self.tracer.traceparent(&self.stage).map(Bytes::from) else { return };
        let mut marked: Vec<(Destination, usize, bool)> = Vec::new();
        // Dead letters have the contexts of their own records.
        let others = |record: &OutputRecord| record.destination != Destination::DeadLetters;
        for (at, record) in records.iter().enumerate().filter(|(_, record)| others(record)) {
            let own = record.key.as_ref().is_some_and(|key| key.ends_with(self.source.as_bytes()));
            match marked.iter_mut().find(|(destination, ..)| *destination == record.destination) {
                Some((_, chosen, is_own)) if own && !*is_own => (*chosen, *is_own) = (at, true),
                Some(_) => {}
                None => marked.push((record.destination.clone(), at, own)),
            }
        }
        for (_, at, _) in marked {
            records[at].headers.push((HEADER, header.clone()));
        }
    }
}

/// Sampled events that a partition has read, until their windows close.
#[derive(Default)]
pub struct Followed {
    waiting: VecDeque<(Trace, Option<EventTime>)>,
}

impl Followed {
    /// Chooses one record to follow: the first whose sender does, else one of our own choice, or none.
    pub fn read(
        &mut self,
        tracer: &Arc<dyn Tracer>,
        intake: &mut dyn Intake,
        partition: &TopicPartition,
        batch: &RecordBatch,
        records: Range<usize>,
    ) {
        let records = &batch.records[records];
        let followed = records.iter().find_map(|record| {
            let header = batch.traceparent(record)?;
            Some((record, tracer.receive(Some(header), partition, record.offset)?))
        });
        let chosen = followed.or_else(|| {
            let record = records.first()?;
            Some((record, tracer.receive(None, partition, record.offset)?))
        });
        let Some((record, span)) = chosen else { return };
        let (time, source) = intake.about(batch, record).unzip();
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((Trace::new(tracer, span, source.unwrap_or_default()), time));
    }

    /// Sends the first event along whose window is in `output`. Partial aggregates take the context of one that waits
    /// with them, for their windows close elsewhere.
    pub fn leave_with(&mut self, output: &mut BatchOutput) {
        if self.waiting.is_empty() || output.silent {
            return;
        }
        let closes = |time: &Option<EventTime>| match time {
            Some(time) => output
                .closed
                .iter()
                .any(|window| window.aggregate.window_start <= *time && *time < window.aggregate.window_end),
            None => !output.closed.is_empty(),
        };
        if let Some(at) = self.waiting.iter().position(|(_, time)| closes(time))
            && let Some((mut trace, _)) = self.waiting.remove(at)
        {
            trace.enter("forecast");
            output.trace = Some(trace);
            return;
        }
        // Everything but dead letters that is here before the forecasts is a partial.
        let partial = output.records.iter_mut().find(|record| record.destination != Destination::DeadLetters);
        if let (Some((trace, _)), Some(partial)) = (self.waiting.back_mut(), partial)
            && trace.partials < PARTIALS
            && let Some(header) = trace.tracer.traceparent(&trace.stage)
        {
            trace.partials += 1;
            partial.headers.push((HEADER, Bytes::from(header)));
        }
    }
}
