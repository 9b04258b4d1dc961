//! The host of the detector role: the one way in which cameras are made ready, started, kept running and watched.
//! Programs choose what it looks like: where records go, who sees the frames, where counts are shown.

use crate::{
    CameraHealth, CameraSpec, CameraSummary, CameraView, MakeTap, OpenCamera, Reload, RunSettings, SharedModelOpener,
    SharedSink, Supervisor, Watching,
    configured::{CameraPlan, OpenSpec, Plan, log_options, open_all, plan, reconnect_pace, specs},
    load_shared, log_totals, watch_cameras,
};
use async_recursion::async_recursion as boxed;
use rva_bus::LogWriter;
use rva_service::{Config, Health, LoadAgain, Loaded, SourceText, StopFlag, Traces};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Cameras that are ready to be started, and the model that they share.
pub struct Fleet {
    open: Vec<OpenSpec>,
    later: Vec<CameraSpec>,
    opener: SharedModelOpener,
    is_from_file: bool,
}

impl Fleet {
    /// Makes the cameras of a plan ready. Those of the configuration file are kept running: one that is away comes
    /// later, and keeps no other waiting, so that only the model is loaded. Any others are opened now.
    ///
    /// # Errors
    /// Fails as [`Fleet::open`] does.
    #[boxed]
    pub async fn of(plan: &Plan) -> anyhow::Result<Self> {
        if !plan.is_from_file {
            return Self::open(&plan.cameras).await;
        }
        let later = specs(&plan.cameras)?;
        let detector = later.first().map(|spec| spec.detector.clone());
        let load = move || detector.map(|detector| load_shared(&detector)).transpose();
        let model = tokio::task::spawn_blocking(load).await??;
        let opener = model.map_or_else(SharedModelOpener::default, SharedModelOpener::with);
        Ok(Self { open: Vec::new(), later, opener, is_from_file: true })
    }

    /// Opens every camera now, and loads the model.
    ///
    /// # Errors
    /// Returns everything that is wrong with the cameras, or the first source or model that can't be opened; nothing is
    /// left open then.
    #[boxed]
    pub async fn open(cameras: &[CameraPlan]) -> anyhow::Result<Self> {
        let specs = specs(cameras)?;
        // Opening blocks: on files, on networks, on loading a model.
        let (open, opener) = tokio::task::spawn_blocking(move || open_all(specs)).await??;
        Ok(Self { open, later: Vec::new(), opener, is_from_file: false })
    }

    /// Returns the cameras that are open already.
    pub fn opened(&self) -> impl Iterator<Item = (&OpenCamera, &RunSettings)> {
        self.open.iter().map(|(_, camera, settings)| (camera, settings))
    }

    /// Starts all of them; each frame becomes a record in `sink`, and `taps` see it before. It must be called within a
    /// Tokio runtime.
    pub fn start(self, sink: SharedSink, config: &Config, taps: Vec<MakeTap>) -> RunningFleet {
        let traces = Traces::of(&config.telemetry, "rva-detector");
        let mut supervisor = Supervisor::new(Arc::new(self.opener), sink, reconnect_pace(config), taps, traces);
        for (spec, camera, settings) in self.open {
            supervisor.start(spec, camera, settings);
        }
        if !self.later.is_empty() {
            supervisor.apply(self.later);
        }
        RunningFleet { supervisor, stats_interval: config.detector.stats_interval, is_from_file: self.is_from_file }
    }
}

/// Opens the embedded log in `folder` as the place where records go, and shows its counts.
///
/// # Errors
/// Fails as [`LogWriter::open`] does.
#[boxed]
pub async fn open_log(folder: PathBuf, config: &Config, health: &Health) -> anyhow::Result<SharedSink> {
    let (options, disk) = (log_options(config), folder.clone());
    let log = tokio::task::spawn_blocking(move || LogWriter::open(folder, options)).await??;
    health.show(log_totals(&log));
    health.show_disk(&disk);
    Ok(SharedSink::new(log))
}

/// Returns what reads the cameras again when SIGHUP says that the configuration is another one; `taken` hears of each
/// that can be used, and may still refuse it.
pub fn reread(
    sources: Vec<SourceText>,
    load_again: LoadAgain,
    mut taken: impl FnMut(&Loaded, &[CameraPlan]) -> anyhow::Result<()> + Send + 'static,
) -> Reload {
    Box::new(move || {
        let loaded = load_again()?;
        let cameras = plan(&sources, &loaded)?.cameras;
        let specs = specs(&cameras)?;
        taken(&loaded, &cameras)?;
        Ok(specs)
    })
}

/// The view that a program has of a fleet.
pub struct FleetView<'a> {
    /// Where it is told how the cameras are, and where their counts are shown.
    pub health: Option<&'a Health>,
    /// The function that SIGHUP calls where the cameras are those of the configuration file; else the signal is left alone.
    pub reload: Option<Reload>,
    /// The flag that ends all cameras.
    pub stop: &'a StopFlag,
    /// The function that is called when the cameras are others than before.
    pub on_change: &'a mut (dyn FnMut(Vec<CameraView>) + Send),
    /// The function that is called at the beginning and every half second.
    pub on_look: &'a mut (dyn FnMut() + Send),
}

/// Cameras that run. When this is dropped, the sink that they write to is let go.
pub struct RunningFleet {
    supervisor: Supervisor,
    stats_interval: Option<Duration>,
    is_from_file: bool,
}

impl RunningFleet {
    /// Returns all cameras that are wanted, by id.
    pub fn views(&self) -> Vec<CameraView> {
        self.supervisor.views()
    }

    /// Waits until every camera has ended, and returns their summaries in the order of their ends.
    ///
    /// # Errors
    /// Fails as [`watch_cameras`] does.
    pub async fn watch(&mut self, view: FleetView<'_>) -> anyhow::Result<Vec<CameraSummary>> {
        let FleetView { health, reload, stop, on_change, on_look } = view;
        let mut cameras = health.map(|health| CameraHealth::new(health.clone()));
        let watching = Watching {
            reload: reload.filter(|_| self.is_from_file),
            stats_interval: self.stats_interval,
            stop,
            on_change: &mut |supervisor| on_change(supervisor.views()),
            on_look: &mut |supervisor| {
                cameras.iter_mut().for_each(|cameras| cameras.look(supervisor));
                on_look();
            },
        };
        watch_cameras(&mut self.supervisor, watching).await
    }
}
