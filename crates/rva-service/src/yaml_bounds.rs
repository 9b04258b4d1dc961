//! Bounds of a YAML file that are looked at before it is parsed: the parser's time grows with the square of the
//! nesting.

/// The deepest nesting of `[` and `{`, of `- - -` and `? ? ?` on a line, and of indented blocks.
const DEPTH_MAX: usize = 64;

/// The longest text, in bytes.
const BYTES_MAX: usize = 4 << 20;

/// Returns the bound that a text breaks, with found and wanted; `None` where it may be parsed.
pub fn too_much(text: &str) -> Option<String> {
    if text.len() > BYTES_MAX {
        return Some(format!("found {} bytes, wanted at most {BYTES_MAX}", text.len()));
    }
    let deep = |line: usize| {
        Some(format!("found values nested deeper than {DEPTH_MAX} in line {line}, wanted a few sections of keys"))
    };
    let mut scan = Scan::default();
    let mut blocks: Vec<usize> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start_matches(' ');
        let markers = content.split(' ').take_while(|word| ["-", "?", ":"].contains(word)).count();
        if !content.trim().is_empty() {
            let indent = line.len() - content.len();
            blocks.retain(|outer| *outer < indent);
            blocks.push(indent);
        }
        if scan.line(line) > DEPTH_MAX || markers > DEPTH_MAX || blocks.len() > DEPTH_MAX {
            return deep(number + 1);
        }
    }
    None
}

/// A scan that follows brackets outside of quotes and comments.
#[derive(Default)]
struct Scan {
    depth: usize,
    quote: Option<char>,
}

impl Scan {
    /// Reads a line and returns the deepest nesting within it.
    fn line(&mut self, line: &str) -> usize {
        let mut deepest = self.depth;
        let (mut before, mut letters) = (' ', line.chars());
        while let Some(letter) = letters.next() {
            match (self.quote, letter) {
                (Some('"'), '\\') => drop(letters.next()),
                (Some(quote), letter) if letter == quote => self.quote = None,
                (Some(_), _) => {}
                (None, '#') if before.is_whitespace() => break,
                // Inside a word it is an apostrophe.
                (None, '"' | '\'') if " [{,:-\t".contains(before) => self.quote = Some(letter),
                (None, '[' | '{') => self.depth += 1,
                (None, ']' | '}') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(self.depth);
            before = letter;
        }
        deepest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        let many = 200_000;
        for text in [
            "[".repeat(many),
            format!("a: {}", "{b: ".repeat(many / 4)),
            "- ".repeat(many / 2),
            "? ".repeat(many / 2),
            format!("# x ]]]\na: {}", "[\"]\",".repeat(many / 5)),
            (0..600).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
            "a: [\n".repeat(many / 5),
        ] {
            let started = Instant::now();
            let found = too_much(&text).unwrap_or_default();
            assert!(found.contains("nested deeper than 64 in line"), "{}: {found}", &text[..20]);
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        }
    }

    #[test]
    fn what_people_write_is_parsed() {
        let cameras: String =
            (0..20_000).map(|n| format!("  c{n}: {{source: \"it's [a].mp4\", classes: [0, 1]}} # [\n")).collect();
        assert_eq!(too_much(&format!("cameras:\n{cameras}")), None);
        assert!(too_much(&" ".repeat(5 << 20)).unwrap_or_default().contains("5242880 bytes"));
    }
}
