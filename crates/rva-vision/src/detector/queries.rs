//! Models of the DETR family that give the raw answers of their queries: a box and a logit for each class, as RF-DETR
//! exports itself (`dets` and `labels`) and as Transformers' exports do (`pred_boxes` and `logits`).
//!
//! A logit's column is its class id. RF-DETR's own models have COCO's category ids, where `person` is 1 and eleven ids
//! are nobody's; models that were trained on ids from 0 have one column more than classes. So a class is what has a
//! name, and columns without one are never looked at.

use super::{
    facts::{ModelFacts, Outputs, TensorShape, shown},
    letterbox::Normal,
    literal::{parse_floats, parse_named},
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The mean and the deviation of ImageNet's pictures, which RF-DETR is trained with.
const IMAGENET: Normal = Normal { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/// The number of columns of a model with COCO's own category ids, 0 to 90.
const COCO_COLUMNS: usize = 91;

/// COCO's 80 classes, in the order in which models that count from 0 have them.
const COCO_NAMES: &str = "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,\
    stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,\
    tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,\
    tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,\
    pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,\
    microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush";

/// COCO's category ids that are no class.
const COCO_HOLES: [usize; 11] = [0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83];

/// The facts that RF-DETR's newer exports write into the metadata `rfdetr_inference`, as JSON.
#[derive(Deserialize)]
struct Notes {
    task: String,
    means: [f32; 3],
    stds: [f32; 3],
    #[serde(default)]
    class_names: Vec<String>,
    #[serde(default)]
    class_id_to_name: BTreeMap<usize, String>,
}

/// The reading of a model that gives the raw answers of its queries.
#[derive(Debug, PartialEq)]
pub(crate) struct Queries {
    /// The outputs that are read.
    pub outputs: Outputs,
    /// The change of colours that its training made.
    pub normal: Normal,
    /// The class names by column, empty where a column is no class.
    pub class_names: Vec<String>,
}

/// Reads the layout of a model that gives the raw answers of its queries; `None` where it is no such model.
///
/// # Errors
/// Returns a text with found and wanted where its classes or its colours can't be told, or it has another task.
pub(crate) fn queries(facts: &ModelFacts) -> Result<Option<Queries>, String> {
    let by_name = |name: &str| facts.outputs.iter().find(|output| output.name == name && output.dims.len() == 3);
    let (boxes, logits, is_own) = match (by_name("dets"), by_name("labels"), by_name("pred_boxes"), by_name("logits")) {
        (Some(boxes), Some(logits), ..) => (boxes, logits, true),
        (.., Some(boxes), Some(logits)) => (boxes, logits, false),
        _ => return Ok(None),
    };
    // MMDetection calls its outputs so too: corners and score.
    if !matches!(boxes.dims[2], 4 | -1) {
        return Ok(None);
    }
    for (name, task) in [("masks", "segmentation"), ("pred_masks", "segmentation"), ("keypoints", "keypoints")] {
        if facts.outputs.iter().any(|output| output.name == name) {
            return Err(format!("found the output {name:?} of a model for {task}, wanted one for detection alone"));
        }
    }
    let notes = facts.rfdetr.as_deref().map(notes).transpose()?;
    if let Some(task) = notes.as_ref().map(|notes| notes.task.as_str()).filter(|task| *task != "detect") {
        return Err(format!("found a model for the task {task:?}, wanted \"detect\""));
    }
    let columns = usize::try_from(logits.dims[2]).ok().filter(|columns| (1..=COLUMNS_MAX).contains(columns));
    let columns = columns.ok_or_else(|| {
        let found = shown("output", std::slice::from_ref(logits));
        format!("found {found}, wanted a fixed number of classes, 1 to {COLUMNS_MAX}")
    })?;
    let normal = match (normal(facts)?, &notes) {
        (Some(normal), _) => normal,
        (None, Some(Notes { means, stds, .. })) => checked(*means, *stds)?,
        (None, None) if is_own => IMAGENET,
        (None, None) => return Err(colours_unknown(&facts.outputs)),
    };
    let class_names = names(facts, notes, columns, is_own)?;
    let outputs = Outputs::Queries { boxes: boxes.name.clone(), logits: logits.name.clone() };
    Ok(Some(Queries { outputs, normal, class_names }))
}

/// The most classes of a model: a bound on what a damaged file can make us allocate.
const COLUMNS_MAX: usize = 100_000;

fn notes(text: &str) -> Result<Notes, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("read the metadata `rfdetr_inference`: {error}, wanted it as RF-DETR's export writes it")
    })
}

/// Reads the change of colours that a file tells in the metadata `mean` and `std`; `None` where it has neither.
pub(crate) fn normal(facts: &ModelFacts) -> Result<Option<Normal>, String> {
    let (mean, std) = match (&facts.mean, &facts.std) {
        (None, None) => return Ok(None),
        (Some(mean), Some(std)) => (mean, std),
        _ => return Err("found one of the metadata `mean` and `std`, wanted both or neither".to_owned()),
    };
    let three = |name: &str, text: &str| {
        let values = parse_floats(text).and_then(|values| <[f32; 3]>::try_from(values).ok());
        values.ok_or_else(|| {
            format!("found the metadata `{name}` {text:?}, wanted three numbers such as [0.485, 0.456, 0.406]")
        })
    };
    checked(three("mean", mean)?, three("std", std)?).map(Some)
}

