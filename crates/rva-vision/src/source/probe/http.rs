//! HTTP: the head of the answer to a `GET`; many cameras don't know `HEAD`.

use super::{Login, Patience, bad_status, connection::Connection};
use crate::{VisionError, source::StreamUrl};

/// Headers that are looked at.
const HEADERS_MAX: usize = 64;

/// The head of an answer.
struct Head {
    status: u16,
    content_type: String,
    challenge: Option<String>,
}

pub(super) fn probe(url: &StreamUrl, patience: &Patience<'_>) -> Result<(), VisionError> {
    let is_tls = url.scheme() == "https";
    let mut login = Login::of(url);
    loop {
        let mut connection = Connection::open(url, if is_tls { 443 } else { 80 }, is_tls, patience)?;
        let bare = url.bare();
        let target = &bare[url::Position::BeforePath..url::Position::AfterQuery];
        let authorization = login.header("GET", target).map(|value| format!("Authorization: {value}\r\n"));
        let question = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: rva/{}\r\nAccept: */*\r\nConnection: close\r\n{}\r\n",
            &bare[url::Position::BeforeHost..url::Position::AfterPort],
            env!("CARGO_PKG_VERSION"),
            authorization.unwrap_or_default(),
        );
        let head = connection
            .ask(question.as_bytes(), patience, |answer| head(answer, patience))
            .map_err(|no_answer| no_answer.into_error(patience))?;
        match head.status {
            200 | 206 if head.content_type.starts_with("text/html") => {
                return Err(patience.no_stream("a web page (text/html)"));
            }
            // FFmpeg follows where it is sent.
            200 | 206 | 300..=399 => return Ok(()),
            401 => login.challenged(head.challenge.as_deref(), patience)?,
            status => return Err(bad_status(status, patience)),
        }
    }
}

/// The head in what came until now.
fn head(answer: &[u8], patience: &Patience<'_>) -> Result<Option<Head>, VisionError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(_)) => {
            let all = |name: &str| {
                let found = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| String::from_utf8_lossy(header.value).into_owned()).collect::<Vec<_>>()
            };
            let challenges = all("www-authenticate");
            Ok(Some(Head {
                status: response.code.unwrap_or_default(),
                content_type: all("content-type").concat().to_ascii_lowercase(),
                challenge: (!challenges.is_empty()).then(|| challenges.join(", ")),
            }))
        }
        Err(_) => Err(patience.no_stream("an answer that isn't HTTP")),
    }
}
