//! Probing of RTSP: `OPTIONS` and `DESCRIBE`, as FFmpeg begins, with credentials where they are asked for.

use super::{
    Doubt, Patience, bad_status,
    connection::{Connection, NoAnswer},
    head::{Head, Read},
    login::Login,
};
use crate::{VisionError, source::StreamUrl};

/// The number of questions: both methods, each without credentials and with, and one more where the server closed the
/// connection between them.
const QUESTIONS_MAX: u32 = 5;

/// An answer and its body.
struct Answer {
    head: Head,
    body: Vec<u8>,
}

pub(super) fn probe(url: &StreamUrl, patience: &Patience<'_>) -> Result<Option<Doubt>, VisionError> {
    let is_tls = url.scheme() == "rtsps";
    let open = || Connection::open(url, if is_tls { 322 } else { 554 }, is_tls, patience);
    let mut connection = open()?;
    let mut login = Login::of(url);
    let (mut method, mut has_reconnected) = ("OPTIONS", false);
    for number in 1..=QUESTIONS_MAX {
        let question = question(method, url, number, login.header(method, url.bare().as_str()));
        let answer = match connection.ask(&question, patience, |bytes, is_end| answer(bytes, is_end, patience)) {
            Ok(answer) => answer,
            Err(NoAnswer::Closed { bytes: 0 }) if number > 1 && !has_reconnected => {
                has_reconnected = true;
                connection = open()?;
                continue;
            }
            Err(NoAnswer::Closed { bytes: 1.. }) => return Ok(Some(Doubt::new("its answer isn't whole"))),
            Err(no_answer) => return Err(no_answer.into_error(patience)),
        };
        match (answer.head.status, method) {
            (401, _) => {
                if let Some(doubt) = login.challenged(&answer.head, patience)? {
                    return Ok(Some(doubt));
                }
            }
            // What it says to that decides nothing: only some cameras want to hear it first.
            (_, "OPTIONS") => method = "DESCRIBE",
            (200, _) if has_pictures(&answer.body) => return Ok(login.beyond_ffmpeg()),
            (200, _) => return Err(patience.no_stream("a description without pictures")),
            // FFmpeg follows, within the host.
            (300..=399, _) => return Ok(None),
            (status, _) => return bad_status(status, patience),
        }
    }
    Ok(Some(Doubt::new("it goes on asking")))
}

fn question(method: &str, url: &StreamUrl, number: u32, authorization: Option<String>) -> Vec<u8> {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let accept = if method == "DESCRIBE" { "Accept: application/sdp\r\n" } else { "" };
    format!(
        "{method} {} RTSP/1.0\r\n{accept}CSeq: {number}\r\nUser-Agent: rva/{}\r\n{authorization}\r\n",
        url.bare(),
        env!("CARGO_PKG_VERSION"),
    )
    .into_bytes()
}

/// Reads the answer in what came until now; a body without its length ends with the connection.
fn answer(bytes: &[u8], is_end: bool, patience: &Patience<'_>) -> Result<Option<Answer>, VisionError> {
    let head = match Head::read(bytes, "RTSP/") {
        Read::Whole(head) => head,
        Read::Part => return Ok(None),
        Read::Foreign => return Err(patience.no_stream("an answer that isn't RTSP")),
    };
    let length = head.text("content-length").and_then(|text| text.parse::<usize>().ok());
    let body = &bytes[head.body_at..];
    match length {
        Some(length) if body.len() >= length => Ok(Some(Answer { body: body[..length].to_vec(), head })),
        Some(_) if is_end => Ok(Some(Answer { body: body.to_vec(), head })),
        Some(_) => Ok(None),
        None => Ok(Some(Answer { body: body.to_vec(), head })),
    }
}

fn has_pictures(description: &[u8]) -> bool {
    description.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| line.starts_with(b"m=video"))
}
