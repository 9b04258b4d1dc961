//! Traces of frames, from capture over the commit to gold, sent to an OpenTelemetry collector over HTTP (OTLP).
//!
//! They are off unless the configuration names a collector: then [`Traces`] holds nothing, and what asks it gets `None`.
//! A frame that is chosen carries the trace's name in its message as W3C's `traceparent`, through the log and Pulsar, and
//! a commit is linked to the frames in it. Spans wait in a queue of the SDK that is bounded and drops what is too much,
//! and a thread of its own sends them: a collector that is away holds nobody up.

use crate::TelemetryConfig;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{Link, Span, SpanBuilder, SpanContext, SpanKind, TraceContextExt, TraceId, Tracer, TracerProvider},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{
        BatchSpanProcessor, Sampler, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample, SpanData, SpanExporter,
    },
};
use rva_types::PropertyName;
use std::{
    collections::HashMap,
    fmt,
    io::Read,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

/// The path below the collector's address that takes traces.
const PATH: &str = "/v1/traces";

/// The most commits or frames that a span is linked with.
pub const TRACE_LINKS_MAX: usize = 128;

/// The longest time that the collector has for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The longest time that the end of a program waits for the last spans.
const END_MAX: Duration = Duration::from_secs(3);

/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The sender of traces; without a collector it does nothing. Clones are the same.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Sender>>);

struct Sender {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Traces(on)" } else { "Traces(off)" })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(END_MAX) {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

impl Traces {
    /// Makes the sender of a service; off where the configuration names no collector. Nothing is sent yet, so a
    /// collector that isn't there is no error.
    pub fn of(config: &TelemetryConfig, service: &'static str) -> Self {
        let Some(endpoint) = &config.otlp_endpoint else { return Self::default() };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::default())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}{PATH}", endpoint.trim_end_matches('/')))
            .with_timeout(ANSWER_MAX)
            .build();
        let exporter = match exporter {
            Ok(exporter) => Telling { exporter, is_away: AtomicBool::new(false) },
            Err(error) => {
                tracing::warn!(%error, "can't send traces");
                return Self::default();
            }
        };
        Self::sending(BatchSpanProcessor::builder(exporter).build(), config.trace_ratio, service)
    }

    fn sending(
        processor: impl opentelemetry_sdk::trace::SpanProcessor + 'static,
        ratio: f64,
        service: &'static str,
    ) -> Self {
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(service).with_attribute(version).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Chosen(Sampler::TraceIdRatioBased(ratio)))
            .with_max_links_per_span(TRACE_LINKS_MAX as u32)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("rva");
        Self(Some(Arc::new(Sender { provider, tracer })))
    }

    /// Returns whether anything is traced.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a trace, which began at `start`; `None` unless it is one of those that are chosen.
    pub fn begin(&self, name: &'static str, start: SystemTime) -> Option<TraceSpan> {
        let sender = self.0.as_ref()?;
        let builder = SpanBuilder::from_name(name).with_start_time(start).with_kind(SpanKind::Producer);
        TraceSpan::of(sender, builder, &Context::new())
    }

    /// Goes on with the trace of a message; `None` for a text that names none, or one that wasn't chosen.
    pub fn follow(&self, traceparent: &str, name: &'static str, start: SystemTime) -> Option<TraceSpan> {
        let sender = self.0.as_ref()?;
        let parent = parsed(traceparent)?;
        let builder = SpanBuilder::from_name(name).with_start_time(start).with_kind(SpanKind::Consumer);
        TraceSpan::of(sender, builder, &Context::new().with_remote_span_context(parent))
    }

    /// Begins a trace that is linked with others, of which at most [`TRACE_LINKS_MAX`] are taken; `None` where none of
    /// the texts names one that was chosen.
    pub fn gather<'a>(
        &self,
        name: &'static str,
        start: SystemTime,
        traceparents: impl IntoIterator<Item = &'a str>,
    ) -> Option<TraceSpan> {
        let sender = self.0.as_ref()?;
        let chosen = traceparents.into_iter().filter_map(parsed).filter(SpanContext::is_sampled);
        let links: Vec<Link> = chosen.take(TRACE_LINKS_MAX).map(Link::with_context).collect();
        if links.is_empty() {
            return None;
        }
        TraceSpan::of(sender, SpanBuilder::from_name(name).with_start_time(start).with_links(links), &Context::new())
    }
}

