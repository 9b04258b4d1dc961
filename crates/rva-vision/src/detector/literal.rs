//! Python literals that Ultralytics writes into a model's metadata: `{0: 'person', 1: "driver's van"}` and `[640,
//! 640]`. JSON of the same shape is read too.

/// Reads class names by id from a dict literal with the keys 0 to n-1 in any order, or from a list literal of strings.
///
/// # Errors
/// Returns where the text stops being such a literal, and what was wanted there.
pub(crate) fn parse_names(text: &str) -> Result<Vec<String>, String> {
    let entries = parse_named(text)?;
    let mut names = vec![None; entries.len()];
    let count = entries.len();
    for (id, name) in entries {
        match names.get_mut(id) {
            Some(slot @ None) => *slot = Some(name),
            Some(Some(_)) => return Err(format!("found class id {id} twice, wanted it once")),
            None => return Err(format!("found class id {id} among {count} names, wanted 0 to {}", count - 1)),
        }
    }
    Ok(names.into_iter().flatten().collect())
}

/// Reads class ids and names as [`parse_names`] does, where ids may be left out.
///
/// # Errors
/// Fails as [`parse_names`] does about the text.
pub(crate) fn parse_named(text: &str) -> Result<Vec<(usize, String)>, String> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0 };
    let entries = match reader.peek() {
        Some('{') => reader.sequence('{', '}', |r, _| {
            let key = r.key()?;
            r.expect(':')?;
            Ok((key, r.string()?))
        })?,
        Some('[') => reader.sequence('[', ']', |r, index| Ok((index, r.string()?)))?,
        _ => return Err(reader.wanted("a dict of class names such as {0: 'person'}")),
    };
    reader.end()?;
    Ok(entries)
}

/// Reads the numbers of a list or tuple literal of non-negative integers, or of a bare integer.
pub(crate) fn parse_integers(text: &str) -> Option<Vec<u32>> {
    parse_list(text)
}

/// Reads the numbers of a list or tuple literal of numbers, or a bare number.
pub(crate) fn parse_floats(text: &str) -> Option<Vec<f32>> {
    parse_list(text)
}

fn parse_list<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    let inner = text.trim();
    let inner = inner
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .or_else(|| inner.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')))
        .unwrap_or(inner);
    inner.trim_end_matches([',', ' ']).split(',').map(|part| part.trim().parse().ok()).collect()
}

