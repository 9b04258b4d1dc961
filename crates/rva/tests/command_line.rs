//! The command line without a video: help, completions, configuration, doctor, and what is refused.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{demo_model, rva};
use std::{fs, process::Command};
use tempfile::tempdir;

#[test]
fn help_names_every_command_the_missing_show_and_the_exit_codes() {
    let folder = tempdir().unwrap();
    let help = rva(folder.path(), &["--help"]).exits(0).stdout;
    for word in [
        "run",
        "detect",
        "ingest",
        "replay",
        "query",
        "tables",
        "doctor",
        "config",
        "completions",
        "--show",
        "--save",
        "exit-codes",
    ] {
        assert!(help.contains(word), "wanted {word} in:\n{help}");
    }
    let codes = rva(folder.path(), &["help", "exit-codes"]).exits(0).stdout;
    for code in ["0  ", "1  ", "2  ", "3  ", "4  ", "130  ", "143  "] {
        assert!(codes.contains(code), "{codes}");
    }
    let run = rva(folder.path(), &["help", "run"]).exits(0).stdout;
    for flag in [
        "--conf",
        "--iou",
        "--classes",
        "--imgsz",
        "--device",
        "--tracker",
        "--vid-stride",
        "--save",
        "--store-id",
        "--commit-interval",
    ] {
        assert!(run.contains(flag), "{run}");
    }
    rva(folder.path(), &["help", "nothing"]).exits(2).says(&["nothing", "exit-codes"]);
}

#[test]
fn completions_are_written_for_each_shell() {
    let folder = tempdir().unwrap();
    for (shell, wanted) in [
        ("bash", "_rva"),
        ("zsh", "#compdef rva"),
        ("fish", "complete -c rva"),
        ("elvish", "rva"),
        ("powershell", "rva"),
    ] {
        let script = rva(folder.path(), &["completions", shell]).exits(0).stdout;
        assert!(script.contains(wanted) && script.contains("vid-stride"), "{shell}");
    }
}

#[test]
fn a_wrong_flag_or_command_is_a_usage_error() {
    let folder = tempdir().unwrap();
    rva(folder.path(), &["run", "--confidence", "0.5"]).exits(2).says(&["--confidence"]);
    rva(folder.path(), &["runn"]).exits(2).says(&["runn"]);
    rva(folder.path(), &["query"]).exits(2).says(&["SQL"]);
}

#[test]
fn config_show_prints_each_value_with_its_origin_and_hides_secrets() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("rva.yaml"), "detector:\n  conf: 0.4\ns3:\n  secret_key: hunter2\n").unwrap();
    let mut command = common::command(folder.path(), &["config", "show", "--log-level", "warn"]);
    let ran: common::Ran = command.env("STORE_ID", "shop").output().unwrap().into();
    let text = ran.exits(0).stdout;
    let line = |key: &str| text.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or_default().to_owned();
    assert!(line("conf:").contains("0.4") && line("conf:").contains("rva.yaml:2"), "{text}");
    assert!(line("store_id:").contains("shop") && line("store_id:").contains("STORE_ID"), "{text}");
    assert!(line("log_level:").contains("--log-level"), "{text}");
    assert!(line("iou:").contains("0.7") && line("iou:").contains("default"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let json = rva(folder.path(), &["config", "show", "--format", "json"]).exits(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["config"]["detector"]["conf"], 0.4);
    assert_eq!(json["origins"]["detector.iou"], "default");
}

#[test]
fn every_problem_of_the_configuration_is_reported_at_once() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("rva.yaml"), "cameras:\n  cam_01:\n    sorce: a.mp4\ndetector:\n  iou: 7\n").unwrap();
    rva(folder.path(), &["run", "a.mp4", "--conf", "1.5", "--commit-interval", "10"]).exits(2).says(&[
        "3",
        "cameras.cam_01.sorce: unknown key, nearest is source (rva.yaml:3)",
        "detector.iou: found 7, wanted a number from 0 to 1 (rva.yaml:5)",
        "detector.conf: found 1.5, wanted a number from 0 to 1 (--conf)",
        "ingest.commit_interval: found \"10\"",
    ]);
    assert!(!folder.path().join("rva-data").exists(), "nothing is made when the configuration is wrong");
    rva(folder.path(), &["run", "a.mp4", "--config", "none.yaml"]).exits(2).says(&["none.yaml"]);
}

