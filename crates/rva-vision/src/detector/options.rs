//! Options of detection, in Ultralytics' words, and their checks.

use crate::{PIXELS_MAX, VisionError, VisionErrorKind};
use rva_types::Device;
use rva_types::ImageSize;

/// Options of detection. Names and defaults are Ultralytics' own.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectOptions {
    /// The confidence in [0, 1] that a detection must exceed. Raising it gives fewer and surer detections. A tracker
    /// that uses weak detections needs the lower of its own bound and the user's here; the caller works that out.
    pub conf: f32,
    /// The overlap in [0, 1] (intersection over union) above which the less confident of two boxes of a class is
    /// dropped. Raising it keeps more boxes that overlap: people close to each other, and also doubles.
    pub iou: f32,
    /// The class ids to keep; `None` keeps all.
    pub classes: Option<Vec<u32>>,
    /// The most detections of a picture, of which the most confident ones stay. Raising it matters in crowds only.
    pub max_det: usize,
    /// Lets boxes of different classes suppress each other.
    pub agnostic_nms: bool,
    /// The network input for a model whose input size is symbolic. Raising it finds smaller objects and takes longer,
    /// in proportion to the area. A model with a size of its own is used at that size, and another one is refused.
    pub imgsz: Option<ImageSize>,
    /// The most pixels of a network input: a larger one is refused before it is computed, whoever wants it, the user or
    /// the model. Each takes twelve bytes, and many more within the network.
    pub pixels_max: u64,
    /// Computes in 16-bit floats: takes a model whose input is float16, or TensorRT, which converts a float32 one.
    pub half: bool,
    /// The device that runs the network.
    pub device: Device,
    /// The threads that share one inference; `None` takes all cores. Raising it helps until other threads need the
    /// cores.
    pub intra_threads: Option<usize>,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self {
            conf: 0.25,
            iou: 0.7,
            classes: None,
            max_det: 300,
            agnostic_nms: false,
            imgsz: None,
            pixels_max: PIXELS_MAX,
            half: false,
            device: Device::Cpu,
            intra_threads: None,
        }
    }
}

/// The most threads of one inference: more never helps, and a mistyped number must not exhaust the machine.
const INTRA_THREADS_MAX: usize = 256;

