//! The sources that a command looks at, their names and settings.

use super::refused;
use rva_service::{CameraConfig, Config, Loaded, Origin, SourceText};
use rva_types::{CameraId, SourceIdentity, StoreId, StreamId};
use rva_vision::VIDEO_EXTENSIONS;
use std::path::Path;

/// A source, the identity that its records tell, and its own settings.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraPlan {
    /// The source as the user gave it; it may hold a password.
    pub source: SourceText,
    /// The store, camera and stream.
    pub identity: SourceIdentity,
    /// The settings that hold for this camera: those of all, and over them its own.
    pub config: Config,
}

/// The cameras of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The cameras in the order of the command line, or of their ids.
    pub cameras: Vec<CameraPlan>,
    /// Set where they are the `cameras` of the configuration file, which may be edited while they run.
    pub is_from_file: bool,
}

/// Returns the sources of the command line; else `VIDEO_PATH`; else the enabled cameras of the file; else its `source`.
///
/// # Errors
/// Returns an error where there are none, or one camera id is to stand for several.
pub fn plan(sources: &[SourceText], loaded: &Loaded) -> anyhow::Result<Plan> {
    let config = &loaded.config;
    let source_origin = loaded.settings.iter().find(|setting| setting.path == "source").map(|setting| &setting.origin);
    let from_environment = matches!(source_origin, Some(Origin::Environment(_)));
    let enabled: Vec<_> = config.cameras.iter().filter(|(_, camera)| camera.enabled).collect();
    if !sources.is_empty() {
        warn_of_passwords(sources);
        return Ok(Plan { cameras: of_sources(sources, loaded)?, is_from_file: false });
    }
    if let Some(source) = config.source.as_ref().filter(|_| from_environment || enabled.is_empty()) {
        return Ok(Plan { cameras: of_sources(std::slice::from_ref(source), loaded)?, is_from_file: false });
    }
    if enabled.is_empty() {
        return Err(
            refused("found no source, wanted one on the command line, cameras in rva.yaml, or VIDEO_PATH").into()
        );
    }
    let cameras = enabled.into_iter().map(|(id, camera)| {
        let store = camera.store.as_ref().unwrap_or(&config.store_id);
        let stream = camera.stream.as_ref().unwrap_or(&config.stream_id);
        let identity = identity(store, id, stream)?;
        Ok(CameraPlan { source: camera.source.clone(), identity, config: of_camera(config, camera) })
    });
    Ok(Plan { cameras: cameras.collect::<anyhow::Result<_>>()?, is_from_file: true })
}

/// Says that everybody on this machine can read a command line, once.
fn warn_of_passwords(sources: &[SourceText]) {
    let cameras = sources.iter().filter(|source| source.holds_secrets()).count();
    if cameras > 0 {
        tracing::warn!(
            cameras,
            "found a password on the command line, which everybody on this machine can read: wanted it in a file \
             (cameras.<id>.password_file, RVA_CAPTURE_PASSWORD_FILE) or in the environment (RVA_CAPTURE_PASSWORD)"
        );
    }
}

/// Returns the settings of all with those of one camera over them.
fn of_camera(config: &Config, camera: &CameraConfig) -> Config {
    let mut config = config.clone();
    let CameraConfig {
        conf,
        classes,
        tracker,
        reid_model,
        vid_stride,
        capture,
        realtime,
        transport,
        hw_acceleration,
        tls_ca,
        tls_insecure,
        user,
        password,
        ..
    } = camera.clone();
    fn over<T>(all: &mut T, own: Option<T>) {
        if let Some(own) = own {
            *all = own;
        }
    }
    over(&mut config.detector.conf, conf);
    over(&mut config.detector.tracker, tracker);
    over(&mut config.detector.vid_stride, vid_stride);
    over(&mut config.capture.policy, capture);
    over(&mut config.capture.realtime, realtime);
    over(&mut config.capture.transport, transport);
    over(&mut config.capture.hw_acceleration, hw_acceleration);
    // Whose word is taken for a camera is one thing: one that says so itself doesn't take half of that of all.
    if tls_ca.is_some() || tls_insecure.is_some() {
        (config.capture.tls_ca, config.capture.tls_insecure) = (tls_ca, tls_insecure.unwrap_or_default());
    }
    // A login is one thing: a camera that has its own doesn't take half of that of all.
    if user.is_some() || password.is_some() {
        (config.capture.user, config.capture.password) = (user, password);
    }
    config.detector.classes = classes.or(config.detector.classes);
    config.detector.reid_model = reid_model.or(config.detector.reid_model);
    config
}

fn of_sources(sources: &[SourceText], loaded: &Loaded) -> anyhow::Result<Vec<CameraPlan>> {
    let config = &loaded.config;
    if let (Some(id), 2..) = (&config.camera_id, sources.len()) {
        let text = format!(
            "found camera id {id} for {} sources, wanted one source; several are named cam_01, cam_02, …, or by rva.yaml",
            sources.len()
        );
        return Err(refused(text).into());
    }
    if are_videos_of_one_folder(sources) {
        tracing::info!(
            cameras = sources.len(),
            "each of these videos is a camera of its own; a folder, or a pattern in quotes, is one camera whose videos \
             follow each other"
        );
    }
    let numbered = |index: usize| format!("cam_{:02}", index + 1);
    sources
        .iter()
        .enumerate()
        .map(|(index, source)| {
            let camera = config.camera_id.clone().unwrap_or_else(|| numbered(index));
            let identity = identity(&config.store_id, &camera, &config.stream_id)?;
            Ok(CameraPlan { source: source.clone(), identity, config: config.clone() })
        })
        .collect()
}