#[test]
fn what_can_not_be_used_is_refused_before_anything_is_made() {
    let folder = tempdir().unwrap();
    let model = demo_model().display().to_string();
    let long = "x".repeat(100);
    let usage: [(&[&str], &[&str]); 7] = [
        (&["a.mp4", "--tracker", "magic"], &["magic", "bytetrack"]),
        (&["a.mp4", "--device", "toaster"], &["toaster", "cpu"]),
        (&["a.mp4", "--conf", "-0.1"], &["-0.1", "from 0 to 1"]),
        (&["a.mp4", "--store-id", &long], &["100 bytes", "at most 64"]),
        (&["a.mp4", "--start-time", "yesterday"], &["yesterday", "RFC 3339"]),
        (&["a.mp4", "b.mp4", "--camera-id", "c"], &["2 sources"]),
        (&[], &["no source"]),
    ];
    for (arguments, wanted) in usage {
        let all = [&["run", "--model", &model], arguments].concat();
        rva(folder.path(), &all).exits(2).says(wanted);
    }
    rva(folder.path(), &["run", "a.mp4"]).exits(1).says(&["--model", "make model", "AGPL-3.0"]);
    rva(folder.path(), &["run", "a.mp4", "--model", "none.onnx"]).exits(1).says(&["none.onnx", "no such file"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn commands_on_a_folder_without_tables_say_what_makes_some() {
    let folder = tempdir().unwrap();
    rva(folder.path(), &["query", "SELECT 1"]).exits(1).says(&["catalog.db", "rva run"]);
    rva(folder.path(), &["tables"]).exits(1).says(&["catalog.db", "rva run"]);
    rva(folder.path(), &["ingest", "--drain"]).exits(1).says(&["log/", "rva replay"]);
    rva(folder.path(), &["replay", "none.ndjson"]).exits(1).says(&["none.ndjson"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn doctor_names_versions_and_places_and_fails_for_what_is_missing() {
    let folder = tempdir().unwrap();
    let broken = rva(folder.path(), &["doctor", "--onnxruntime", "none.so"]).exits(1).stdout;
    assert!(broken.contains("GStreamer") && broken.contains("decoding"), "{broken}");
    for text in ["ok       OpenCV", "libavcodec", "missing  ONNX Runtime", "none.so", "1.31", "data folder", "free"] {
        assert!(broken.contains(text), "wanted {text} in:\n{broken}");
    }
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let text = rva(folder.path(), &["doctor", "--data-dir", "file/below"]).exits(1).stdout;
    assert!(text.contains("missing  data folder"), "{text}");
    if common::runtime_library().is_none() {
        eprintln!("skipped: no ONNX Runtime library (make setup fetches it)");
        return;
    }
    let model = demo_model().display().to_string();
    let text = rva(folder.path(), &["doctor", "--model", &model]).exits(0).stdout;
    for wanted in ["ok       ONNX Runtime", "libonnxruntime", "ok       devices", "cpu", "1 classes, input 416 x 416"] {
        assert!(text.contains(wanted), "wanted {wanted} in:\n{text}");
    }
}

/// They bring two hundred more, and a short command would do little but load them.
#[test]
fn libraries_for_pictures_and_webcams_are_loaded_when_some_are_opened() {
    let names = Command::new(env!("CARGO_BIN_EXE_rva")).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
    let names = String::from_utf8(names.stdout).unwrap();
    assert!(names.contains("libopencv_core") && names.contains("libavformat"), "{names}");
    for library in ["libopencv_imgcodecs", "libopencv_videoio", "libgdal"] {
        assert!(!names.contains(library), "{names}");
    }
}

#[test]
fn log_lines_are_json_when_asked_for() {
    let folder = tempdir().unwrap();
    let ran = rva(folder.path(), &["tables", "--log-format", "json"]).exits(1);
    for line in ran.stderr.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(value["level"], "ERROR");
    }
    assert_eq!(ran.stderr.lines().count(), 1);
}
