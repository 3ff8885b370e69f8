//! Traces: one sampled event's way from Kafka's record to the browser's frame, exported over OTLP.

use crate::logging::TelemetryError;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use std::collections::HashMap;
use std::time::Duration;
use tidecast_config::{OtlpProtocol, Telemetry as Settings};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;

/// The target of spans that are exported; others are for the log alone.
pub const TRACE_TARGET: &str = "tidecast_trace";

const TIMEOUT: Duration = Duration::from_secs(5);
const HEADER: &str = "traceparent";
/// Digits of its parts.
const PARTS: [usize; 4] = [2, 32, 16, 2];

/// What exports spans, when a collector is set.
pub(crate) fn provider(
    settings: &Settings,
    instance: &str,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
    // The HTTP client panics without one; an error says that somebody installed theirs before, which will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = exporter(endpoint, settings.otlp_protocol).map_err(|error| {
        TelemetryError::Exporter(format!("{error}; give scheme, host and port of an OTLP collector"))
    })?;
    let mut resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ]);
    // The builder has read OpenTelemetry's own variables; they go before our name.
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some()
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|given| given.contains("service.name="));
    if !named {
        resource = resource.with_service_name("tidecast");
    }
    let resource = resource.build();
    // Who sends us a sampled event wants to see it through; our own choice is for events without a context.
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_rate)));
    let builder = SdkTracerProvider::builder().with_resource(resource).with_sampler(sampler);
    Ok(Some(builder.with_batch_exporter(exporter).build()))
}

fn exporter(endpoint: &str, protocol: OtlpProtocol) -> Result<SpanExporter, ExporterBuildError> {
    match protocol {
        OtlpProtocol::Grpc => {
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(TIMEOUT).build()
        }
        OtlpProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(signal_address(endpoint))
            .with_timeout(TIMEOUT)
            .build(),
    }
}

/// A collector's base address gets the path that OTLP over HTTP gives to traces; a whole address stays as it is.
fn signal_address(endpoint: &str) -> String {
    let path =
        endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    match path.is_empty() {
        true => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        false => endpoint.to_owned(),
    }
}

pub(crate) fn layer<S>(provider: &SdkTracerProvider) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer().with_tracer(provider.tracer("tidecast")).with_target(false)
}

/// The context that a record's `traceparent` header names (W3C, 55 characters); `None` for one that names none.
pub fn extract(header: &[u8]) -> Option<Context> {
    // The propagator also takes what was cut short, and digits too many of one part where another has too few.
    let header = std::str::from_utf8(header).ok().filter(|header| has_form(header))?;
    let carrier = HashMap::from([(HEADER.to_owned(), header.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().is_valid().then_some(context)
}

/// Version, trace, parent and flags: so many hexadecimal digits each, in lower case.
fn has_form(header: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let parts = header.split('-').map(|part| part.bytes().all(is_digit).then_some(part.len()));
    parts.eq(PARTS.map(Some))
}

/// The `traceparent` of a span, to be sent along with what it made; `None` for one that is not traced.
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    if !context.span().span_context().is_sampled() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(HEADER)
}

/// The span, where it is sampled: below the sender's context, or a root that the share of sampled events decides on.
fn sampled(span: Span, parent: Option<Context>) -> Option<Span> {
    if let Some(parent) = parent {
        // It fails for a span that nobody exports, which is not sampled.
        span.set_parent(parent).ok()?;
    }
    let context = span.context();
    context.span().span_context().is_sampled().then_some(span)
}

/// The first span of records read from Kafka. A header that names no context is as none: the record starts a trace.
pub fn receive(header: Option<&[u8]>, topic: &str, partition: i32, offset: i64) -> Option<Span> {
    let span = tracing::info_span!(
        target: TRACE_TARGET,
        parent: None,
        "process",
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.operation.type = "process",
        messaging.destination.name = topic,
        messaging.destination.partition.id = partition,
        messaging.kafka.offset = offset,
    );
    sampled(span, header.and_then(extract))
}

/// A stage of an event's way through the house, below `parent`.
pub fn stage(parent: &Span, stage: &'static str) -> Span {
    tracing::info_span!(target: TRACE_TARGET, parent: parent, "stage", otel.name = stage)
}

/// The way of an output record about `of` to the first client's frame; `None` where its context is not sampled.
pub fn deliver(header: &[u8], of: &str) -> Option<Span> {
    let parent = extract(header)?;
    let span = tracing::info_span!(target: TRACE_TARGET, parent: None, "deliver", otel.kind = "consumer", about = of);
    sampled(span, Some(parent))
}

#[cfg(test)]
mod tests {
    use super::{extract, signal_address};
    use opentelemetry::trace::TraceContextExt;

    #[test]
    fn a_base_address_gets_the_path_of_traces() {
        assert_eq!(signal_address("http://h:4318"), "http://h:4318/v1/traces");
        assert_eq!(signal_address("http://h:4318/"), "http://h:4318/v1/traces");
        assert_eq!(signal_address("https://h/otlp/v1/traces"), "https://h/otlp/v1/traces");
    }

    #[test]
    fn headers_that_name_no_context_are_none() {
        let good = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = extract(good).expect("a W3C header");
        let span = context.span().span_context().clone();
        assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(span.is_sampled() && span.is_remote());
        for wrong in [
            &b""[..],
            b"00-0-0-01",
            b"007-f0a651916cd43dd8448eb211c80319c-0000040000000000-01",
            b"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            b"\xff\xfe",
            &good[..54],
            b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ] {
            assert!(extract(wrong).is_none());
        }
    }
}