/// Returns whether sources are what a shell makes of a pattern of videos.
fn are_videos_of_one_folder(sources: &[SourceText]) -> bool {
    let folder_of = |source: &SourceText| {
        let path = Path::new(source.expose());
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        (VIDEO_EXTENSIONS.contains(&extension.as_str()) && path.is_file()).then(|| path.parent().map(Path::to_owned))
    };
    let [first, others @ ..] = sources else { return false };
    let folder = folder_of(first);
    !others.is_empty() && folder.is_some() && others.iter().all(|other| folder_of(other) == folder)
}

fn identity(store: &str, camera: &str, stream: &str) -> anyhow::Result<SourceIdentity> {
    let refused = |error: rva_types::IdError| refused(error.to_string());
    Ok(SourceIdentity {
        store_id: StoreId::parse(store).map_err(refused)?,
        camera_id: CameraId::parse(camera).map_err(refused)?,
        stream_id: StreamId::parse(stream).map_err(refused)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::{Layers, load};
    use rva_types::CaptureChoice;

    fn loaded(file: &str, environment: &[(&str, &str)]) -> Loaded {
        let environment = environment.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        load(&Layers { file: Some(("rva.yaml".into(), file.into())), environment, ..Layers::default() }).unwrap()
    }

    fn named(sources: &[&str], loaded: &Loaded) -> Vec<(String, String, String)> {
        let sources: Vec<SourceText> = sources.iter().map(|source| SourceText::from(*source)).collect();
        plan(&sources, loaded)
            .unwrap()
            .cameras
            .into_iter()
            .map(|p| (p.source.expose().to_owned(), p.identity.store_id.to_string(), p.identity.camera_id.to_string()))
            .collect()
    }

    fn triple(a: &str, b: &str, c: &str) -> (String, String, String) {
        (a.into(), b.into(), c.into())
    }

    const CAMERAS: &str = "cameras:\n  door: {source: a.mp4, store: s7}\n  off: {source: b.mp4, enabled: false}\n";

    #[test]
    fn several_sources_are_counted() {
        let found = named(&["a", "b"], &loaded("", &[]));
        assert_eq!(found, [triple("a", "store_01", "cam_01"), triple("b", "store_01", "cam_02")]);
    }

    #[test]
    fn the_command_line_beats_the_environment_which_beats_the_file() {
        assert_eq!(named(&[], &loaded(CAMERAS, &[])), [triple("a.mp4", "s7", "door")]);
        let with_env = loaded(CAMERAS, &[("VIDEO_PATH", "v.mp4"), ("CAMERA_ID", "c")]);
        assert_eq!(named(&[], &with_env), [triple("v.mp4", "store_01", "c")]);
        assert_eq!(named(&["x"], &with_env), [triple("x", "store_01", "c")]);
    }

    #[test]
    fn a_cameras_own_settings_go_before_those_of_all() {
        let text = "detector: {conf: 0.3, vid_stride: 2}\ncapture: {policy: every_nth}\ncameras:\n  \
            a: {source: a.mp4, conf: 0.5, classes: [person], capture: all, realtime: true, tracker: sort}\n  b: {source: b.mp4}\n";
        let plan = plan(&[], &loaded(text, &[])).unwrap();
        assert!(plan.is_from_file);
        let [a, b] = &plan.cameras[..] else { panic!("{plan:?}") };
        let own = (a.config.detector.conf, a.config.detector.vid_stride, a.config.capture.policy);
        assert_eq!(own, (0.5, 2, CaptureChoice::All));
        assert_eq!(a.config.detector.classes.as_deref(), Some(&["person".to_owned()][..]));
        assert!(a.config.capture.realtime && a.config.detector.tracker == "sort");
        let all = (b.config.detector.conf, b.config.detector.vid_stride, b.config.capture.policy);
        assert_eq!((all, b.config.capture.realtime), ((0.3, 2, CaptureChoice::EveryNth), false));
    }

    #[test]
    fn a_camera_that_is_named_twice_is_refused_with_its_place() {
        let text = "cameras:\n  door: {source: a.mp4}\n  door: {source: b.mp4}\n";
        let layers = Layers { file: Some(("rva.yaml".into(), text.into())), ..Layers::default() };
        let error = load(&layers).unwrap_err().to_string();
        assert!(error.contains("door") && error.contains("duplicate"), "{error}");
    }

    #[test]
    fn one_camera_id_for_two_sources_and_no_source_at_all_are_refused() {
        let both = plan(&["a".into(), "b".into()], &loaded("camera_id: c\n", &[])).unwrap_err().to_string();
        assert!(both.contains("2 sources"), "{both}");
        let none = plan(&[], &loaded("", &[])).unwrap_err().to_string();
        assert!(none.contains("VIDEO_PATH") && none.contains("rva.yaml"), "{none}");
    }
}
