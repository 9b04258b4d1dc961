//! Links what the feature `camera-motion` uses of OpenCV: `OPENCV_LINK_LIBS` names only what every build needs, and
//! changing it with the feature would build the bindings anew for both. What only webcams and pictures need is loaded
//! when they are opened (`src/on_demand.cpp`).

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CAMERA_MOTION").is_some() {
        for library in ["video", "calib3d", "features2d", "flann"] {
            println!("cargo::rustc-link-lib=opencv_{library}");
        }
    }
    load_on_demand();
}

fn load_on_demand() {
    let source = "src/on_demand.cpp";
    println!("cargo::rerun-if-changed={source}");
    let paths = |variable: &str| -> Vec<PathBuf> {
        println!("cargo::rerun-if-env-changed={variable}");
        let listed = std::env::var(variable).unwrap_or_default();
        listed.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
    };
    let (folders, includes) = (paths("OPENCV_LINK_PATHS"), paths("OPENCV_INCLUDE_PATHS"));
    let (Some(videoio), Some(imgcodecs)) = (versioned(&folders, "videoio"), versioned(&folders, "imgcodecs")) else {
        return;
    };
    if includes.is_empty() {
        return;
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .includes(includes)
        .define("RVA_VIDEOIO", format!("\"{videoio}\"").as_str())
        .define("RVA_IMGCODECS", format!("\"{imgcodecs}\"").as_str())
        .file(source)
        // Nothing refers to it before the bindings do, which come later on the linker's line.
        .link_lib_modifier("+whole-archive")
        .compile("rva_on_demand");
}

/// Returns the name by which a program that is linked with a library of OpenCV asks for it, such as
/// `libopencv_videoio.so.406`: what the name that the linker looks for points to.
fn versioned(folders: &[PathBuf], module: &str) -> Option<String> {
    let name = format!("libopencv_{module}.so");
    let target = folders.iter().find_map(|folder| std::fs::read_link(folder.join(&name)).ok())?;
    Some(Path::new(&target).file_name()?.to_str()?.to_owned())
}
