//! The report as one page of HTML that loads nothing: styles, plots, numbers and pictures are in it, and it forbids the
//! browser to fetch anything else. Scripts are allowed by their digest, so a text that got past the escaping wouldn't
//! run either.

use crate::cameras::CoveragePart;
use crate::picture::Picture;
use crate::report::{CountedBy, Report};
use crate::sections::{Section, counted_by, hour_text, percent, sections};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Chart.js 4.6.1 and its chart of matrices, as npm has them (assets/sha256sums, assets/LICENSES.txt).
const CHARTS: &str = include_str!("../assets/chart.js-4.6.1.min.js");
const MATRIX: &str = include_str!("../assets/chartjs-chart-matrix-3.1.0.min.js");
const STYLE: &str = include_str!("../assets/page.css");
const PLOTS: &str = include_str!("../assets/page.js");

/// Returns a page. `pictures` are frames by camera; `made` is when it was made, as a text.
pub fn page(report: &Report, pictures: &BTreeMap<String, Picture>, made: &str) -> String {
    let scripts: Vec<String> = [CHARTS, MATRIX, PLOTS].into_iter().map(without_map).collect();
    let allowed: Vec<String> = scripts.iter().map(|script| digest(script)).collect();
    let policy = format!(
        "default-src 'none'; img-src data:; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        allowed.join(" ")
    );
    let mut html = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.push_str(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n"));
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.push_str(
        "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n",
    );
    html.push_str(&format!("<title>{} · {}</title>\n", escaped(&report.store), escaped(&span_text(report))));
    html.push_str(&format!("<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"));
    head(&mut html, report);
    tiles(&mut html, report);
    plots(&mut html, report, pictures);
    for section in sections(report).iter().skip(1) {
        table(&mut html, section);
    }
    html.push_str(&format!(
        "<footer>Made by rva on {}. Times are those of {}.</footer>\n</main>\n",
        escaped(made),
        escaped(&report.time_zone)
    ));
    html.push_str(&format!("<script type=\"application/json\" id=\"report\">{}</script>\n", data(report)));
    for script in scripts {
        html.push_str(&format!("<script>{script}</script>\n"));
    }
    html.push_str("</body>\n</html>\n");
    html
}

/// Returns a script without the line that names a file for debuggers.
fn without_map(script: &str) -> String {
    script.lines().filter(|line| !line.starts_with("//# sourceMappingURL=")).map(|line| format!("{line}\n")).collect()
}

fn digest(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// Returns a text that means nothing to HTML, between tags and in attributes. Characters that turn the direction of
/// others' text, or steer a terminal that shows the source, are left out.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            _ if character.is_control() => safe.push(' '),
            _ => safe.push(character),
        }
    }
    safe
}