/// Returns the trace that a text names.
fn parsed(traceparent: &str) -> Option<SpanContext> {
    if traceparent.len() > PropertyName::TRACEPARENT_LEN_MAX {
        return None;
    }
    let carrier = HashMap::from([(PropertyName::TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let found = context.span().span_context().clone();
    found.is_valid().then_some(found)
}

/// A span of a trace that was chosen, which goes on until it is ended.
pub struct TraceSpan {
    sender: Arc<Sender>,
    span: opentelemetry_sdk::trace::Span,
}

impl fmt::Debug for TraceSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceSpan({})", self.traceparent())
    }
}

impl TraceSpan {
    fn of(sender: &Arc<Sender>, builder: SpanBuilder, parent: &Context) -> Option<Self> {
        let span = sender.tracer.build_with_context(builder, parent);
        span.is_recording().then(|| Self { sender: Arc::clone(sender), span })
    }

    /// Returns the name by which others go on with it, or are linked with it: a `traceparent` of W3C.
    pub fn traceparent(&self) -> String {
        let context = self.span.span_context();
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
    }

    /// Adds what it was about.
    pub fn set(&mut self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    /// Adds a part of it that is over.
    pub fn part(&self, name: &'static str, start: SystemTime, end: SystemTime) {
        let parent = Context::new().with_remote_span_context(self.span.span_context().clone());
        let builder = SpanBuilder::from_name(name).with_start_time(start);
        self.sender.tracer.build_with_context(builder, &parent).end_with_timestamp(end);
    }

    /// Links it with another.
    pub fn link(&mut self, other: &Self) {
        self.span.add_link(other.span.span_context().clone(), Vec::new());
    }

    /// Ends it.
    pub fn end(mut self, at: SystemTime) {
        self.span.end_with_timestamp(at);
    }
}

/// Chooses what goes on with a chosen trace, what is linked with traces, and of all others a part.
#[derive(Debug, Clone)]
struct Chosen(Sampler);

impl ShouldSample for Chosen {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let followed = parent.filter(|parent| parent.span().span_context().is_valid());
        let always = Sampler::AlwaysOn;
        match followed.map(|parent| parent.span().span_context().is_sampled()) {
            Some(false) => Sampler::AlwaysOff.should_sample(parent, trace_id, name, kind, attributes, links),
            Some(true) => always.should_sample(parent, trace_id, name, kind, attributes, links),
            None if !links.is_empty() => always.should_sample(parent, trace_id, name, kind, attributes, links),
            None => self.0.should_sample(parent, trace_id, name, kind, attributes, links),
        }
    }
}

/// An exporter that says once that the collector is away, and once that it is back.
#[derive(Debug)]
struct Telling<E> {
    exporter: E,
    is_away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Telling<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        let was_away = self.is_away.swap(sent.is_err(), Relaxed);
        match &sent {
            Err(error) if !was_away => {
                tracing::warn!(%error, "can't send traces; they are dropped until it works again")
            }
            Ok(()) if was_away => tracing::info!("traces are sent again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// A client that is made on the thread that sends, and waits there.
#[derive(Debug, Default)]
struct Client(OnceLock<Result<reqwest::blocking::Client, String>>);

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let made = self.0.get_or_init(|| {
            let builder = reqwest::blocking::Client::builder().timeout(ANSWER_MAX);
            builder.redirect(reqwest::redirect::Policy::none()).build().map_err(|error| error.to_string())
        });
        let client = made.as_ref().map_err(|error| error.clone())?;
        let answer = client.execute(request.try_into()?)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.extend(answer.headers().clone());
        }
        let mut body = Vec::new();
        answer.take(ANSWER_BYTES_MAX).read_to_end(&mut body)?;
        Ok(response.body(body.into())?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use opentelemetry_sdk::trace::SimpleSpanProcessor;
    use std::sync::Mutex;

    /// An exporter that keeps what it is given.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    impl Kept {
        fn spans(&self) -> Vec<SpanData> {
            self.0.lock().unwrap().clone()
        }
    }

    fn traces(ratio: f64) -> (Traces, Kept) {
        let exporter = Kept::default();
        (Traces::sending(SimpleSpanProcessor::new(exporter.clone()), ratio, "test"), exporter)
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_frame_is_followed_into_another_process_and_its_commit_is_linked_with_it() {
        let (camera, of_camera) = traces(1.0);
        // The other process chooses nothing by itself.
        let (ingest, of_ingest) = traces(0.0);
        let mut frame = camera.begin("frame", at(10)).unwrap();
        frame.set("rva.frame_index", 7_i64);
        frame.part("decode", at(10), at(11));
        let traceparent = frame.traceparent();
        frame.end(at(12));
        let mut row = ingest.follow(&traceparent, "ingest", at(13)).unwrap();
        let commit = ingest.gather("commit", at(14), [traceparent.as_str()]).unwrap();
        row.link(&commit);
        row.end(at(15));
        commit.end(at(15));
        let (sent, taken) = (of_camera.spans(), of_ingest.spans());
        let (decode, frame) = (&sent[0], &sent[1]);
        assert_eq!((decode.name.as_ref(), decode.parent_span_id), ("decode", frame.span_context.span_id()));
        assert_eq!((frame.start_time, frame.end_time, frame.attributes.len()), (at(10), at(12), 1));
        let (row, commit) = (&taken[0], &taken[1]);
        assert_eq!(row.span_context.trace_id(), frame.span_context.trace_id());
        assert_eq!(row.parent_span_id, frame.span_context.span_id());
        assert_eq!(row.links.links[0].span_context.trace_id(), commit.span_context.trace_id());
        assert_eq!(commit.links.links[0].span_context.span_id(), frame.span_context.span_id());
        assert_ne!(commit.span_context.trace_id(), frame.span_context.trace_id());
    }

    #[test]
    fn the_ratio_chooses_frames_and_what_was_not_chosen_is_neither_followed_nor_linked() {
        let (traces, exporter) = traces(0.25);
        let chosen = (0..4_000).filter_map(|_| traces.begin("frame", at(1))).count();
        assert!((800..1_200).contains(&chosen), "{chosen}");
        exporter.0.lock().unwrap().clear();
        let left_out = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert!(traces.follow(left_out, "ingest", at(1)).is_none());
        assert!(traces.gather("commit", at(1), [left_out]).is_none());
        let many = (1..=200).map(|n| format!("00-{n:032x}-00f067aa0ba902b7-01")).collect::<Vec<_>>();
        traces.gather("commit", at(1), many.iter().map(String::as_str)).unwrap().end(at(2));
        assert_eq!(exporter.spans()[0].links.links.len(), TRACE_LINKS_MAX);
    }

    #[test]
    fn what_names_no_trace_is_no_trace_and_without_a_collector_there_is_none() {
        let (traces, _) = traces(1.0);
        let long = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01{}", "0".repeat(100));
        let none = ["", "00-0-0-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ä", &long, "00\n"];
        for text in none {
            assert!(traces.follow(text, "ingest", at(1)).is_none(), "{text:?}");
        }
        let off = Traces::default();
        assert!(!off.is_on() && off.begin("frame", at(1)).is_none());
        assert!(off.follow("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "ingest", at(1)).is_none());
    }
}
