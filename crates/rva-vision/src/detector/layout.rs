//! The layout of a model's inputs and outputs, from its own description, and the check that it is a YOLO detection
//! model: one whose boxes are still to be suppressed (YOLOv8, 9, 11, 12), or one that has done so itself (YOLOv10,
//! YOLO26, exports with `nms=True`); or a model of the DETR family, which has nothing to suppress (RT-DETR, D-FINE,
//! RF-DETR).

use super::{
    facts::{Element, ModelFacts, Outputs, TensorShape, shown},
    letterbox::Normal,
    literal::{parse_integers, parse_names},
    queries::{normal, queries},
};
use rva_types::ImageSize;

/// The way to run a detection model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// The name of the input.
    pub input_name: String,
    /// Set where the input is float16 (else float32).
    pub half_input: bool,
    /// The size of the input as it will be used, in pixels.
    pub input_size: ImageSize,
    /// The number of pictures of one run where the model fixes it.
    pub batch: Option<usize>,
    /// The outputs that are read.
    pub outputs: Outputs,
    /// The change of colours that its training made.
    pub normal: Normal,
    /// The class names by id, at least one; empty where an id is no class.
    pub class_names: Vec<String>,
}

/// The longest side of a network input in pixels, for a sane amount of memory.
const SIDE_MAX: u32 = 8192;

impl Layout {
    /// Reads the layout. `imgsz` is the size that the user wants, if any.
    ///
    /// # Errors
    /// Returns a text with found and wanted, without the model's name.
    pub(crate) fn read(facts: &ModelFacts, imgsz: Option<ImageSize>) -> Result<Self, String> {
        if let Some(task) = facts.task.as_deref().map(str::trim)
            && task != "detect"
        {
            return Err(format!("found a model for the task {task:?}, wanted \"detect\""));
        }
        let ranked = ranked(facts);
        let input = input(facts, ranked.is_some())?;
        let (outputs, normal, class_names) = match (ranked, queries(facts)?) {
            (Some(ranked), _) => (ranked, normal(facts)?.unwrap_or_default(), names(facts)?),
            (None, Some(found)) => (found.outputs, found.normal, found.class_names),
            (None, None) => {
                let output = output(facts)?;
                let class_names = names(facts)?;
                check_output(output, class_names.len())?;
                (Outputs::One(output.name.clone()), Normal::default(), class_names)
            }
        };
        Ok(Self {
            input_name: input.name.clone(),
            half_input: input.element == Element::F16,
            input_size: input_size(facts, &input.dims, imgsz)?,
            batch: usize::try_from(input.dims[0]).ok(),
            outputs,
            normal,
            class_names,
        })
    }
}

const SIZES: &str = "orig_target_sizes";

/// The outputs of a model like RT-DETR; `None` where it is no such model.
fn ranked(facts: &ModelFacts) -> Option<Outputs> {
    let has = |tensors: &[TensorShape], name: &str, sides: usize| {
        tensors.iter().any(|tensor| tensor.name == name && tensor.dims.len() == sides)
    };
    let is_whole = has(&facts.inputs, SIZES, 2)
        && has(&facts.outputs, "labels", 2)
        && has(&facts.outputs, "boxes", 3)
        && has(&facts.outputs, "scores", 2);
    is_whole.then(|| Outputs::Ranked {
        sizes: SIZES.to_owned(),
        labels: "labels".to_owned(),
        boxes: "boxes".to_owned(),
        scores: "scores".to_owned(),
    })
}

fn input(facts: &ModelFacts, has_sizes: bool) -> Result<&TensorShape, String> {
    const WANTED: &str = "one input [batch, 3, height, width] of float32 or float16";
    let pictures: Vec<_> = facts.inputs.iter().filter(|input| !has_sizes || input.name != SIZES).collect();
    match pictures[..] {
        [input] if matches!(input.dims[..], [batch, 3, _, _] if batch != 0) && is_float(&input.element) => Ok(input),
        _ => Err(format!("found {}, wanted {WANTED}", shown("input", &facts.inputs))),
    }
}

fn output(facts: &ModelFacts) -> Result<&TensorShape, String> {
    match &facts.outputs[..] {
        [output] if output.dims.len() == 3 && is_float(&output.element) => Ok(output),
        outputs => Err(format!("found {}, wanted {WANTED_OUTPUT}", shown("output", outputs))),
    }
}

const WANTED_OUTPUT: &str = "one output [batch, 4 + classes, anchors] (YOLOv8 detection) or [batch, rows, 6] (YOLO26, \
                             YOLOv10) of float32 or float16, or the outputs of RF-DETR (dets, labels), of RT-DETR and \
                             D-FINE (labels, boxes, scores; with the input orig_target_sizes)";

/// The most rows of a model that suppresses by itself: its `max_det`, usually 300. YOLOv5's layout with one class,
/// which has six columns too, has a row for each anchor, thousands.
const FINISHED_ROWS_MAX: i64 = 1000;