/// The most class names: a bound on what a damaged file can make us allocate.
const NAMES_MAX: usize = 100_000;

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn skip_space(&mut self) {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.chars.get(self.at).copied()
    }

    fn wanted(&self, wanted: &str) -> String {
        let rest: String = self.chars.iter().skip(self.at).take(20).collect();
        match rest.is_empty() {
            true => format!("found the end at character {}, wanted {wanted}", self.at),
            false => format!("found {rest:?} at character {}, wanted {wanted}", self.at),
        }
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.peek() != Some(c) {
            return Err(self.wanted(&format!("{c:?}")));
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        if self.peek().is_some() { Err(self.wanted("the end")) } else { Ok(()) }
    }

    /// Reads items between two brackets, separated by commas; one may trail.
    fn sequence<T>(
        &mut self,
        open: char,
        close: char,
        item: impl Fn(&mut Self, usize) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        self.expect(open)?;
        let mut items = Vec::new();
        while self.peek() != Some(close) {
            if items.len() == NAMES_MAX {
                return Err(format!("found more than {NAMES_MAX} class names, wanted at most that"));
            }
            items.push(item(self, items.len())?);
            if self.peek() != Some(close) {
                self.expect(',')?;
            }
        }
        self.expect(close)?;
        Ok(items)
    }

    /// Reads an integer, in quotes or bare.
    fn key(&mut self) -> Result<usize, String> {
        let start = self.at;
        let digits = match self.peek() {
            Some('\'' | '"') => self.string()?,
            _ => {
                let from = self.at;
                while self.chars.get(self.at).is_some_and(char::is_ascii_digit) {
                    self.at += 1;
                }
                self.chars[from..self.at].iter().collect()
            }
        };
        digits.parse().map_err(|_| {
            self.at = start;
            self.wanted("a class id")
        })
    }

    /// Reads a string in either kind of quote, with Python's escapes.
    fn string(&mut self) -> Result<String, String> {
        let quote = match self.peek() {
            Some(c @ ('\'' | '"')) => c,
            _ => return Err(self.wanted("a name in quotes")),
        };
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(&c) = self.chars.get(self.at) else {
                return Err(self.wanted("a closing quote"));
            };
            self.at += 1;
            match c {
                _ if c == quote => return Ok(text),
                '\\' => self.escape(&mut text)?,
                _ => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), String> {
        let Some(&c) = self.chars.get(self.at) else {
            return Err(self.wanted("an escaped character"));
        };
        self.at += 1;
        match c {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '\\' | '\'' | '"' | '/' => text.push(c),
            'x' => text.push(self.code_point(2)?),
            'u' => text.push(self.code_point(4)?),
            'U' => text.push(self.code_point(8)?),
            // Python keeps the backslash of an escape that it doesn't know.
            other => text.extend(['\\', other]),
        }
        Ok(())
    }

    fn code_point(&mut self, digits: usize) -> Result<char, String> {
        let hex: String = self.chars.iter().skip(self.at).take(digits).collect();
        let point = (hex.len() == digits).then(|| u32::from_str_radix(&hex, 16).ok()).flatten();
        match point.and_then(char::from_u32) {
            Some(c) => {
                self.at += digits;
                Ok(c)
            }
            None => Err(self.wanted(&format!("{digits} hexadecimal digits of a character"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_in_both_quotes_with_escapes_and_in_any_order() {
        let text = r#"{1: "driver's van", 0: 'person', 2: 'it\'s \x41\u00e9\n', 3: "a\"b", '4': 'x, {y}: z',}"#;
        assert_eq!(parse_names(text).unwrap(), ["person", "driver's van", "it's Aé\n", "a\"b", "x, {y}: z"]);
        assert_eq!(parse_names(r#" { "0" : "person" } "#).unwrap(), ["person"]);
        assert_eq!(parse_names("['a', 'b']").unwrap(), ["a", "b"]);
        assert_eq!(parse_names("{}").unwrap(), [] as [&str; 0]);
    }

    #[test]
    fn text_that_is_no_dict_of_names_is_refused_with_the_place() {
        let cases = [
            ("", "found the end at character 0"),
            ("person", "a dict of class names"),
            ("{0: 'person'", "wanted ','"),
            ("{0: person}", "a name in quotes"),
            ("{0: 'person}", "a closing quote"),
            ("{a: 'person'}", "a class id"),
            ("{-1: 'person'}", "a class id"),
            ("{0 'person'}", "wanted ':'"),
            ("{0: 'person'} x", "wanted the end"),
            ("{0: 'a', 0: 'b'}", "class id 0 twice"),
            ("{1: 'a'}", "class id 1 among 1 names"),
            ("{99999999999999999999: 'a'}", "a class id"),
            (r"{0: '\x4'}", "hexadecimal"),
            (r"{0: '\ud800'}", "hexadecimal"),
        ];
        for (text, wanted) in cases {
            let error = parse_names(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error} should name {wanted}");
        }
    }

    #[test]
    fn integers_are_read_from_lists_tuples_and_bare_numbers() {
        assert_eq!(parse_integers("[640, 480]"), Some(vec![640, 480]));
        assert_eq!(parse_integers("(640, 480)"), Some(vec![640, 480]));
        assert_eq!(parse_integers("32"), Some(vec![32]));
        for text in ["", "[]", "[a]", "[-1]", "[1.5]", "[1"] {
            assert_eq!(parse_integers(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[{}\\[\\]:,'\"\\\\xuU0-9a-f é]{0,40}") {
            let _ = parse_names(&text);
            let _ = parse_integers(&text);
        }
    }
}
