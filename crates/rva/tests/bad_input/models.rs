//! Models and runtimes that can't be used.

use crate::{
    common::{runtime_library, workspace},
    world::World,
};
use std::process::Command;

fn toy(name: &str) -> String {
    workspace().join("crates/rva-vision/tests/models").join(name).display().to_string()
}

#[test]
fn a_model_that_cannot_be_used_is_named_with_found_and_wanted_and_changes_nothing() {
    let world = World::seeded();
    let before = world.rows();
    let Some(clip) = world.clip(2) else { return };
    let text = world.write("text.onnx", "this is no model").display().to_string();
    let empty = world.write("empty.onnx", "").display().to_string();
    let torch = world.write("yolov8n.pt", "x").display().to_string();
    let folder = world.path().display().to_string();
    let toys: Vec<String> =
        ["classify", "pose", "segment", "yolov5", "turned", "yolov5-of-one", "grey-input", "other-count"]
            .iter()
            .map(|name| toy(&format!("{name}.onnx")))
            .collect();
    let (no_names, bad_names) = (toy("no-names.onnx"), toy("bad-names.onnx"));
    let mut cases: Vec<(&str, Vec<&str>)> = vec![
        ("none.onnx", vec!["none.onnx", "no such file", "make model"]),
        (&folder, vec![&folder, "a folder", "wanted an ONNX file"]),
        (&torch, vec![&torch, "a PyTorch file", "wanted its ONNX export"]),
        (&text, vec![&text, "found", "wanted"]),
        (&empty, vec![&empty, "found", "wanted"]),
        (&no_names, vec![&no_names, "found no class names", "wanted class names in the metadata `names`"]),
        (&bad_names, vec![&bad_names, "read class names", "wanted"]),
    ];
    cases.extend(toys.iter().map(|toy| (toy.as_str(), vec![toy.as_str(), "found", "wanted"])));
    for (model, wanted) in cases {
        world.rva(&["run", &clip, "--model", model]).exits(1).says(&wanted);
    }
    world.rva(&["run", &clip]).exits(1).says(&["found no model", "wanted --model"]);
    assert_eq!(world.rows(), before);
    assert!(world.logged("cam_01").is_empty());
}

/// A library that gives itself out as another version, or a line that says why there is none.
fn fake_runtime(world: &World, version: &str) -> Option<String> {
    let code = format!(
        "static const void *api(unsigned v) {{ (void)v; return 0; }}
         static const char *version(void) {{ return \"{version}\"; }}
         static const struct {{ const void *(*api)(unsigned); const char *(*version)(void); }} base = {{ api, version }};
         const void *OrtGetApiBase(void) {{ return &base; }}"
    );
    let source = world.write("fake.c", code);
    let library = world.path().join("fake.so");
    match Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status() {
        Ok(status) if status.success() => Some(library.display().to_string()),
        _ => {
            eprintln!("skipped: no C compiler to build a fake library with");
            None
        }
    }
}

#[test]
fn a_wrong_or_missing_runtime_says_the_version_that_is_wanted_and_how_to_get_it() {
    let world = World::seeded();
    let before = world.rows();
    let Some(clip) = world.clip(2) else { return };
    let Some(old) = fake_runtime(&world, "1.20.0") else { return };
    let text = world.write("text.so", "hello").display().to_string();
    let wanted = ["wanted version 1.31 or later", "make setup", "ORT_DYLIB_PATH"];
    let cases: [(&str, &[&str]); 3] = [
        ("none.so", &["none.so", "found no such file"]),
        (&text, &[&text, "5 bytes that isn't a shared library"]),
        (&old, &[&old, "found version \"1.20.0\""]),
    ];
    for (library, found) in cases {
        world.run(&clip, &["--onnxruntime", library]).exits(1).says(found).says(&wanted);
        let model = crate::common::demo_model();
        let run = ["run", &clip, "--model", model.to_str().unwrap()];
        let by_variable = world.command(&run).env("ORT_DYLIB_PATH", library).output().unwrap();
        crate::common::Ran::from(by_variable).exits(1).says(found).says(&wanted);
        let doctor = world.rva(&["doctor", "--onnxruntime", library]).exits(1);
        let is_said = |text: &&str| doctor.stdout.contains(*text);
        assert!(found.iter().all(is_said) && wanted.iter().all(is_said), "{}", doctor.stdout);
    }
    assert_eq!(world.rows(), before);
    assert!(world.logged("cam_01").is_empty());
    assert!(runtime_library().is_some());
}