/// The rows of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// A column for each anchor: centre, size and a score for each class.
    Anchors(usize),
    /// A row for each detection: corners, score and class.
    Finished(usize),
    /// A row for each query: centre and size as parts of the input, then a logit for each class.
    Queries(usize),
}

impl Rows {
    /// Tells them by the dimensions of an output; `None` where it is another layout, or a dimension is symbolic.
    pub(crate) fn of(dims: &[i64], classes: usize) -> Option<Self> {
        match *dims {
            [_, rows @ 0..=FINISHED_ROWS_MAX, 6] => Some(Self::Finished(rows as usize)),
            [_, rows, anchors] if rows == 4 + classes as i64 && anchors >= 0 => Some(Self::Anchors(anchors as usize)),
            _ => None,
        }
    }

    /// Returns the number of values of one picture.
    pub(crate) fn values(self, classes: usize) -> usize {
        match self {
            Self::Anchors(anchors) => (4 + classes) * anchors,
            Self::Finished(rows) => 6 * rows,
            Self::Queries(queries) => (4 + classes) * queries,
        }
    }
}

/// Checks an output: the dimensions tell YOLO's layouts from their relatives. Symbolic ones are checked by the first
/// run.
fn check_output(output: &TensorShape, classes: usize) -> Result<(), String> {
    let rows = 4 + classes as i64;
    if Rows::of(&output.dims, classes).is_some() {
        return Ok(());
    }
    let relative = match output.dims[..] {
        [_, found, _] if found == rows || found < 0 => return Ok(()),
        [_, found, 6] if rows == 5 && found > FINISHED_ROWS_MAX => "YOLOv5's layout, with an objectness score",
        [_, found, last] if last == rows + 1 && found > last => "YOLOv5's layout, with an objectness score",
        [_, found, last] if last == rows && found > last => "YOLOv8's layout turned round",
        _ => "another layout",
    };
    Err(format!(
        "found {} with {classes} class names: {relative}; wanted [batch, {rows}, anchors] (YOLOv8 detection) or \
         [batch, rows, 6] (YOLO26, YOLOv10)",
        shown("output", std::slice::from_ref(output)),
    ))
}

fn names(facts: &ModelFacts) -> Result<Vec<String>, String> {
    const WANTED: &str = "class names in the metadata `names`, as Ultralytics' export writes them (how they are put into \
                          a file: docs/usage.md)";
    let text = facts.names.as_deref().ok_or_else(|| format!("found no class names, wanted {WANTED}"))?;
    match parse_names(text) {
        Ok(names) if names.is_empty() => Err(format!("found no class names in {text:?}, wanted {WANTED}")),
        Ok(names) => Ok(names),
        Err(problem) => Err(format!("read class names: {problem}; wanted {WANTED}")),
    }
}

fn input_size(facts: &ModelFacts, dims: &[i64], wanted: Option<ImageSize>) -> Result<ImageSize, String> {
    let own = facts.imgsz.as_deref().and_then(parse_integers).and_then(|sides| match sides[..] {
        [side] => Some(ImageSize { width: side, height: side }),
        [height, width] => Some(ImageSize { width, height }),
        _ => None,
    });
    let fallback = wanted.or(own).unwrap_or(ImageSize { width: 640, height: 640 });
    let side = |dim: i64, fallback: u32| u32::try_from(dim).unwrap_or(fallback);
    let size = ImageSize { width: side(dims[3], fallback.width), height: side(dims[2], fallback.height) };
    if let Some(wanted) = wanted.filter(|&wanted| wanted != size) {
        return Err(format!(
            "found a model made for {} (height x width), wanted imgsz {}: leave imgsz out or export the model anew",
            by_side(size),
            by_side(wanted),
        ));
    }
    let is_symbolic = dims[2] < 0 || dims[3] < 0;
    let stride = facts.stride.as_deref().and_then(parse_integers).and_then(|values| values.into_iter().max());
    let stride = stride.filter(|stride| (1..=1024).contains(stride)).unwrap_or(32);
    let misfit = |side: u32| side == 0 || side > SIDE_MAX || (is_symbolic && !side.is_multiple_of(stride));
    if misfit(size.width) || misfit(size.height) {
        let fit = |side: u32| (side.div_ceil(stride).max(1) * stride).min(SIDE_MAX);
        let nearest = ImageSize { width: fit(size.width), height: fit(size.height) };
        return Err(format!(
            "found imgsz {} (height x width), wanted multiples of the stride {stride} up to {SIDE_MAX}, such as {}",
            by_side(size),
            by_side(nearest),
        ));
    }
    Ok(size)
}

fn by_side(size: ImageSize) -> String {
    format!("{}x{}", size.height, size.width)
}

fn is_float(element: &Element) -> bool {
    matches!(element, Element::F32 | Element::F16)
}