impl DetectOptions {
    /// Checks every value by itself; values that depend on the model are checked when it is loaded.
    ///
    /// # Errors
    /// Returns `Config` with everything that is wrong, with found and wanted, in one text.
    pub fn validate(&self) -> Result<(), VisionError> {
        let mut problems = Vec::new();
        for (name, value) in [("conf", self.conf), ("iou", self.iou)] {
            // A NaN is in no range.
            if !(0.0..=1.0).contains(&value) {
                problems.push(format!("found {name} {value}, wanted a number from 0 to 1"));
            }
        }
        if self.max_det == 0 {
            problems.push("found max_det 0, wanted at least 1".to_owned());
        }
        if self.classes.as_ref().is_some_and(Vec::is_empty) {
            problems.push("found an empty list of classes, wanted at least one, or none given for all".to_owned());
        }
        if let Some(threads) = self.intra_threads
            && !(1..=INTRA_THREADS_MAX).contains(&threads)
        {
            problems.push(format!("found {threads} threads, wanted 1 to {INTRA_THREADS_MAX}"));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(VisionError::new(VisionErrorKind::Config, format!("check detection options: {}", problems.join("; "))))
    }
}

/// Reads `640` (a square) or `480,640` (height, width as Ultralytics orders them; `x` may stand for the comma).
///
/// # Errors
/// Returns `Config` for anything but one or two numbers from 1 to 16384.
pub fn parse_imgsz(text: &str) -> Result<ImageSize, VisionError> {
    let wanted = || {
        VisionError::new(
            VisionErrorKind::Config,
            format!(
                "read imgsz: found {text:?}, wanted a number of pixels such as 640, or height,width such as 480,640"
            ),
        )
    };
    let sides = text
        .split([',', 'x'])
        .map(|part| part.trim().parse::<u32>().ok().filter(|side| (1..=16384).contains(side)))
        .collect::<Option<Vec<u32>>>()
        .ok_or_else(wanted)?;
    match sides[..] {
        [side] => Ok(ImageSize { width: side, height: side }),
        [height, width] => Ok(ImageSize { width, height }),
        _ => Err(wanted()),
    }
}

/// Returns the class ids for a list of ids and names (letter case is ignored), ascending and without doubles.
///
/// # Errors
/// Returns `Config` for an id or a name that the model doesn't have; it names the nearest known name.
pub fn resolve_classes(wanted: &[String], class_names: &[String]) -> Result<Vec<u32>, VisionError> {
    let mut ids = Vec::with_capacity(wanted.len());
    let mut problems = Vec::new();
    for text in wanted {
        match class_id(text.trim(), class_names) {
            Ok(id) => ids.push(id),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(VisionError::new(VisionErrorKind::Config, format!("find class: {}", problems.join("; "))));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Checks that an id is a class of a model, whose names by id are empty where an id is none.
///
/// # Errors
/// Returns a text with found and wanted.
pub(super) fn check_class(id: u32, class_names: &[String]) -> Result<(), String> {
    match class_names.get(id as usize) {
        Some(name) if !name.is_empty() => Ok(()),
        Some(_) => {
            Err(format!("found class id {id}, which is no class of the model, wanted one of {}", listed(class_names)))
        }
        None => Err(format!("found class id {id}, wanted 0 to {}", class_names.len().saturating_sub(1))),
    }
}

fn class_id(text: &str, class_names: &[String]) -> Result<u32, String> {
    // A name wins over a number: a model of house numbers may call its class 3 "7".
    if let Some(id) = class_names.iter().position(|name| !name.is_empty() && name.eq_ignore_ascii_case(text)) {
        return Ok(id as u32);
    }
    if let Ok(id) = text.parse::<u64>() {
        // An id that is no u32 is beyond every list.
        let id = u32::try_from(id).unwrap_or(u32::MAX);
        return check_class(id, class_names).map(|()| id);
    }
    let lower = text.to_lowercase();
    let nearest = class_names
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, name)) if likeness > 0.7 => Err(format!("found no class {text:?}, the nearest is {name:?}")),
        _ => Err(format!("found no class {text:?}, wanted one of {}", listed(class_names))),
    }
}

/// Returns the first names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<_> = names.iter().filter(|name| !name.is_empty()).collect();
    let mut text = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["person", "bicycle", "traffic light", "7"].map(str::to_owned).to_vec()
    }

    fn resolve(wanted: &[&str]) -> Result<Vec<u32>, String> {
        let wanted: Vec<String> = wanted.iter().map(|&text| text.to_owned()).collect();
        resolve_classes(&wanted, &names()).map_err(|error| error.to_string())
    }

    #[test]
    fn classes_are_found_by_id_and_by_name_without_doubles() {
        assert_eq!(resolve(&["Traffic Light", "0", "person", "1"]).unwrap(), [0, 1, 2]);
        assert_eq!(resolve(&["7"]).unwrap(), [3], "a name wins over a number");
        assert_eq!(resolve(&[]).unwrap(), [] as [u32; 0]);
    }

    #[test]
    fn unknown_classes_are_all_named_with_the_nearest_known_one() {
        let text = resolve(&["persn", "0", "9", "xyz"]).unwrap_err();
        assert!(text.contains(r#"no class "persn", the nearest is "person""#), "{text}");
        assert!(text.contains("class id 9, wanted 0 to 3"), "{text}");
        assert!(text.contains(r#"no class "xyz", wanted one of "person""#), "{text}");
    }

    #[test]
    fn ids_without_a_name_are_no_classes() {
        let names = ["", "person", "", "bicycle"].map(str::to_owned);
        let resolve = |text: &str| resolve_classes(&[text.to_owned()], &names).map_err(|error| error.to_string());
        assert_eq!(resolve("person").unwrap(), [1]);
        assert_eq!(resolve("3").unwrap(), [3]);
        for (text, wanted) in [
            ("2", r#"found class id 2, which is no class of the model, wanted one of "person", "bicycle""#),
            ("0", "found class id 0, which is no class"),
            ("4", "found class id 4, wanted 0 to 3"),
            ("99999999999", "wanted 0 to 3"),
            ("", r#"wanted one of "person", "bicycle""#),
        ] {
            let error = resolve(text).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn thresholds_outside_zero_to_one_are_refused_and_the_ends_are_not() {
        for value in [-0.01, 1.01, f32::NAN, f32::INFINITY] {
            let conf = DetectOptions { conf: value, ..Default::default() }.validate().unwrap_err().to_string();
            assert!(conf.contains(&format!("found conf {value}, wanted a number from 0 to 1")), "{conf}");
            let iou = DetectOptions { iou: value, ..Default::default() }.validate().unwrap_err().to_string();
            assert!(iou.contains(&format!("found iou {value}")), "{iou}");
        }
        for value in [0.0, 1.0] {
            DetectOptions { conf: value, iou: value, ..Default::default() }.validate().unwrap();
        }
    }

    #[test]
    fn all_problems_of_the_options_are_reported_at_once() {
        let options = DetectOptions {
            conf: 2.0,
            max_det: 0,
            classes: Some(Vec::new()),
            intra_threads: Some(0),
            ..Default::default()
        };
        let error = options.validate().unwrap_err();
        assert_eq!(error.kind(), VisionErrorKind::Config);
        for text in ["conf 2", "max_det 0", "empty list of classes", "0 threads"] {
            assert!(error.to_string().contains(text), "{error} should name {text}");
        }
    }

    #[test]
    fn image_sizes_are_read_in_ultralytics_order() {
        assert_eq!(parse_imgsz("640").unwrap(), ImageSize { width: 640, height: 640 });
        assert_eq!(parse_imgsz("480, 640").unwrap(), ImageSize { width: 640, height: 480 });
        assert_eq!(parse_imgsz("480x640").unwrap(), ImageSize { width: 640, height: 480 });
        for text in ["", "0", "-3", "1,2,3", "640px", "99999"] {
            let error = parse_imgsz(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
