//! RTSP: `DESCRIBE`, with credentials where they are asked for.

use super::{
    Login, Patience, bad_status,
    connection::{Connection, NoAnswer},
};
use crate::{VisionError, source::StreamUrl};
use rtsp_types::{Message, Method, ParseError, Request, Response, Version, headers};

/// A question without credentials, one with, and one more where the server closed the connection between them.
const QUESTIONS_MAX: u32 = 3;

pub(super) fn probe(url: &StreamUrl, patience: &Patience<'_>) -> Result<(), VisionError> {
    let is_tls = url.scheme() == "rtsps";
    let open = || Connection::open(url, if is_tls { 322 } else { 554 }, is_tls, patience);
    let mut connection = open()?;
    let mut login = Login::of(url);
    for number in 1..=QUESTIONS_MAX {
        let authorization = login.header("DESCRIBE", url.bare().as_str());
        let question = describe(url, number, authorization).map_err(|()| patience.no_stream("a URL RTSP can't say"))?;
        let response = match connection.ask(&question, patience, |answer| response(answer, patience)) {
            Ok(response) => response,
            Err(NoAnswer::Closed { bytes: 0 }) if number > 1 && number < QUESTIONS_MAX => {
                connection = open()?;
                continue;
            }
            Err(no_answer) => return Err(no_answer.into_error(patience)),
        };
        match u16::from(response.status()) {
            200 if has_pictures(response.body()) => return Ok(()),
            200 => return Err(patience.no_stream("a description without pictures")),
            401 => login.challenged(response.header(&headers::WWW_AUTHENTICATE).map(|v| v.as_str()), patience)?,
            // FFmpeg follows.
            300..=399 => return Ok(()),
            status => return Err(bad_status(status, patience)),
        }
    }
    Err(NoAnswer::Closed { bytes: 0 }.into_error(patience))
}

fn describe(url: &StreamUrl, number: u32, authorization: Option<String>) -> Result<Vec<u8>, ()> {
    let mut request = Request::builder(Method::Describe, Version::V1_0)
        .request_uri(url.bare())
        .header(headers::CSEQ, number.to_string())
        .header(headers::ACCEPT, "application/sdp")
        .header(headers::USER_AGENT, concat!("rva/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = authorization {
        request = request.header(headers::AUTHORIZATION, authorization);
    }
    let mut bytes = Vec::new();
    request.empty().write(&mut bytes).map_err(drop)?;
    Ok(bytes)
}

/// The response in what came until now.
fn response(answer: &[u8], patience: &Patience<'_>) -> Result<Option<Response<Vec<u8>>>, VisionError> {
    match Message::<Vec<u8>>::parse(answer) {
        Ok((Message::Response(response), _)) => Ok(Some(response)),
        Err(ParseError::Incomplete(_)) => Ok(None),
        Ok(_) | Err(ParseError::Error) => Err(patience.no_stream("an answer that isn't RTSP")),
    }
}

fn has_pictures(description: &[u8]) -> bool {
    description.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"m=video"))
}
