//! The page in a real browser: headless Chromium, spoken to by the DevTools protocol over a pipe.

use super::{common::rva, gold::shop};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use tempfile::tempdir;

const NAMES: [&str; 2] = ["chromium-headless-shell", "chromium"];

/// A page that is open in a browser, and everything that was told of it.
struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    events: Vec<Value>,
}

impl Browser {
    /// Starts one, or says why there is none.
    fn start(profile: &Path) -> Option<Self> {
        let found = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|run| run.status.success());
        let Some(name) = NAMES.iter().find(found) else {
            eprintln!("skipped: no chromium (make setup-tests installs it where the system has it)");
            return None;
        };
        // The pipe's ends are the descriptors 3 and 4; the sandbox wants rights that a container hasn't.
        let script = r#"exec "$0" "$@" 3<&0 4>&1 1>&2"#;
        let mut child = Command::new("sh")
            .args(["-c", script, name, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", "--no-first-run", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, to, from, session: None, calls: 0, events: Vec::new() })
    }

    fn read(&mut self) -> Value {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).unwrap();
        message.pop();
        serde_json::from_slice(&message).expect("the browser went away")
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self.read();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    /// Opens a file in a window of a width, in a colour scheme, and waits until it is loaded.
    fn open(&mut self, file: &Path, width: u32, scheme: &str) {
        self.session = None;
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        self.events.clear();
        self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read();
            self.events.push(event);
        }
    }

    /// Returns what an expression is, after a frame was painted.
    fn value(&mut self, expression: &str) -> Value {
        let painted = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))";
        let expression = format!("{painted}.then(() => ({expression}))");
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{answer}");
        answer["result"]["value"].clone()
    }

    /// Returns what was logged or thrown, and what was asked of a network.
    fn troubles(&self) -> Vec<String> {
        let is_trouble = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded") => true,
            Some("Network.requestWillBeSent") => {
                let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
                !(url.starts_with("data:") || url.starts_with("file:") && url.ends_with("/report.html"))
            }
            _ => false,
        };
        self.events.iter().filter(is_trouble).map(ToString::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many different colours each canvas has: one that nothing was drawn on has one.
const COLOURS: &str = "Object.fromEntries([...document.querySelectorAll('canvas')].map(canvas => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.id, new Set(new Uint32Array(data.buffer)).size];
}))";

/// The text of the hover over the bar of nine o'clock.
const HOVER: &str = "(() => {
    const chart = Chart.getChart('hours');
    const { x, y } = chart.getDatasetMeta(0).data[9].getProps(['x', 'y']);
    const box = chart.canvas.getBoundingClientRect();
    chart.canvas.dispatchEvent(new MouseEvent('mousemove', { clientX: box.left + x, clientY: box.top + y, bubbles: true }));
    return new Promise(done => setTimeout(() => done(
        [chart.tooltip.opacity, ...chart.tooltip.title, ...chart.tooltip.body.flatMap(part => part.lines)].join('|')), 200));
})()";

/// Where the one cell of the heatmap lies, in hundredths of the picture: left, right, top, bottom.
const CELL: &str = "(() => {
    const chart = Chart.getChart('heat0');
    const { x, y, width, height } = chart.getDatasetMeta(0).data[0].getProps(['x', 'y', 'width', 'height']);
    const shares = [x / chart.width, (x + width) / chart.width, y / chart.height, (y + height) / chart.height];
    return shares.map(share => Math.round(share * 100)).join(' ');
})()";

#[test]
fn a_page_shows_its_plots_wide_and_narrow_light_and_dark_and_loads_nothing() {
    let folder = tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "<script>document.title = 'ran'</script>", ["<b>door</b>", "till"]);
    let Some(mut browser) = Browser::start(&folder.join("profile")) else { return };
    rva(folder, &["report", "--day", "2026-01-31", "-o", "report.html"]).exits(0);
    let file = folder.join("report.html").canonicalize().unwrap();
    for (width, scheme) in [(1280, "light"), (390, "dark")] {
        browser.open(&file, width, scheme);
        let colours = browser.value(COLOURS);
        let drawn: Vec<&String> = colours
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, count)| count.as_u64() > Some(2))
            .map(|(id, _)| id)
            .collect();
        assert_eq!(drawn, ["coverage", "heat0", "hours", "lines", "people", "zones"], "{width}: {colours}");
        assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth"), true, "{width}");
        assert_eq!(browser.value(HOVER), "1|2026-01-31 09:00 to 10:00|in: 2|out: 1", "{width}");
        assert_eq!(browser.value(CELL), "30 40 90 100", "{width}");
        let paper = browser.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(paper, if scheme == "dark" { "rgb(18, 23, 29)" } else { "rgb(255, 255, 255)" });
        assert_ne!(browser.value("document.title"), "ran");
        assert_eq!(browser.value("document.querySelector('h1').innerText"), "<script>document.title = 'ran'</script>");
        assert_eq!(browser.troubles(), Vec::<String>::new(), "{width}");
    }
    // Paper is white, whatever the screen is.
    browser.call("Emulation.setEmulatedMedia", json!({ "media": "print", "features": [] }));
    assert_eq!(browser.value("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
}
