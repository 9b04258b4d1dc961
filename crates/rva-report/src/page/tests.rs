#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use super::*;
use crate::report::tests::{question, rows};
use crate::rows::{Question, Rows};

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&</script><!--";

/// Rows whose names are hostile wherever a name is.
fn hostile() -> Report {
    let mut rows: Rows = rows();
    for shape in &mut rows.shapes {
        shape.name = HOSTILE.into();
        shape.camera = HOSTILE.into();
    }
    rows.seen.iter_mut().for_each(|row| row.camera = HOSTILE.into());
    rows.peaks.iter_mut().for_each(|row| row.camera = HOSTILE.into());
    rows.looked.iter_mut().for_each(|row| row.camera = HOSTILE.into());
    rows.cells.iter_mut().for_each(|row| row.camera = HOSTILE.into());
    rows.gaps.iter_mut().for_each(|row| row.camera = HOSTILE.into());
    for row in &mut rows.crossed {
        (row.camera, row.line) = (HOSTILE.into(), HOSTILE.into());
    }
    for row in &mut rows.visited {
        (row.camera, row.zone) = (HOSTILE.into(), HOSTILE.into());
    }
    let question = Question { store: HOSTILE.into(), cameras: vec![HOSTILE.into()], ..question() };
    Report::of(&question, &rows)
}

/// The page without our own scripts and styles.
fn ours_cut(page: &str) -> String {
    let mut rest = page.to_owned();
    for own in [CHARTS, MATRIX, PLOTS].map(without_map) {
        rest = rest.replace(&own, "");
    }
    rest.replace(STYLE, "")
}

#[test]
fn names_with_html_in_them_are_texts() {
    let page = page(&hostile(), &BTreeMap::new(), "now");
    let page = ours_cut(&page);
    assert!(!page.contains("<img") && !page.contains("<!--"), "{page}");
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;&lt;/script&gt;&lt;!--"));
    assert_eq!(page.matches("<script>").count(), 3, "our own ones");
    assert_eq!(page.matches("</script>").count(), 4, "and the numbers");
    let start = page.find("id=\"report\">").unwrap() + "id=\"report\">".len();
    let json = &page[start..start + page[start..].find("</script>").unwrap()];
    let data: Value = serde_json::from_str(json).unwrap();
    assert_eq!(data["cameras"][0], HOSTILE, "the plots get the name as it is");
}

#[test]
fn a_name_can_not_turn_the_text_around_it() {
    assert_eq!(escaped("a\u{202e}b\u{7}c\nd"), "ab c d");
}

#[test]
fn a_page_loads_nothing_and_allows_its_own_scripts_alone() {
    let report = Report::of(&question(), &rows());
    let page = page(&report, &BTreeMap::new(), "now");
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("default-src 'none'; img-src data:; "), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let scripts: Vec<&str> =
        page.split("<script>").skip(1).map(|rest| rest.split("</script>").next().unwrap()).collect();
    assert_eq!(scripts.len(), 3);
    for script in scripts {
        assert!(policy.contains(&digest(script)), "a script that the page itself forbids: {}", &script[..60]);
        assert!(!script.contains("sourceMappingURL"));
    }
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    assert!(policy.contains(&digest(style)));
    let rest = ours_cut(&page);
    for loads in ["src=", "href=", "url(", "@import", "http:", "https:", "style="] {
        assert!(!rest.contains(loads), "{loads}");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
}

#[test]
fn plots_are_drawn_from_the_numbers_of_the_report() {
    let data: Value = serde_json::from_str(&data(&Report::of(&question(), &rows()))).unwrap();
    assert_eq!(data["hours"][1]["in"], 5);
    assert_eq!(data["hours"][1]["label"], "2026-01-31 10:00 to 11:00");
    assert_eq!(data["people"]["series"][0]["average"].as_array().unwrap().len(), 70, "minute 1 to minute 70");
    assert_eq!(data["people"]["labels"][69], "2026-01-31 10:10");
    assert_eq!(data["people"]["series"][0]["average"][69], 3.0);
    assert_eq!(data["people"]["series"][0]["average"][5], Value::Null, "nobody looked");
    assert_eq!(data["people"]["series"][1]["peak"][0], 1);
    assert_eq!(data["coverage"]["cells"][1]["looked"], 1);
    assert_eq!(data["heat"][1]["hits"], 40);
}

#[test]
fn a_picture_lies_below_the_heatmap_of_its_camera() {
    let mut png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
    png.extend([0, 0, 0, 4, 0, 0, 0, 3, 8, 2, 0, 0, 0]);
    let pictures = BTreeMap::from([("door".to_owned(), Picture::of(png).unwrap())]);
    let page = page(&Report::of(&question(), &rows()), &pictures, "now");
    let heat = "<div class=\"heat\" data-width=\"4\" data-height=\"3\"><img alt=\"\" src=\"data:image/png;base64,";
    assert_eq!(page.matches(heat).count(), 1);
    assert!(!page.contains("id=\"heat1\""), "till has neither cells nor a picture");
}

/// The library is what npm has: `npm pack chart.js@4.6.1 chartjs-chart-matrix@3.1.0`, its `dist/*.min.js`.
#[test]
fn the_library_is_the_one_whose_digest_is_written_down() {
    let sums = include_str!("../../assets/sha256sums");
    let hex = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (name, text) in [("chart.js-4.6.1.min.js", CHARTS), ("chartjs-chart-matrix-3.1.0.min.js", MATRIX)] {
        assert!(sums.contains(&format!("{}  {name}\n", hex(text))), "{name}");
        let (library, version) = name.trim_end_matches(".min.js").rsplit_once('-').unwrap();
        assert!(text[..200].to_lowercase().contains(&format!("{library} v{version}")), "{name}");
        assert!(include_str!("../../assets/LICENSES.txt").contains(&format!("{library} {version}\n")), "{name}");
    }
}
