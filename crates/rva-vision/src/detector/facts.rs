//! The facts that a model file tells of itself, and where a model puts its results.

/// A tensor of a model: its element type as ONNX Runtime writes it (`f32`, `f16`, …) and its shape, -1 where symbolic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorShape {
    /// The name in the graph.
    pub name: String,
    /// The element type.
    pub element: Element,
    /// The dimensions, -1 where symbolic.
    pub dims: Vec<i64>,
}

/// The element types as far as they matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// Another type, by name.
    Other(String),
}

/// The facts that a model file tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ModelFacts {
    /// The inputs in order.
    pub inputs: Vec<TensorShape>,
    /// The outputs in order.
    pub outputs: Vec<TensorShape>,
    /// The text of Ultralytics' `names`.
    pub names: Option<String>,
    /// The text of Ultralytics' `task`.
    pub task: Option<String>,
    /// The text of Ultralytics' `stride`.
    pub stride: Option<String>,
    /// The text of Ultralytics' `imgsz`, height and width.
    pub imgsz: Option<String>,
    /// The text of `mean`, which a user may put there for a model of the DETR family.
    pub mean: Option<String>,
    /// The text of `std`, as `mean`.
    pub std: Option<String>,
    /// The text of RF-DETR's `rfdetr_inference`.
    pub rfdetr: Option<String>,
}

/// The outputs of a detection model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// The one output of YOLO, by its name, `[batch, 4 + classes, anchors]` or `[batch, rows, 6]`.
    One(String),
    /// The outputs of RT-DETR, D-FINE and DEIM as their own scripts export them: label, corners and score of each
    /// detection, best first, scaled to the sizes (width, height) that another input holds.
    Ranked {
        /// The name of the input of sizes, `[batch, 2]`.
        sizes: String,
        /// The name of the labels, `[batch, rows]`.
        labels: String,
        /// The name of the boxes, `[batch, rows, 4]`.
        boxes: String,
        /// The name of the scores, `[batch, rows]`.
        scores: String,
    },
    /// The raw answers of the queries of RF-DETR and its relatives.
    Queries {
        /// The name of the boxes, `[batch, queries, 4]`: centre and size as parts of the input.
        boxes: String,
        /// The name of the logits, `[batch, queries, classes]`.
        logits: String,
    },
}

/// Returns tensors in words: `output output0 float32 [1, 84, 8400]`, or how many there are and each.
pub(crate) fn shown(what: &str, tensors: &[TensorShape]) -> String {
    let each: Vec<String> = tensors
        .iter()
        .map(|tensor| {
            let dims: Vec<String> =
                tensor.dims.iter().map(|&dim| if dim < 0 { "?".to_owned() } else { dim.to_string() }).collect();
            let element = match &tensor.element {
                Element::F32 => "float32",
                Element::F16 => "float16",
                Element::Other(name) => name,
            };
            format!("{} {element} [{}]", tensor.name, dims.join(", "))
        })
        .collect();
    match each.len() {
        1 => format!("{what} {}", each[0]),
        count => format!("{count} {what}s ({})", each.join("; ")),
    }
}