fn checked(mean: [f32; 3], std: [f32; 3]) -> Result<Normal, String> {
    let is_whole =
        mean.iter().all(|value| value.is_finite()) && std.iter().all(|value| *value > 0.0 && value.is_finite());
    match is_whole {
        true => Ok(Normal { mean, std }),
        false => Err(format!(
            "found the mean {mean:?} and the deviation {std:?} of colours, wanted numbers, the deviation above 0"
        )),
    }
}

fn colours_unknown(outputs: &[TensorShape]) -> String {
    format!(
        "found {}, as Transformers names them, and nothing that says how colours are normalised; wanted the metadata \
         `mean` and `std` ([0, 0, 0] and [1, 1, 1] for RT-DETR and D-FINE), or the model as its own script exports it \
         (docs/usage.md)",
        shown("output", outputs)
    )
}

/// Returns the class names by column: those that the user put into the file, else those of RF-DETR's own notes, else
/// COCO's where their number is COCO's.
fn names(facts: &ModelFacts, notes: Option<Notes>, columns: usize, is_own: bool) -> Result<Vec<String>, String> {
    let wanted = || {
        format!(
            "the names of the {columns} classes (or of one less: the last is the background then) in the metadata \
             `names`, such as {{0: 'person', 1: 'cart'}} (docs/usage.md)"
        )
    };
    let named = match (&facts.names, notes) {
        (Some(text), _) => {
            parse_named(text).map_err(|problem| format!("read class names: {problem}; wanted {}", wanted()))?
        }
        (None, Some(notes)) if !notes.class_id_to_name.is_empty() => notes.class_id_to_name.into_iter().collect(),
        (None, Some(notes)) => notes.class_names.into_iter().enumerate().collect(),
        (None, None) if is_own && columns == COCO_COLUMNS => {
            tracing::info!(
                columns,
                "found no class names in the model; its classes are taken for COCO's, where a person is 1"
            );
            coco().collect()
        }
        (None, None) => Vec::new(),
    };
    if named.is_empty() {
        return Err(format!("found no class names, wanted {}", wanted()));
    }
    // RF-DETR's own models list 80 names for 91 columns.
    let counted = COCO_NAMES.split(',').enumerate();
    let is_coco = columns >= COCO_COLUMNS && named.iter().map(|(id, name)| (*id, name.as_str())).eq(counted);
    let named = if is_coco { coco().collect() } else { named };
    let mut names = vec![String::new(); columns];
    for (id, name) in named {
        match names.get_mut(id) {
            Some(slot) if slot.is_empty() => *slot = name,
            Some(_) => return Err(format!("found class id {id} twice, wanted it once")),
            None => return Err(format!("found class id {id} for an output of {columns} classes, wanted {}", wanted())),
        }
    }
    Ok(names)
}

