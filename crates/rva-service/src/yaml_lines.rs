//! The lines of a YAML file that its keys stand in, so that an error can point at one.

use std::collections::BTreeMap;

/// Returns the line numbers (from 1) of the keys of block mappings, by dotted path.
///
/// The YAML parser gives values without places, so this reads indentation by itself. Keys of flow mappings
/// (`{a: 1}`) aren't found; their errors name the file alone.
pub(crate) fn key_lines(text: &str) -> BTreeMap<String, usize> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut lines = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let content = line.trim_start();
        let Some(key) = key_of(content) else { continue };
        let indent = line.len() - content.len();
        open.retain(|(outer, _)| *outer < indent);
        open.push((indent, key));
        let path = open.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
        lines.entry(path).or_insert(index + 1);
    }
    lines
}

fn key_of(content: &str) -> Option<&str> {
    if content.starts_with(['#', '-']) {
        return None;
    }
    let end = content.find(": ").or_else(|| content.trim_end().strip_suffix(':').map(str::len))?;
    Some(content[..end].trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_keys_are_found_by_their_indentation() {
        let text = "# top\nstore_id: s\ncameras:\n  a:\n    source: x\n  \"b\":\n    source: rtsp://h:1/x\ndetector:\n  conf: 1\n";
        let lines = key_lines(text);
        assert_eq!(lines.get("store_id"), Some(&2));
        assert_eq!(lines.get("cameras.a.source"), Some(&5));
        assert_eq!(lines.get("cameras.b.source"), Some(&7));
        assert_eq!(lines.get("detector.conf"), Some(&9));
    }
}
