//! The head of an answer, read as leniently as FFmpeg reads it: cameras write line feeds alone, leave out the reason,
//! put blanks before colons, fold lines, and use letters beyond ASCII.

/// The byte that packets of pictures begin with, which some cameras send before they answer.
const INTERLEAVED: u8 = b'$';

/// The head of an answer, and the place where its body begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The number behind the protocol's name.
    pub(super) status: u16,
    /// The headers: names in lower case and values, both trimmed. A value is as it came: often Latin-1.
    headers: Vec<(String, Vec<u8>)>,
    /// The place where the body begins in the bytes that were read.
    pub(super) body_at: usize,
}

/// The kind of the bytes until now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    /// The beginning of a head, or nothing yet.
    Part,
    /// A whole head.
    Whole(Head),
    /// No answer of this protocol.
    Foreign,
}

impl Head {
    /// Reads the head of an answer of a protocol, `RTSP/` or `HTTP/`.
    pub(super) fn read(bytes: &[u8], protocol: &str) -> Read {
        let Some(begin) = behind_packets(bytes) else { return Read::Part };
        let known = protocol.len().min(bytes.len() - begin);
        if !bytes[begin..begin + known].eq_ignore_ascii_case(&protocol.as_bytes()[..known]) {
            return Read::Foreign;
        }
        let (mut lines, mut at) = (Vec::<Vec<u8>>::new(), begin);
        loop {
            let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') else { return Read::Part };
            let line = bytes[at..at + length].trim_ascii_end();
            at += length + 1;
            match lines.last_mut() {
                _ if line.is_empty() => break,
                // A line that begins with a blank goes on with the one before.
                Some(last) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                    last.push(b' ');
                    last.extend_from_slice(line.trim_ascii());
                }
                _ => lines.push(line.to_vec()),
            }
        }
        let status = lines.first().and_then(|line| {
            let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).skip(1);
            std::str::from_utf8(words.next()?).ok()?.parse().ok()
        });
        let Some(status) = status else { return Read::Foreign };
        let headers = lines.iter().skip(1).filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = String::from_utf8_lossy(line[..colon].trim_ascii()).to_ascii_lowercase();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        });
        Read::Whole(Self { status, headers: headers.collect(), body_at: at })
    }

    /// Returns the values of a header, whose name is given in lower case.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    /// Returns the first value of a header as text; bytes that aren't UTF-8 are replaced.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.all(name).next().map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// Returns the place where the words begin behind packets and empty lines; `None` within a packet.
fn behind_packets(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            &INTERLEAVED => {
                let length = u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]);
                at += 4 + usize::from(length);
            }
            b'\r' | b'\n' => at += 1,
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8]) -> Head {
        match Head::read(text, "RTSP/") {
            Read::Whole(head) => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn heads_of_cameras_are_read_however_they_are_written() {
        let plain: &[u8] = b"RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\"\r\n\r\nbody";
        let cases: [&[u8]; 6] = [
            plain,
            b"RTSP/1.0 401 Unauthorized\nWWW-Authenticate: Digest realm=\"a\"\n\nbody",
            b"RTSP/1.0 401\r\nWWW-Authenticate : Digest realm=\"a\"\r\n\r\nbody",
            b"\r\nrtsp/1.0  401 \r\nCSeq: 1\r\nwww-authenticate:Digest realm=\"a\"  \r\n\r\nbody",
            b"$\x00\x00\x03a\r\nRTSP/1.0 401 No\r\nWWW-Authenticate: Digest\r\n realm=\"a\"\r\n\r\nbody",
            b"RTSP/1.0 401 Unauthorized\r\nno colon\r\nServer: \xb4\xf3\r\nWWW-Authenticate: Digest realm=\"a\"\r\n\r\nbody",
        ];
        for case in cases {
            let head = whole(case);
            let shown = String::from_utf8_lossy(case);
            assert_eq!(head.status, 401, "{shown}");
            assert_eq!(head.text("www-authenticate").as_deref(), Some("Digest realm=\"a\""), "{shown}");
            assert_eq!(&case[head.body_at..], b"body", "{shown}");
        }
        for end in 0..plain.len() - 4 {
            assert_eq!(Head::read(&plain[..end], "RTSP/"), Read::Part, "{end} bytes");
        }
        assert_eq!(Head::read(b"HTTP/1.1 400 Bad Request\r\n\r\n", "RTSP/"), Read::Foreign);
        assert_eq!(Head::read(b"RTSP/1.0 what\r\n\r\n", "RTSP/"), Read::Foreign);
    }

    #[test]
    fn letters_beyond_ascii_stay_as_they_came() {
        let head = whole(b"RTSP/1.0 401 x\r\nWWW-Authenticate: Digest realm=\"Cam\xe9ra\"\r\n\r\n");
        assert_eq!(head.all("www-authenticate").collect::<Vec<_>>(), [b"Digest realm=\"Cam\xe9ra\"".as_slice()]);
    }
}
