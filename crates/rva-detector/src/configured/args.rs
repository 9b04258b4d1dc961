//! Flags of commands that run cameras; each stands for a key of the configuration.

use clap::{Args, ValueHint};
use rva_service::Given;

/// Options of finding and following people, in Ultralytics' words.
#[derive(Debug, Args)]
#[command(next_help_heading = "Detection")]
pub struct DetectionArgs {
    /// A YOLOv8 detection export (ONNX)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub model: Option<String>,
    /// Least confidence of a recorded detection, 0 to 1 [default: 0.25]
    #[arg(long, value_name = "CONF", allow_negative_numbers = true)]
    pub conf: Option<String>,
    /// Largest overlap that non-maximum suppression leaves, 0 to 1 [default: 0.7]
    #[arg(long, value_name = "IOU", allow_negative_numbers = true)]
    pub iou: Option<String>,
    /// Class ids or names to keep, separated by commas [default: all]
    #[arg(long, value_name = "CLASSES")]
    pub classes: Option<String>,
    /// Input size in pixels, 640 or height,width, for models that leave it open
    #[arg(long, value_name = "PIXELS")]
    pub imgsz: Option<String>,
    /// Most detections of a frame [default: 300]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_det: Option<String>,
    /// Suppress overlapping boxes across classes
    #[arg(long)]
    pub agnostic_nms: bool,
    /// 16-bit input, for models that take it
    #[arg(long)]
    pub half: bool,
    /// cpu, cuda:0 or tensorrt:0 [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// A tracker's name, or a tracker YAML file as Ultralytics has it [default: steady]
    #[arg(long, value_name = "TRACKER")]
    pub tracker: Option<String>,
    /// Appearance model in ONNX, for trackers that look at it (BoT-SORT with_reid, DeepSORT)
    #[arg(long, value_name = "FILE")]
    pub reid_model: Option<String>,
    /// Process every n-th frame [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub vid_stride: Option<String>,
    /// The ONNX Runtime library [default: searched, see `rva doctor`]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub onnxruntime: Option<String>,
}

/// Options of the records' origin.
#[derive(Debug, Args)]
#[command(next_help_heading = "Identity")]
pub struct IdentityArgs {
    /// The shop [default: store_01]
    #[arg(long, value_name = "ID")]
    pub store_id: Option<String>,
    /// The camera; several sources count cam_01, cam_02, … [default: cam_01]
    #[arg(long, value_name = "ID")]
    pub camera_id: Option<String>,
    /// The stream [default: stream_01]
    #[arg(long, value_name = "ID")]
    pub stream_id: Option<String>,
    /// Capture time of a file's first frame, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub start_time: Option<String>,
}

/// Options of reading sources.
#[derive(Debug, Args)]
#[command(next_help_heading = "Capture")]
pub struct CaptureArgs {
    /// Which frames are processed when there are too many: latest, every_nth, all or auto [default: auto]
    #[arg(long, value_name = "POLICY")]
    pub capture: Option<String>,
    /// Play files at their own speed
    #[arg(long)]
    pub realtime: bool,
    /// Write each camera's counts every so often
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "10s")]
    pub stats: Option<String>,
}

impl DetectionArgs {
    /// Adds those that were given.
    pub fn give(&self, given: &mut Given) {
        given.text("detector.model", "--model", self.model.as_ref());
        given.text("detector.conf", "--conf", self.conf.as_ref());
        given.text("detector.iou", "--iou", self.iou.as_ref());
        given.text("detector.classes", "--classes", self.classes.as_ref());
        given.text("detector.imgsz", "--imgsz", self.imgsz.as_ref());
        given.text("detector.max_det", "--max-det", self.max_det.as_ref());
        given.on("detector.agnostic_nms", "--agnostic-nms", self.agnostic_nms);
        given.on("detector.half", "--half", self.half);
        given.text("detector.device", "--device", self.device.as_ref());
        given.text("detector.tracker", "--tracker", self.tracker.as_ref());
        given.text("detector.reid_model", "--reid-model", self.reid_model.as_ref());
        given.text("detector.vid_stride", "--vid-stride", self.vid_stride.as_ref());
        given.text("detector.onnxruntime", "--onnxruntime", self.onnxruntime.as_ref());
    }
}

impl IdentityArgs {
    /// Adds those that were given.
    pub fn give(&self, given: &mut Given) {
        given.text("store_id", "--store-id", self.store_id.as_ref());
        given.text("camera_id", "--camera-id", self.camera_id.as_ref());
        given.text("stream_id", "--stream-id", self.stream_id.as_ref());
        given.text("start_time", "--start-time", self.start_time.as_ref());
    }
}

impl CaptureArgs {
    /// Adds those that were given.
    pub fn give(&self, given: &mut Given) {
        given.text("capture.policy", "--capture", self.capture.as_ref());
        given.on("capture.realtime", "--realtime", self.realtime);
        given.text("detector.stats_interval", "--stats", self.stats.as_ref());
    }
}
