//! A collector of OpenTelemetry that keeps what it is sent over HTTP.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost_of_opentelemetry::Message;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A span as it was sent; ids are hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSpan {
    /// The service that sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The trace that it belongs to.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The span that it is a part of; empty for none.
    pub parent: String,
    /// The spans that it is linked with: trace and id.
    pub links: Vec<(String, String)>,
    /// When it began, in nanoseconds since 1970.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// What it was about.
    pub attributes: BTreeMap<String, String>,
}

/// A collector on this machine, until the process ends.
pub struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<SeenSpan>>>,
}

impl Collector {
    /// Starts to listen.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { address, seen }
    }

    /// Returns the address, as `OTEL_EXPORTER_OTLP_ENDPOINT` takes it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what it was sent so far.
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers the requests of a connection until it ends.
fn serve(stream: TcpStream, kept: &Mutex<Vec<SeenSpan>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let (mut length, mut first) = (0, String::new());
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(found) = line.strip_prefix("content-length:") {
                length = found.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        assert!(first.starts_with("POST /v1/traces "), "{first}");
        let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        for of_resource in request.resource_spans {
            let about = of_resource.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
            let service = about.get("service.name").cloned().unwrap_or_default();
            let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
            kept.lock().unwrap().extend(spans.map(|span| seen(&service, span)));
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn seen(service: &str, span: Span) -> SeenSpan {
    SeenSpan {
        service: service.to_owned(),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        attributes: texts(span.attributes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}
