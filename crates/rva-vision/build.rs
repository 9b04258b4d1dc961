//! Links what the feature `camera-motion` uses of OpenCV: `OPENCV_LINK_LIBS` names only what every build needs, and
//! changing it with the feature would build the bindings anew for both.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CAMERA_MOTION").is_some() {
        for library in ["video", "calib3d", "features2d", "flann"] {
            println!("cargo::rustc-link-lib=opencv_{library}");
        }
    }
}
