//! Folders and files that may not be read or written, as another user than root.

use crate::{
    common::{Ran, command, demo_model, runtime_library},
    world::{World, keys, records},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything below a folder, the folder too.
fn allow_below(folder: &Path, folders: u32, files: u32) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { allow_below(&path, folders, files) } else { allow(&path, files) }
    }
    allow(folder, folders);
}

/// Runs the program as a user who is not root, from a folder that everybody can read.
struct Nobody<'a> {
    world: &'a World,
    program: PathBuf,
    model: PathBuf,
    library: Option<PathBuf>,
}

impl<'a> Nobody<'a> {
    fn of(world: &'a World) -> Self {
        allow(world.path(), 0o755);
        let copy = |from: &Path, name: &str| {
            let to = world.path().join(name);
            fs::copy(from, &to).unwrap();
            allow(&to, 0o755);
            to
        };
        let library = runtime_library().map(|path| match path.is_dir() {
            true => fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_file()).unwrap(),
            false => path,
        });
        Self {
            world,
            program: copy(Path::new(env!("CARGO_BIN_EXE_rva")), "rva-for-everybody"),
            model: copy(&demo_model(), "model.onnx"),
            library: library.map(|path| copy(&path, "libonnxruntime.so")),
        }
    }

    fn rva(&self, arguments: &[&str]) -> Ran {
        let plain = command(self.world.path(), &[arguments, &["--data-dir", "d"]].concat());
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command.current_dir(self.world.path()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(library) = &self.library {
            command.env("ORT_DYLIB_PATH", library);
        }
        command.output().unwrap().into()
    }

    fn run(&self, source: &str) -> Ran {
        self.rva(&["run", source, "--model", self.model.to_str().unwrap()])
    }
}

#[test]
fn a_data_folder_that_may_not_be_read_is_named_by_every_command_and_keeps_its_rows() {
    let world = World::seeded();
    let before = world.rows();
    let Some(clip) = world.clip(2) else { return };
    world.write("more.ndjson", records(&keys("more", "till", 1..=3)));
    let nobody = Nobody::of(&world);
    allow(&world.data(), 0o000);
    let folder = world.path().canonicalize().unwrap().join("d").display().to_string();
    let wanted = [folder.as_str(), "Permission denied", "wanted"];
    let ran = [
        nobody.run(&clip),
        nobody.rva(&["replay", "more.ndjson"]),
        nobody.rva(&["ingest", "--drain"]),
        nobody.rva(&["query", "SELECT 1 FROM bronze_raw"]),
        nobody.rva(&["tables"]),
    ];
    allow(&world.data(), 0o755);
    for ran in ran {
        ran.exits(1).says(&wanted);
    }
    assert_eq!(world.rows(), before);
    assert!(world.logged("till").is_empty() && world.logged("cam_01").is_empty());
}

#[test]
fn a_data_folder_that_may_not_be_written_can_be_queried_and_refuses_the_rest() {
    let world = World::seeded();
    let Some(clip) = world.clip(2) else { return };
    // A reader that is killed leaves the last commits in the catalog's write-ahead log.
    let reader = world.hold_catalog("BEGIN; SELECT * FROM iceberg_tables");
    world.write("recent.ndjson", records(&keys("recent", "till", 1..=3)));
    world.rva(&["replay", "recent.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0);
    drop(reader);
    assert!(fs::metadata(world.data().join("catalog.db-wal")).unwrap().len() > 0);
    world.write("more.ndjson", records(&keys("more", "door", 7..=9)));
    let nobody = Nobody::of(&world);
    allow_below(&world.data(), 0o555, 0o444);
    let folder = world.path().canonicalize().unwrap().join("d").display().to_string();
    let sql = "SELECT pipeline_run_id, frame_index FROM bronze_raw ORDER BY 1, 2";
    let query = nobody.rva(&["query", sql, "--format", "csv"]);
    let tables = nobody.rva(&["tables"]);
    let refused = [nobody.run(&clip), nobody.rva(&["replay", "more.ndjson"]), nobody.rva(&["ingest", "--drain"])];
    allow_below(&world.data(), 0o755, 0o644);
    let mut rows = String::from("pipeline_run_id,frame_index\n");
    (1..=6).for_each(|frame| rows.push_str(&format!("earlier,{frame}\n")));
    (1..=3).for_each(|frame| rows.push_str(&format!("recent,{frame}\n")));
    assert_eq!(query.exits(0).stdout, rows);
    assert!(tables.exits(0).stdout.contains("rva.bronze_raw"));
    for ran in refused {
        ran.exits(1).says(&[&folder, "Permission denied", "wanted a folder that can be written"]);
    }
    assert_eq!(world.rows(), &keys("earlier", "door", 1..=6) | &keys("recent", "till", 1..=3));
    assert!(world.logged("cam_01").is_empty());
    assert_eq!(world.logged("door"), keys("earlier", "door", 1..=6));
}

#[test]
fn an_input_that_may_not_be_read_is_named_before_anything_is_made() {
    let world = World::new();
    let Some(clip) = world.clip(2) else { return };
    world.write("secret.ndjson", records(&keys("more", "till", 1..=3)));
    fs::create_dir(world.path().join("pictures")).unwrap();
    let nobody = Nobody::of(&world);
    for path in [Path::new(&clip), &world.path().join("secret.ndjson"), &world.path().join("pictures")] {
        allow(path, 0o000);
    }
    let video = nobody.run("clip.avi");
    let pictures = nobody.run("pictures");
    let replay = nobody.rva(&["replay", "secret.ndjson"]);
    allow(&nobody.model, 0o000);
    let model = nobody.run("clip.avi");
    allow(&world.path().join("pictures"), 0o755);
    video.exits(1).says(&["clip.avi", "Permission denied", "wanted a readable file"]);
    pictures.exits(1).says(&["pictures", "Permission denied", "wanted a readable file or folder"]);
    replay.exits(1).says(&["secret.ndjson", "Permission denied"]);
    model.exits(1).says(&["Permission denied"]);
    assert!(!world.data().exists());
}

#[test]
fn a_data_folder_in_a_place_that_may_not_be_written_is_refused() {
    let world = World::new();
    let Some(clip) = world.clip(2) else { return };
    let nobody = Nobody::of(&world);
    allow(world.path(), 0o555);
    let ran = nobody.run(&clip);
    allow(world.path(), 0o755);
    let folder = world.path().canonicalize().unwrap().join("d").display().to_string();
    ran.exits(1).says(&[&folder, "Permission denied", "wanted a folder that can be written"]);
    assert!(!world.data().exists());
    // A file where the folder would be.
    world.write("d", "x");
    world.run(&clip, &[]).exits(1).says(&[&folder, "wanted a folder that can be written"]);
    assert_eq!(fs::read(world.data()).unwrap(), b"x");
}
