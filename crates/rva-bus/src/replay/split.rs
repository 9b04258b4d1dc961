//! Cutting of a text into records: one a line, or one a JSON value where they are spread over lines.

use std::mem;

/// A record, or a text that stands in the place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The bytes; of a piece over the bound only the start.
    pub body: Vec<u8>,
    /// The length in the file, in bytes.
    pub length: u64,
    /// The line that it starts in, from 1.
    pub line: u64,
}

/// The bytes that are kept of a piece over the bound.
const KEPT_BYTES: usize = 64 << 10;

/// The bytes of a text that are looked at before it is decided how it is cut.
const UNDECIDED_BYTES_MAX: usize = 64 << 10;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A splitter that cuts a text which comes in parts.
#[derive(Debug)]
pub(super) struct Splitter {
    bytes_max: usize,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// The text so far, which doesn't tell how it is to be cut.
    Undecided(Vec<u8>),
    Lines(Lines),
    Values(Values),
}

impl Splitter {
    /// Makes a splitter that keeps pieces of up to `bytes_max` whole.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, mode: Mode::Undecided(Vec::new()) }
    }

    /// Takes the next bytes and returns the pieces that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        match &mut self.mode {
            Mode::Lines(lines) => lines.push(bytes),
            Mode::Values(values) => values.push(bytes),
            Mode::Undecided(held) => {
                held.extend_from_slice(bytes);
                let are_values = are_values(held).or((held.len() >= UNDECIDED_BYTES_MAX).then_some(false));
                are_values.map_or_else(Vec::new, |are_values| self.decide(are_values))
            }
        }
    }

    /// Returns the pieces that are left at the end of the text, which may not end in a line end.
    pub(super) fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = match &self.mode {
            Mode::Undecided(held) => {
                let are_values = are_values(held).unwrap_or(false);
                self.decide(are_values)
            }
            _ => Vec::new(),
        };
        pieces.extend(match &mut self.mode {
            Mode::Lines(lines) => lines.finish(),
            Mode::Values(values) => values.finish(),
            Mode::Undecided(_) => None,
        });
        pieces
    }

    /// Returns the number of lines so far.
    pub(super) fn lines(&self) -> u64 {
        match &self.mode {
            Mode::Lines(lines) => lines.count,
            Mode::Values(values) => values.line_ends + u64::from(!values.starts_line),
            Mode::Undecided(_) => 0,
        }
    }

    /// Returns whether an array of records was begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        matches!(&self.mode, Mode::Values(values) if values.arrays > 0)
    }

    fn decide(&mut self, are_values: bool) -> Vec<Piece> {
        let mode = if are_values {
            Mode::Values(Values::new(self.bytes_max))
        } else {
            Mode::Lines(Lines::new(self.bytes_max))
        };
        match mem::replace(&mut self.mode, mode) {
            Mode::Undecided(held) => self.push(&held),
            _ => Vec::new(),
        }
    }
}