/// Returns JSON that no tag can end, and that is no tag itself.
fn script_safe(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn span_text(report: &Report) -> String {
    let (zone, from, to) = (report.question.zone, report.question.from_us, report.question.to_us);
    if zone.day(&zone.day_text(from)) == Some((from, to)) {
        return zone.day_text(from);
    }
    format!("{} to {}", zone.minute_text(from), zone.minute_text(to))
}

fn head(html: &mut String, report: &Report) {
    let cameras: Vec<String> =
        report.cameras.iter().map(|camera| format!("<bdi>{}</bdi>", escaped(&camera.camera))).collect();
    html.push_str(&format!(
        "<header>\n<h1><bdi>{}</bdi></h1>\n<p>{} ({}) · {}</p>\n</header>\n",
        escaped(&report.store),
        escaped(&span_text(report)),
        escaped(&report.time_zone),
        cameras.join(", ")
    ));
}

fn tile(html: &mut String, name: &str, value: &str, about: &str) {
    html.push_str(&format!(
        "<div class=\"tile\"><dt>{}</dt><dd>{}<small>{}</small></dd></div>\n",
        escaped(name),
        escaped(value),
        escaped(about)
    ));
}

fn tiles(html: &mut String, report: &Report) {
    let zone = report.question.zone;
    html.push_str("<dl class=\"tiles\">\n");
    tile(html, "Visitors", &report.visitors.count.to_string(), &format!("by {}", counted_by(report)));
    let peak = report.people.peak.as_ref();
    let about = peak.map(|peak| format!("{}, {}", zone.minute_text(peak.at_us), peak.camera)).unwrap_or_default();
    tile(html, "Most people at once", &peak.map_or("-".to_owned(), |peak| peak.people.to_string()), &about);
    let average = report.people.average.map_or("-".to_owned(), |average| format!("{average:.1}"));
    let about = if report.cameras.len() > 1 { "average, all cameras added up" } else { "average of all frames" };
    tile(html, "People at once", &average, about);
    let busiest = report.busiest_hours.first();
    let value = busiest.map_or("-".to_owned(), |hour| format!("{:02}:00", zone.hour_of_day(hour.start_us)));
    let about = busiest
        .map(|hour| format!("{}: {} visitors", hour_text(zone, hour.start_us), hour.visitors.unwrap_or_default()));
    tile(html, "Busiest hour", &value, &about.unwrap_or_default());
    let (looked, minutes) = report.looked();
    tile(html, "Cameras looked", &percent(looked, minutes), &format!("{looked} of {minutes} minutes"));
    html.push_str("</dl>\n");
}

/// Adds the place of a plot. What it shows stands in a table below too, for whoever can't see it.
fn plot(html: &mut String, id: &str, title: &str, about: &str, kind: &str) {
    html.push_str(&format!(
        "<section class=\"plot\">\n<h2>{}</h2>\n<p>{}</p>\n<div class=\"{kind}\"><canvas id=\"{id}\" role=\"img\" \
         aria-label=\"{}\"></canvas></div>\n</section>\n",
        escaped(title),
        escaped(about),
        escaped(title)
    ));
}

fn plots(html: &mut String, report: &Report, pictures: &BTreeMap<String, Picture>) {
    html.push_str("<noscript><p>The plots want JavaScript; all numbers stand in the tables below.</p></noscript>\n");
    html.push_str("<div class=\"plots\">\n");
    let bin = match report.curve_minutes {
        1 => "minute".to_owned(),
        60 => "hour".to_owned(),
        1440 => "day".to_owned(),
        minutes => format!("{minutes} minutes"),
    };
    plot(html, "people", "People at once", &format!("Average by {bin}. A break in the line: nobody looked."), "wide");
    let about = match report.visitors.counted_by {
        CountedBy::CrossingsIn => "Crossings in and out of the lines that count.",
        CountedBy::UniqueTracks => "Tracks that began in the hour.",
    };
    plot(html, "hours", "Visitors by hour", about, "bars");
    if report.days.len() > 1 {
        plot(html, "days", "Visitors by day", "Days in order.", "bars");
        plot(html, "of_day", "Visitors by hour of the day", "All days added up.", "bars");
    }
    if !report.lines.is_empty() {
        plot(html, "lines", "Crossings by line", "In and out, each line.", "bars");
    }
    if report.zones.iter().any(|zone| zone.visits > 0) {
        plot(html, "zones", "Dwell by zone", "Seconds of a visit: average and longest.", "bars");
    }
    plot(html, "coverage", "When the cameras looked", "Share of the minutes with a frame.", "strips");
    heatmaps(html, report, pictures);
    html.push_str("</div>\n");
}

fn heatmaps(html: &mut String, report: &Report, pictures: &BTreeMap<String, Picture>) {
    for (at, camera) in report.cameras.iter().enumerate() {
        let picture = pictures.get(&camera.camera);
        if picture.is_none() && !report.heatmap.iter().any(|cell| cell.camera == camera.camera) {
            continue;
        }
        let image = picture.map(|picture| format!("<img alt=\"\" src=\"{}\">", picture.data_url())).unwrap_or_default();
        let (width, height) = picture.map_or((16, 9), |picture| (picture.width, picture.height));
        let title = format!("Where people stood: {}", camera.camera);
        html.push_str(&format!(
            "<section class=\"plot\">\n<h2>{0}</h2>\n<p>Time that people spent, all together; what counts is where their \
             feet are.</p>\n<div class=\"heat\" data-width=\"{width}\" data-height=\"{height}\">{image}<canvas \
             id=\"heat{at}\" role=\"img\" aria-label=\"{0}\"></canvas></div>\n<p class=\"scale\"><span>less</span><i></i>\
             <span>more</span></p>\n</section>\n",
            escaped(&title)
        ));
    }
}

fn table(html: &mut String, section: &Section) {
    html.push_str(&format!("<section class=\"table\">\n<h2>{}</h2>\n", escaped(&section.title)));
    if let [_] = section.columns.as_slice() {
        let items: String = section.rows.iter().flatten().map(|text| format!("<li>{}</li>", escaped(text))).collect();
        html.push_str(&format!("<ul>{items}</ul>\n</section>\n"));
        return;
    }
    let class = |at: usize| if at < section.texts { "" } else { " class=\"number\"" };
    html.push_str("<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>");
    for (at, column) in section.columns.iter().enumerate() {
        html.push_str(&format!("<th scope=\"col\"{}>{}</th>", class(at), escaped(column)));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &section.rows {
        html.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            html.push_str(&format!("<td{}><bdi>{}</bdi></td>", class(at), escaped(cell)));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n</section>\n");
}

/// Returns what the plots are drawn from, with the words that stand at their axes.
fn data(report: &Report) -> String {
    let zone = report.question.zone;
    let hours: Vec<Value> = report
        .hours
        .iter()
        .map(|hour| {
            json!({ "label": hour_text(zone, hour.start_us), "in": hour.came_in, "out": hour.went_out,
            "visitors": hour.visitors, "looked": hour.minutes_looked, "minutes": hour.minutes })
        })
        .collect();
    let days: Vec<Value> = report
        .days
        .iter()
        .map(|day| {
            json!({ "label": zone.day_text(day.start_us), "in": day.came_in, "out": day.went_out,
            "visitors": day.visitors })
        })
        .collect();
    script_safe(&json!({
        "cameras": report.cameras.iter().map(|camera| &camera.camera).collect::<Vec<_>>(),
        "by_line": report.visitors.counted_by == CountedBy::CrossingsIn,
        "people": curves(report),
        "hours": hours,
        "days": days,
        "of_day": report.hours_of_day,
        "lines": report.lines,
        "zones": report.zones,
        "heat": report.heatmap,
        "coverage": coverage(report),
    }))
}

/// Returns the grid of cameras and hours, or days: shares of minutes in which a camera looked.
fn coverage(report: &Report) -> Value {
    let zone = report.question.zone;
    let starts: BTreeSet<i64> = report.coverage.iter().map(|part| part.start_us).collect();
    let by_hour = starts.len() == report.hours.len();
    let label = |us: i64| if by_hour { hour_text(zone, us) } else { zone.day_text(us) };
    let cell = |part: &CoveragePart| json!({ "x": label(part.start_us), "y": part.camera, "looked": part.minutes_looked, "minutes": part.minutes });
    json!({
        "labels": starts.iter().map(|at| label(*at)).collect::<Vec<_>>(),
        "cells": report.coverage.iter().map(cell).collect::<Vec<_>>(),
    })
}

/// Returns the curves on one axis of bins: a bin in which a camera didn't look is null.
fn curves(report: &Report) -> Value {
    let bin_us = report.curve_minutes * crate::clock::MINUTE_US;
    let mut starts: Vec<i64> = report.curve.iter().map(|point| point.start_us).collect();
    starts.sort_unstable();
    starts.dedup();
    // A bin that lacks between two others breaks the line; a longer gap is as wide as it is long.
    let gaps: Vec<i64> =
        starts.windows(2).filter(|pair| pair[1] - pair[0] > bin_us * 3 / 2).map(|pair| pair[0]).collect();
    let filled: Vec<i64> = gaps
        .iter()
        .flat_map(|from| {
            let next = starts.iter().copied().find(|at| at > from).unwrap_or(*from);
            (1..=((next - from) / bin_us).min(3_000)).map(move |step| from + step * bin_us).filter(move |at| *at < next)
        })
        .collect();
    starts.extend(filled);
    starts.sort_unstable();
    let zone = report.question.zone;
    let series = |camera: &str| -> Value {
        let points: BTreeMap<i64, (f64, i64)> = report
            .curve
            .iter()
            .filter(|point| point.camera == camera)
            .map(|point| (point.start_us, (point.average, point.peak)))
            .collect();
        let round = |number: f64| (number * 1000.0).round() / 1000.0;
        json!({
            "camera": camera,
            "average": starts.iter().map(|at| points.get(at).map(|point| round(point.0))).collect::<Vec<_>>(),
            "peak": starts.iter().map(|at| points.get(at).map(|point| point.1)).collect::<Vec<_>>(),
        })
    };
    json!({
        "labels": starts.iter().map(|at| zone.minute_text(*at)).collect::<Vec<_>>(),
        "series": report.cameras.iter().map(|camera| series(&camera.camera)).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