/// COCO's category ids and names.
fn coco() -> impl Iterator<Item = (usize, String)> {
    let ids = (0..COCO_COLUMNS).filter(|id| !COCO_HOLES.contains(id));
    ids.zip(COCO_NAMES.split(',').map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::facts::Element;

    fn tensor(name: &str, dims: &[i64]) -> TensorShape {
        TensorShape { name: name.to_owned(), element: Element::F32, dims: dims.to_vec() }
    }

    /// RF-DETR's outputs in its order.
    fn facts(columns: i64) -> ModelFacts {
        let outputs = vec![tensor("dets", &[1, 300, 4]), tensor("labels", &[1, 300, columns])];
        ModelFacts { inputs: vec![tensor("input", &[1, 3, 384, 384])], outputs, ..Default::default() }
    }

    fn read(facts: &ModelFacts) -> Queries {
        queries(facts).unwrap().unwrap()
    }

    #[test]
    fn ninety_one_columns_without_names_are_cocos_categories() {
        let found = read(&facts(91));
        assert_eq!(found.normal, IMAGENET);
        assert_eq!(found.outputs, Outputs::Queries { boxes: "dets".to_owned(), logits: "labels".to_owned() });
        for (id, name) in [(0, ""), (1, "person"), (12, ""), (13, "stop sign"), (44, "bottle"), (90, "toothbrush")] {
            assert_eq!(found.class_names[id], name, "{id}");
        }
        assert_eq!(found.class_names.iter().filter(|name| !name.is_empty()).count(), 80);
    }

    #[test]
    fn a_column_is_a_class_where_it_has_a_name() {
        let names = |columns, text: &str| {
            let facts = ModelFacts { names: Some(text.to_owned()), ..facts(columns) };
            queries(&facts).map(|found| found.unwrap().class_names)
        };
        assert_eq!(names(3, "{0: 'person', 1: 'cart'}").unwrap(), ["person", "cart", ""], "the last is the background");
        assert_eq!(names(2, "['person', 'cart']").unwrap(), ["person", "cart"]);
        assert_eq!(names(3, "{2: 'cart', 1: 'person'}").unwrap(), ["", "person", "cart"]);
        let counted = format!("['{}']", COCO_NAMES.replace(',', "','"));
        assert_eq!(names(91, &counted).unwrap()[1], "person", "80 names in order for 91 columns are COCO's");
        assert_eq!(names(81, &counted).unwrap()[0], "person");
        for (columns, text, problem) in [
            (2, "{0: 'a', 1: 'b', 2: 'c'}", "found class id 2 for an output of 2 classes"),
            (2, "{}", "found no class names"),
            (2, "{0: 'a', 0: 'b'}", "found class id 0 twice"),
            (2, "{0: a}", "read class names"),
        ] {
            let error = names(columns, text).unwrap_err();
            assert!(error.contains(problem) && error.contains("wanted"), "{error}");
        }
        let error = queries(&facts(5)).unwrap_err();
        assert!(error.contains("found no class names, wanted the names of the 5 classes"), "{error}");
    }

    #[test]
    fn notes_of_newer_exports_tell_names_colours_and_task() {
        let with = |notes: &str| ModelFacts { rfdetr: Some(notes.to_owned()), ..facts(4) };
        let notes = r#"{"task": "detect", "means": [0.5, 0.25, 0.125], "stds": [0.5, 1, 2], "num_select": 300,
            "class_names": ["person", "cart"], "class_id_to_name": {"1": "person", "3": "cart"}}"#;
        let found = read(&with(notes));
        assert_eq!(found.normal, Normal { mean: [0.5, 0.25, 0.125], std: [0.5, 1.0, 2.0] });
        assert_eq!(found.class_names, ["", "person", "", "cart"]);
        let named = ModelFacts { names: Some("{0: 'visitor'}".to_owned()), ..with(notes) };
        assert_eq!(read(&named).class_names, ["visitor", "", "", ""], "what the user wrote wins");
        let few = r#"{"task": "detect", "means": [0, 0, 0], "stds": [1, 1, 1], "class_names": ["person"]}"#;
        assert_eq!(read(&with(few)).class_names, ["person", "", "", ""]);
        for (notes, problem) in [
            (r#"{"task": "keypoints", "means": [0, 0, 0], "stds": [1, 1, 1]}"#, "the task \"keypoints\""),
            (r#"{"task": "detect", "means": [0, 0, 0], "stds": [1, 0, 1]}"#, "wanted numbers, the deviation above 0"),
            (r#"{"task": "detect", "means": [0, 0], "stds": [1, 1]}"#, "rfdetr_inference"),
            ("{", "rfdetr_inference"),
        ] {
            let error = queries(&with(notes)).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn outputs_of_transformers_are_read_where_the_file_tells_their_colours() {
        let outputs = vec![tensor("logits", &[-1, 300, 2]), tensor("pred_boxes", &[-1, 300, 4])];
        let bare = ModelFacts { outputs, names: Some("['person', 'cart']".to_owned()), ..facts(2) };
        let error = queries(&bare).unwrap_err();
        assert!(error.contains("nothing that says how colours are normalised; wanted the metadata `mean`"), "{error}");
        let with =
            |mean: &str, std: &str| ModelFacts { mean: Some(mean.into()), std: Some(std.into()), ..bare.clone() };
        let found = read(&with("[0, 0, 0]", "[1, 1, 1]"));
        assert_eq!(found.normal, Normal::default());
        assert_eq!(found.outputs, Outputs::Queries { boxes: "pred_boxes".to_owned(), logits: "logits".to_owned() });
        for (mean, std) in [("[0, 0]", "[1, 1, 1]"), ("[0, 0, x]", "[1, 1, 1]"), ("[0, 0, 0]", "[1, -1, 1]")] {
            let error = queries(&with(mean, std)).unwrap_err();
            assert!(error.contains("wanted"), "{error}");
        }
        let half = ModelFacts { mean: Some("[0, 0, 0]".into()), ..bare.clone() };
        assert!(queries(&half).unwrap_err().contains("wanted both or neither"));
    }

    #[test]
    fn other_models_with_such_names_are_told_apart() {
        let with = |outputs| queries(&ModelFacts { outputs, ..facts(2) });
        assert_eq!(with(vec![tensor("dets", &[1, 100, 5]), tensor("labels", &[1, 100])]), Ok(None), "MMDetection's");
        assert_eq!(with(vec![tensor("output0", &[1, 84, 8400])]), Ok(None));
        let masks =
            vec![tensor("dets", &[1, 100, 4]), tensor("labels", &[1, 100, 91]), tensor("masks", &[1, 100, 78, 78])];
        let error = with(masks).unwrap_err();
        assert!(error.contains("\"masks\" of a model for segmentation, wanted one for detection alone"), "{error}");
        let symbolic = vec![tensor("dets", &[1, 300, 4]), tensor("labels", &[1, 300, -1])];
        assert!(with(symbolic).unwrap_err().contains("wanted a fixed number of classes"));
    }
}