/// Returns whether a text holds JSON values that are not one a line, as far as its start tells: an array of objects, an
/// object over several lines, several objects on one.
fn are_values(text: &[u8]) -> Option<bool> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    let start = text.iter().position(|byte| !is_blank(byte))?;
    match text[start] {
        // RFC 7464 marks the start of each value so.
        0x1e => return Some(true),
        b'[' => {
            let inner = text[start + 1..].iter().find(|byte| !is_blank(byte))?;
            return Some(matches!(inner, b'{' | b']'));
        }
        b'{' => {}
        _ => return Some(false),
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_i64, false, false);
    for (at, byte) in text.iter().enumerate().skip(start) {
        match byte {
            b'\n' | b'\r' if depth > 0 => {
                // A line that was torn off is followed by the start of another, an object over lines by its insides.
                let next = text[at..].iter().find(|byte| !is_blank(byte))?;
                return Some(!in_string && *next != b'{');
            }
            b'\n' | b'\r' => return Some(false),
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' if depth == 0 && at > start => return Some(true),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The bytes of one piece, within the bound.
#[derive(Debug)]
struct Building {
    body: Vec<u8>,
    length: u64,
    is_over: bool,
    bytes_max: usize,
}

impl Building {
    fn new(bytes_max: usize) -> Self {
        Self { body: Vec::new(), length: 0, is_over: false, bytes_max }
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn push(&mut self, part: &[u8]) {
        self.length += part.len() as u64;
        if self.is_over {
            return;
        }
        if self.body.len() + part.len() <= self.bytes_max {
            return self.body.extend_from_slice(part);
        }
        self.is_over = true;
        let kept = KEPT_BYTES.min(self.bytes_max);
        let more = kept.saturating_sub(self.body.len()).min(part.len());
        self.body.extend_from_slice(&part[..more]);
        self.body.truncate(kept);
        self.body.shrink_to_fit();
    }

    /// Takes the piece, unless it is blank.
    fn take(&mut self, line: u64) -> Option<Piece> {
        let Self { mut body, mut length, is_over, .. } = mem::replace(self, Self::new(self.bytes_max));
        while body.starts_with(BOM) {
            // Of a file, or of one that others were put behind.
            body.drain(..BOM.len());
            length -= BOM.len() as u64;
        }
        let is_blank = !is_over && body.iter().all(u8::is_ascii_whitespace);
        (!is_blank).then_some(Piece { body, length, line })
    }
}

/// The cutting of records that stand one a line. Lines end in `\n`, `\r\n` or `\r`.
#[derive(Debug)]
struct Lines {
    building: Building,
    /// The number of lines that were begun.
    count: u64,
    after_return: bool,
    in_line: bool,
}

impl Lines {
    fn new(bytes_max: usize) -> Self {
        Self { building: Building::new(bytes_max), count: 0, after_return: false, in_line: false }
    }

    fn push(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if mem::take(&mut self.after_return) && bytes.first() == Some(&b'\n') {
            bytes = &bytes[1..];
        }
        while !bytes.is_empty() {
            if !mem::replace(&mut self.in_line, true) {
                self.count += 1;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let Some(end) = end else {
                self.building.push(bytes);
                break;
            };
            self.building.push(&bytes[..end]);
            pieces.extend(self.building.take(self.count));
            self.in_line = false;
            let is_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            match bytes.first() {
                Some(b'\n') if is_return => bytes = &bytes[1..],
                None => self.after_return = is_return,
                _ => {}
            }
        }
        pieces
    }

    fn finish(&mut self) -> Option<Piece> {
        self.building.take(self.count)
    }
}

/// The cutting of values that stand one behind the other or in arrays, without the blanks between their parts: the
/// bytes that the same record has on one line.
#[derive(Debug)]
struct Values {
    building: Building,
    /// The number of open braces and brackets of the value.
    depth: u64,
    /// The number of open brackets around values.
    arrays: u64,
    in_string: bool,
    is_escaped: bool,
    line_ends: u64,
    after_return: bool,
    /// Set where nothing of this line came yet.
    starts_line: bool,
    /// The line that the value starts in.
    line: u64,
}

impl Values {
    fn new(bytes_max: usize) -> Self {
        Self {
            building: Building::new(bytes_max),
            depth: 0,
            arrays: 0,
            in_string: false,
            is_escaped: false,
            line_ends: 0,
            after_return: false,
            starts_line: true,
            line: 1,
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for byte in bytes {
            self.take(*byte, &mut pieces);
        }
        pieces
    }

    fn finish(&mut self) -> Option<Piece> {
        self.depth = 0;
        self.building.take(self.line)
    }

    fn take(&mut self, byte: u8, pieces: &mut Vec<Piece>) {
        let starts_line = mem::replace(&mut self.starts_line, matches!(byte, b'\n' | b'\r'));
        if self.starts_line {
            // No string goes over a line's end: this one was torn.
            self.in_string = false;
            let is_second = byte == b'\n' && self.after_return;
            self.line_ends += u64::from(!is_second);
        }
        self.after_return = byte == b'\r';
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return self.building.push(&[byte]);
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x1e => {
                if self.depth == 0 {
                    self.emit(pieces);
                }
            }
            b',' if self.depth == 0 => self.emit(pieces),
            b'[' if self.depth == 0 && self.building.is_empty() => self.arrays += 1,
            b']' if self.depth == 0 && self.arrays > 0 => {
                self.emit(pieces);
                self.arrays -= 1;
            }
            b'{' | b'[' => {
                // What isn't indented is the start of another value: the one before was torn.
                if self.depth == 0 || (starts_line && byte == b'{' && self.arrays == 0) {
                    self.emit(pieces);
                }
                self.keep(byte);
                self.depth += 1;
            }
            b'}' | b']' => {
                self.keep(byte);
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.emit(pieces);
                }
            }
            _ => {
                self.keep(byte);
                self.in_string = byte == b'"';
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.building.is_empty() {
            self.line = self.line_ends + 1;
        }
        self.building.push(&[byte]);
    }

    fn emit(&mut self, pieces: &mut Vec<Piece>) {
        self.depth = 0;
        pieces.extend(self.building.take(self.line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies and the lines that they start in; the same however the text comes.
    fn cut(text: &[u8]) -> Vec<(String, u64)> {
        let whole = cut_by(text, text.len().max(1));
        for step in [1, 2, 7] {
            assert_eq!(cut_by(text, step), whole, "in parts of {step} bytes");
        }
        whole
    }

    fn cut_by(text: &[u8], step: usize) -> Vec<(String, u64)> {
        let mut splitter = Splitter::new(1 << 20);
        let mut pieces: Vec<Piece> = text.chunks(step).flat_map(|part| splitter.push(part)).collect();
        pieces.extend(splitter.finish());
        pieces.into_iter().map(|piece| (String::from_utf8_lossy(&piece.body).into_owned(), piece.line)).collect()
    }

    fn wanted(pieces: &[(&str, u64)]) -> Vec<(String, u64)> {
        pieces.iter().map(|(body, line)| ((*body).to_owned(), *line)).collect()
    }

    #[test]
    fn a_line_ends_in_either_or_both_of_its_characters() {
        let pieces = wanted(&[(r#"{"a":1}"#, 1), (r#"{"b":2}"#, 2), (r#"{"c":3}"#, 4)]);
        for end in ["\n", "\r\n", "\r"] {
            let text = [r#"{"a":1}"#, r#"{"b":2}"#, "", r#"{"c":3}"#].join(end);
            assert_eq!(cut(text.as_bytes()), pieces);
            assert_eq!(cut(format!("{text}{end}").as_bytes()), pieces);
        }
    }

    #[test]
    fn a_mark_of_the_byte_order_is_no_part_of_a_record_wherever_a_file_began() {
        let text = "\u{feff}{\"a\":\"\u{feff}\"}\n\u{feff}\u{feff}{\"b\":2}\n\u{feff}\n";
        assert_eq!(cut(text.as_bytes()), wanted(&[("{\"a\":\"\u{feff}\"}", 1), (r#"{"b":2}"#, 2)]));
        assert_eq!(cut("\u{feff}[{\"a\":1}]".as_bytes()).len(), 1);
    }

    #[test]
    fn records_over_several_lines_get_the_bytes_of_one_line() {
        let pieces = wanted(&[(r#"{"a":[1,{"b":" { ] \" "}],"c":null}"#, 1), (r#"{"d":2}"#, 9)]);
        let text = "{\n  \"a\": [\n    1,\n    { \"b\": \" { ] \\\" \" }\n  ],\n  \"c\": null\n}\n\n{\n\"d\": 2\n}\n";
        assert_eq!(cut(text.as_bytes()), pieces);
        assert_eq!(cut(text.replace('\n', "\r\n").as_bytes()), pieces);
        assert_eq!(cut(text.replace('\n', "\r").as_bytes()), pieces);
        let tight = text.replace('\n', "").replace("  ", "");
        assert_eq!(cut(tight.as_bytes()).iter().map(|(body, _)| body).collect::<Vec<_>>().len(), 2);
    }

    #[test]
    fn an_array_of_records_gives_its_elements() {
        let two = wanted(&[(r#"{"a":[1]}"#, 1), (r#"{"b":2}"#, 1)]);
        assert_eq!(cut(br#"[{"a": [1]}, {"b": 2}]"#), two);
        let text = "[\n{\"a\":[1]},\n{\"b\":2}\n]\n[\n]\n[ {\"c\":3} ]";
        assert_eq!(cut(text.as_bytes()), wanted(&[(r#"{"a":[1]}"#, 2), (r#"{"b":2}"#, 3), (r#"{"c":3}"#, 7)]));
        assert_eq!(cut(b"[]"), []);
        let mut splitter = Splitter::new(1 << 20);
        assert_eq!(splitter.push(b"[{\"a\":1},\n{\"b\"").len(), 1);
        assert_eq!((splitter.finish().len(), splitter.is_open()), (1, true), "it broke off");
    }

    #[test]
    fn torn_values_and_what_is_none_take_nothing_else_with_them() {
        let text = "{\n  \"a\": \"x\n{\n  \"b\": 2\n}\nnonsense here\n{\n \"c\":3 }\n";
        let found = cut(text.as_bytes());
        let found: Vec<_> = found.iter().map(|(body, line)| (body.as_str(), *line)).collect();
        assert_eq!(found, [("{\"a\":\"x", 1), ("{\"b\":2}", 3), ("nonsense", 6), ("here", 6), ("{\"c\":3}", 7)]);
        let torn = "{\"a\":[1,\n{\"b\":2}\n[1]\n7\n";
        assert_eq!(cut(torn.as_bytes()), wanted(&[("{\"a\":[1,", 1), ("{\"b\":2}", 2), ("[1]", 3), ("7", 4)]));
    }

    #[test]
    fn values_without_line_ends_between_them_are_told_apart() {
        assert_eq!(cut(br#"{"a":1}{"b":2} {"c":3}"#).len(), 3);
        assert_eq!(cut(b"\x1e{\"a\":1}\n\x1e{\"b\":2}\n"), wanted(&[(r#"{"a":1}"#, 1), (r#"{"b":2}"#, 2)]));
    }

    #[test]
    fn of_a_piece_over_the_bound_the_start_is_kept_and_the_length_told() {
        for text in
            [format!("{{\"a\":\"{}\"}}\n{{}}\n", "x".repeat(200)), format!("[{{\"a\":\"{}\"}},{{}}]", "x".repeat(200))]
        {
            let mut splitter = Splitter::new(100);
            let mut pieces: Vec<Piece> = text.as_bytes().chunks(9).flat_map(|part| splitter.push(part)).collect();
            pieces.extend(splitter.finish());
            let found: Vec<_> = pieces.iter().map(|piece| (piece.body.len(), piece.length)).collect();
            assert_eq!(found, [(100, 208), (2, 2)]);
        }
    }
}
