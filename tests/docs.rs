//! The documents: each page can be found, each link leads somewhere, and make has what it announces.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the pages a reader may open: those at the top, and those of `docs`.
fn pages() -> Vec<PathBuf> {
    let markdown = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect::<Vec<_>>()
    };
    let mut pages = markdown(&root());
    pages.extend(markdown(&root().join("docs")));
    pages.push(root().join("data/models/README.md"));
    pages.sort();
    pages
}

/// Returns a page's lines outside its blocks of code, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut code = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            lines.push((number, line));
        }
    }
    lines
}

/// Returns the targets of a line's Markdown links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// Returns the anchor that a heading gets from the sites that render Markdown.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(page).unwrap();
    prose(&text).iter().any(|(_, line)| line.starts_with('#') && anchor(line) == wanted)
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (number, line) in prose(&text) {
            for link in links(line).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
                let (file, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
                let found = target.exists() && (heading.is_empty() || has_anchor(&target, heading));
                if !found {
                    broken.push(format!("{}:{number}: {link}", page.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_index_of_the_documents_names_each_page_once() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let named: Vec<_> = index.lines().flat_map(links).filter(|link| !link.starts_with("..")).collect();
    let names: BTreeSet<_> = named.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(named.len(), names.len(), "a page is named twice");
    let entries = fs::read_dir(root().join("docs")).unwrap();
    let files = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<_> = files.filter(|name| name.ends_with(".md") && name != "README.md").collect();
    assert_eq!(names, pages);
}

#[test]
fn lines_of_prose_are_at_most_120_characters_long() {
    let mut long = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let lines = prose(&text).into_iter().filter(|(_, line)| !line.starts_with('|') && line.chars().count() > 120);
        long.extend(lines.map(|(number, _)| format!("{}:{number}", page.display())));
    }
    assert!(long.is_empty(), "lines that are too long:\n{}", long.join("\n"));
}

/// Returns a page's `file::name` references: those in backticks that name a Rust or Python file.
fn references(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_path = |path: &str| path.chars().all(|letter| letter.is_ascii_alphanumeric() || "/_.-".contains(letter));
    text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::")).filter(move |(file, name)| {
        (file.ends_with(".rs") || file.ends_with(".py")) && is_path(file) && !name.contains(char::is_whitespace)
    })
}

/// Returns whether a file defines a test: in Rust a function with an attribute `test`, in Python any function.
fn defines(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_it = |line: &str, word: &str| {
        line.split_once(word).is_some_and(|(_, rest)| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
    };
    lines.iter().enumerate().any(|(number, line)| {
        let mut above = lines[..number].iter().rev().take_while(|line| line.starts_with('#') || line.starts_with("//"));
        is_it(line, "def ") || (is_it(line, "fn ") && above.any(|line| line.contains("test")))
    })
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let (mut absent, mut named) = (Vec::new(), 0);
    for page in pages() {
        for (file, name) in references(&fs::read_to_string(&page).unwrap()) {
            let places = [root().join(file), root().join("crates").join(file)];
            let texts = places.iter().filter_map(|place| fs::read_to_string(place).ok());
            named += 1;
            if !texts.into_iter().any(|text| defines(&text, name)) {
                absent.push(format!("{}: {file}::{name}", page.display()));
            }
        }
    }
    assert!(absent.is_empty(), "tests that are not there:\n{}", absent.join("\n"));
    assert!(named > 100, "found {named} references, wanted those of attacks.md, odd-inputs.md and reports.md");
}

#[test]
fn every_public_report_is_linked_once_and_says_what_became_of_it() {
    let text = fs::read_to_string(root().join("docs/reports.md")).unwrap();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| [")) {
        for link in links(line).filter(|link| link.contains("://")) {
            assert!(link.starts_with("https://github.com/"), "found {link}, wanted a thread");
            assert!(seen.insert(link.to_owned()), "{link} is listed twice");
            let number = link.rsplit('/').next().unwrap();
            assert!(line.contains(&format!("#{number}](")), "the text of {link} names another number");
        }
        let here = line.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap();
        let tested = here.contains(".rs::") || here.contains("same test");
        assert!(tested || here.starts_with("not handled"), "found {here:?}, wanted a test, or \"not handled\" and why");
    }
    assert!(seen.len() >= 30, "found {} reports", seen.len());
}

#[test]
fn make_has_what_it_announces_and_announces_what_it_has() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let phony = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY:"));
    let announced: BTreeSet<_> = phony.flat_map(str::split_whitespace).map(str::to_owned).collect();
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
    let rules = makefile.lines().filter_map(|line| line.split_once(':').map(|(name, _)| name));
    let targets: BTreeSet<_> = rules.filter(|name| is_name(name)).map(str::to_owned).collect();
    assert_eq!(announced, targets);
    let undescribed =
        |line: &&str| line.split_once(':').is_some_and(|(name, _)| is_name(name)) && !line.contains("## ");
    assert_eq!(makefile.lines().filter(undescribed).collect::<Vec<_>>(), Vec::<&str>::new(), "wanted: what it does");
    let mut unknown = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split("make ").skip(1).filter(|_| page.file_name().is_some_and(|name| name != "CHANGELOG.md"))
        {
            let name: String =
                word.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '-').collect();
            if text.contains(&format!("`make {name}")) && !name.is_empty() && !targets.contains(&name) {
                unknown.push(format!("{}: make {name}", page.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "targets that are not there:\n{}", unknown.join("\n"));
}

#[test]
fn make_bench_has_the_measurements_that_are_announced() {
    let script = fs::read_to_string(root().join("infrastructure/local/bench.sh")).unwrap();
    let fields: Vec<Vec<_>> = script.lines().map(|line| line.split('|').collect()).collect();
    let rows: Vec<_> = fields.iter().filter(|fields| fields.len() == 4 && fields[2].starts_with("bench_")).collect();
    let names: Vec<_> = rows.iter().map(|fields| fields[0]).collect();
    for fields in &rows {
        let file = fields[2].split(' ').next().unwrap();
        assert!(root().join("infrastructure/local").join(file).is_file(), "{}: {file} is missing", fields[0]);
    }
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let announced = makefile.lines().find(|line| line.starts_with("bench:")).unwrap();
    assert!(announced.ends_with(&names.join(", ")), "{announced}: wanted {names:?}");
    let mut unknown = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split("make bench NAME=").skip(1).filter(|word| !word.starts_with('…')) {
            let name: String = word.chars().take_while(char::is_ascii_lowercase).collect();
            if !names.contains(&name.as_str()) {
                unknown.push(format!("{}: make bench NAME={name}", page.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "measurements that are not there:\n{}", unknown.join("\n"));
}
