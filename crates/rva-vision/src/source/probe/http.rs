//! Probing of HTTP: the head of the answer to a `GET`; many cameras don't know `HEAD`.

use super::{
    Doubt, Patience, bad_status,
    connection::{Connection, NoAnswer},
    head::{Head, Read},
    login::Login,
};
use crate::{VisionError, source::StreamUrl};

pub(super) fn probe(url: &StreamUrl, patience: &Patience<'_>) -> Result<Option<Doubt>, VisionError> {
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
        let head = match connection.ask(question.as_bytes(), patience, |bytes, _| head(bytes, patience)) {
            Ok(head) => head,
            Err(NoAnswer::Closed { bytes: 1.. }) => return Ok(Some(Doubt::new("its answer isn't whole"))),
            Err(no_answer) => return Err(no_answer.into_error(patience)),
        };
        match head.status {
            200 | 206 if is_page(&head) => return Err(patience.no_stream("a web page (text/html)")),
            200 | 206 => return Ok(login.beyond_ffmpeg()),
            // FFmpeg follows, within the host.
            300..=399 => return Ok(None),
            401 => {
                if let Some(doubt) = login.challenged(&head, patience)? {
                    return Ok(Some(doubt));
                }
            }
            status => return bad_status(status, patience),
        }
    }
}

fn is_page(head: &Head) -> bool {
    head.text("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

/// Reads the head in what came until now. Some cameras answer HTTP with `ICY` or RTSP's name: FFmpeg judges those.
fn head(bytes: &[u8], patience: &Patience<'_>) -> Result<Option<Head>, VisionError> {
    match Head::read(bytes, "HTTP/") {
        Read::Whole(head) => Ok(Some(head)),
        Read::Part => Ok(None),
        Read::Foreign => Err(patience.no_stream("an answer that isn't HTTP")),
    }
}
