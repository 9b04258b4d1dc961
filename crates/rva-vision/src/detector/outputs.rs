//! The tensors that a run of a model gives, as rows that the suppression reads.

use super::{
    layout::Rows,
    session::{inference_failed, model_failed},
};
use crate::VisionError;
use half::f16;
use ort::{
    session::SessionOutputs,
    value::{DynTensorValueType, TensorElementType, ValueRef},
};

/// Returns a tensor of a run by its name.
///
/// # Errors
/// Returns `Model` where there is none of that name.
pub(crate) fn tensor<'a>(
    outputs: &'a SessionOutputs<'_>,
    name: &str,
) -> Result<ValueRef<'a, DynTensorValueType>, VisionError> {
    outputs
        .get(name)
        .and_then(|value| value.view().downcast::<DynTensorValueType>().ok())
        .ok_or_else(|| model_failed(&format!("found no tensor {name:?}")))
}

/// Returns the rows of the output, and its values as 32-bit floats, picture by picture.
pub(super) fn values<'a>(
    output: &'a ValueRef<'_, DynTensorValueType>,
    count: usize,
    classes: usize,
    converted: &'a mut Vec<f32>,
) -> Result<(Rows, &'a [f32]), VisionError> {
    let dims: Vec<i64> = output.shape().iter().copied().collect();
    let rows = Rows::of(&dims, classes).filter(|_| dims[0] == count as i64);
    let rows = rows.ok_or_else(|| {
        let wanted = format!("[{count}, {}, anchors] or [{count}, rows, 6]", 4 + classes);
        model_failed(&format!("found an output {dims:?}, wanted {wanted}"))
    })?;
    Ok((rows, floats(output, converted)?))
}

/// Puts labels `[count, n]`, boxes `[count, n, 4]` and scores `[count, n]` into `rows` as rows; returns how many a
/// picture has.
pub(super) fn ranked(
    outputs: &SessionOutputs<'_>,
    [labels, boxes, scores]: [&str; 3],
    count: usize,
    rows: &mut Vec<f32>,
) -> Result<Rows, VisionError> {
    let (labels, boxes, scores) = (tensor(outputs, labels)?, tensor(outputs, boxes)?, tensor(outputs, scores)?);
    let shapes = [&labels, &boxes, &scores].map(|tensor| tensor.shape().iter().copied().collect::<Vec<i64>>());
    let each = match (&shapes[0][..], &shapes[1][..], &shapes[2][..]) {
        (&[a, n], &[b, m, 4], &[c, k]) if [a, b, c] == [count as i64; 3] && [m, k] == [n; 2] => n as usize,
        _ => {
            let wanted = format!("[{count}, n], [{count}, n, 4] and [{count}, n]");
            return Err(model_failed(&format!("found labels, boxes and scores of {shapes:?}, wanted {wanted}")));
        }
    };
    let (mut own, mut others) = (Vec::new(), Vec::new());
    let (boxes, scores) = (floats(&boxes, &mut own)?, floats(&scores, &mut others)?);
    let (_, labels) = labels.try_extract_tensor::<i64>().map_err(inference_failed)?;
    rows.clear();
    for ((label, corners), score) in labels.iter().zip(boxes.chunks_exact(4)).zip(scores) {
        rows.extend_from_slice(corners);
        rows.extend([*score, *label as f32]);
    }
    Ok(Rows::Finished(each))
}

/// Puts boxes `[count, n, 4]` and logits `[count, n, classes]` into `rows` as rows; returns how many a picture has.
pub(super) fn queries(
    outputs: &SessionOutputs<'_>,
    [boxes, logits]: [&str; 2],
    count: usize,
    classes: usize,
    rows: &mut Vec<f32>,
) -> Result<Rows, VisionError> {
    let (boxes, logits) = (tensor(outputs, boxes)?, tensor(outputs, logits)?);
    let shapes = [&boxes, &logits].map(|tensor| tensor.shape().iter().copied().collect::<Vec<i64>>());
    let each = match (&shapes[0][..], &shapes[1][..]) {
        (&[a, n, 4], &[b, m, c]) if [a, b] == [count as i64; 2] && m == n && c == classes as i64 => n as usize,
        _ => {
            let wanted = format!("[{count}, n, 4] and [{count}, n, {classes}]");
            return Err(model_failed(&format!("found boxes and logits of {shapes:?}, wanted {wanted}")));
        }
    };
    let (mut own, mut others) = (Vec::new(), Vec::new());
    let (boxes, logits) = (floats(&boxes, &mut own)?, floats(&logits, &mut others)?);
    rows.clear();
    for (place, logits) in boxes.chunks_exact(4).zip(logits.chunks_exact(classes)) {
        rows.extend_from_slice(place);
        rows.extend_from_slice(logits);
    }
    Ok(Rows::Queries(each))
}

/// Returns the values of a tensor in 32 bits; `converted` holds those that had 16.
///
/// # Errors
/// Returns an error for a tensor of another element type.
pub(crate) fn floats<'a>(
    tensor: &'a ValueRef<'_, DynTensorValueType>,
    converted: &'a mut Vec<f32>,
) -> Result<&'a [f32], VisionError> {
    if *tensor.data_type() != TensorElementType::Float16 {
        return Ok(tensor.try_extract_tensor::<f32>().map_err(inference_failed)?.1);
    }
    let (_, halves) = tensor.try_extract_tensor::<f16>().map_err(inference_failed)?;
    converted.clear();
    converted.extend(halves.iter().map(|value| value.to_f32()));
    Ok(converted.as_slice())
}

/// Puts the same numbers in 16 bits into `halves`.
pub(crate) fn halved(values: &[f32], halves: &mut Vec<f16>) {
    halves.clear();
    halves.extend(values.iter().map(|&value| f16::from_f32(value)));
}
