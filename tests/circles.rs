//! Files of a crate that import each other in a circle: neither can be read, or moved, without the other.
//!
//! What counts is a path of modules in a `use`, or written out. A module may name those around it (`super`), which are
//! its own place, and what the crate's root hands on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A module's path: `log::writer`.
type Module = String;

/// Returns the files of a crate that are in circles, with the files that they import there.
pub(super) fn circles(src: &Path, files: &[std::path::PathBuf]) -> Vec<String> {
    let named: Vec<(Module, String)> = files.iter().filter_map(|file| Some((module(src, file)?, code(file)))).collect();
    let known: BTreeSet<&str> = named.iter().map(|(module, _)| module.as_str()).collect();
    let imports: BTreeMap<&str, BTreeSet<&str>> = named
        .iter()
        .map(|(module, text)| {
            let paths = uses(text).into_iter().filter_map(|path| target(module, &path, &known));
            let around = |other: &&str| *other == module || module.starts_with(&format!("{other}::"));
            (module.as_str(), paths.filter(|other| !around(other)).collect())
        })
        .collect();
    let in_circle = |module: &str, other: &str| reaches(&imports, other, module);
    let mut found = Vec::new();
    for (module, others) in &imports {
        found
            .extend(others.iter().filter(|other| in_circle(module, other)).map(|other| format!("{module} -> {other}")));
    }
    found
}

/// Returns a file's module; `None` for the crate's root and for tests.
fn module(src: &Path, file: &Path) -> Option<Module> {
    let path = file.strip_prefix(src).ok()?.with_extension("");
    let mut parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    let is_root = matches!(parts[..], ["lib" | "main"] | []);
    (!is_root && !parts.contains(&"tests")).then(|| parts.join("::"))
}

/// Returns a file's text without comments and without its tests.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Returns the paths of a text's imports, and those that are written out from the crate's root.
fn uses(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for statement in text.split("use ").skip(1).filter_map(|rest| rest.split(';').next()) {
        expand("", statement, &mut paths);
    }
    for written in text.split("crate::").skip(1) {
        let end = written.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(written.len());
        paths.push(format!("crate::{}", &written[..end]));
    }
    paths
}

/// Takes `a::{b, c::{d, e}}` apart.
fn expand(before: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else {
        paths.push(format!("{before}{}", tree.split(" as ").next().unwrap_or_default().trim()));
        return;
    };
    let (head, inner) = (format!("{before}{}", head.trim()), inner.strip_suffix('}').unwrap_or(inner));
    let (mut depth, mut start) = (0_usize, 0);
    for (at, character) in inner.char_indices().chain([(inner.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                if !inner[start..at].trim().is_empty() {
                    expand(&head, &inner[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Returns the module that a path leads to: the longest part of it that is a file.
fn target<'a>(module: &str, path: &str, known: &BTreeSet<&'a str>) -> Option<&'a str> {
    let mut at: Vec<&str> = Vec::new();
    let mut parts = path.split("::").peekable();
    match parts.peek() {
        Some(&"crate") => {
            parts.next();
        }
        Some(&("super" | "self")) => {
            at = module.split("::").collect();
            while let Some(part) = parts.next_if(|part| ["super", "self"].contains(part)) {
                if part == "super" {
                    at.pop();
                }
            }
        }
        // A child of this module, or another crate.
        _ => at = module.split("::").collect(),
    }
    at.extend(parts);
    (1..=at.len()).rev().find_map(|length| known.get(at[..length].join("::").as_str()).copied())
}

fn reaches(imports: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            next.extend(imports.get(module).into_iter().flatten());
        }
    }
    false
}

#[test]
fn a_circle_is_found_however_its_imports_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let files = [
        write("lib.rs", "mod a; mod b; mod c;"),
        write("a.rs", "use crate::{c::inner::{X, Y}, other::Z};\n"),
        write("b.rs", "// crate::a::no\nfn f() { crate::a::g() }\n#[cfg(test)]\nmod tests { use crate::c::no; }"),
        write("c/mod.rs", "mod inner;\nuse inner::X;"),
        write("c/inner.rs", "use super::super::b as other;\nuse super::Own;"),
    ];
    let mut found = circles(folder.path(), &files);
    found.sort();
    assert_eq!(found, ["a -> c::inner", "b -> a", "c::inner -> b"]);
    assert_eq!(circles(folder.path(), &files[..3]), Vec::<String>::new());
}
