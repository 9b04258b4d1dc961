//! The camera's motion, found with OpenCV.

use crate::{Image, VisionError, image::opencv_failed};
use opencv::{
    calib3d,
    core::{self, DMatch, KeyPoint, Mat, Point2f, Ptr, Rect, Scalar, Size, TermCriteria, Vector},
    features2d, imgproc,
    prelude::*,
    video,
};
use rva_track::{GmcMethod, Warp};
use rva_types::{Detection, ImageSize};

/// The source pixels a side for one pixel of the picture that is looked at.
const DOWNSCALE: u32 = 2;
/// The shortest side of that picture, in pixels: the Lucas-Kanade window is 21 wide.
const SIDE_MIN: u32 = 32;
/// The fewest pairs of points; raising it refuses more of the frames that show little background.
const PAIRS_MIN: usize = 10;
/// The part of the pairs that must agree with the warp.
const AGREEING_MIN: f64 = 1.0 / 3.0;
/// The largest scale between two frames that a camera can have; beyond it the fit is degenerate.
const SCALE_MAX: f64 = 1.5;
/// The farthest that a pair may be apart, in parts of the picture's sides (ORB).
const APART_MAX: f32 = 0.25;
/// The part of the second best distance that a match must be nearer than (ORB).
const RATIO_MAX: f32 = 0.9;
/// The most steps of ECC, and the gain of a step below which it ends.
const ECC_STEPS_MAX: i32 = 100;
const ECC_GAIN_MIN: f64 = 1e-6;

#[derive(Debug)]
pub(super) struct OpenCvMotion {
    method: Method,
    before: Option<Seen>,
    /// Set once OpenCV's refusal of a frame was logged: once a run.
    warned: bool,
}

#[derive(Debug)]
enum Method {
    Flow,
    Orb(Orb),
    Ecc,
}

#[derive(Debug)]
struct Orb {
    corners: Ptr<features2d::FastFeatureDetector>,
    descriptors: Ptr<features2d::ORB>,
    matcher: Ptr<features2d::BFMatcher>,
}

/// The frame that the next one is compared with.
#[derive(Debug)]
struct Seen {
    source: ImageSize,
    grey: Mat,
    corners: Vector<Point2f>,
    key_points: Vector<KeyPoint>,
    descriptors: Mat,
}

/// Points of the frame before and the places where they are now.
type Pairs = (Vector<Point2f>, Vector<Point2f>);

impl OpenCvMotion {
    pub(super) fn new(method: GmcMethod) -> Result<Self, VisionError> {
        let method = match method {
            GmcMethod::Orb => Method::Orb(Orb::new().map_err(opencv_failed)?),
            GmcMethod::Ecc => Method::Ecc,
            GmcMethod::SparseOptFlow | GmcMethod::None => Method::Flow,
        };
        Ok(Self { method, before: None, warned: false })
    }

    pub(super) fn next(&mut self, image: &Image, detections: &[Detection]) -> Option<Warp> {
        let size = image.size();
        let small = ImageSize { width: size.width / DOWNSCALE, height: size.height / DOWNSCALE };
        if small.width.min(small.height) < SIDE_MIN {
            self.before = None;
            return None;
        }
        let before = self.before.take().filter(|before| before.source == size);
        match self.look(image, small, detections, before.as_ref()) {
            Ok((seen, warp)) => {
                self.before = Some(seen);
                warp.map(|warp| in_source_pixels(warp, size, small)).filter(is_plausible)
            }
            // A picture that OpenCV stumbles on is one of which nothing is known; the camera goes on.
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(error = %error.message, "camera motion not found in a frame");
                }
                None
            }
        }
    }

    fn look(
        &mut self,
        image: &Image,
        small: ImageSize,
        detections: &[Detection],
        before: Option<&Seen>,
    ) -> opencv::Result<(Seen, Option<[[f64; 3]; 2]>)> {
        let grey = small_grey(image, small, matches!(self.method, Method::Ecc))?;
        let mut seen = Seen {
            source: image.size(),
            grey,
            corners: Vector::new(),
            key_points: Vector::new(),
            descriptors: Mat::default(),
        };
        let warp = match &mut self.method {
            Method::Flow => {
                let mask = background(small, detections, 0.0)?;
                // Ultralytics' parameters: 1,000 corners, 0.01 of the best, 1 pixel apart, blocks of 3, no Harris.
                imgproc::good_features_to_track(&seen.grey, &mut seen.corners, 1000, 0.01, 1.0, &mask, 3, false, 0.04)?;
                match before {
                    Some(before) => through_most(&followed(before, &seen.grey)?)?,
                    None => None,
                }
            }
            Method::Orb(orb) => {
                let mask = background(small, detections, 0.02)?;
                orb.corners.detect(&seen.grey, &mut seen.key_points, &mask)?;
                orb.descriptors.compute(&seen.grey, &mut seen.key_points, &mut seen.descriptors)?;
                match before {
                    Some(before) => through_most(&orb.matched(before, &seen)?)?,
                    None => None,
                }
            }
            Method::Ecc => match before {
                Some(before) => correlated(before, &seen.grey)?,
                None => None,
            },
        };
        Ok((seen, warp))
    }
}

impl Orb {
    fn new() -> opencv::Result<Self> {
        let fast = features2d::FastFeatureDetector_DetectorType::TYPE_9_16;
        Ok(Self {
            corners: features2d::FastFeatureDetector::create(20, true, fast)?,
            descriptors: features2d::ORB::create_def()?,
            matcher: features2d::BFMatcher::create(core::NORM_HAMMING, false)?,
        })
    }

    /// Returns pairs by Lowe's ratio test that aren't far apart, without those whose shift is far from the mean.
    fn matched(&self, before: &Seen, now: &Seen) -> opencv::Result<Pairs> {
        if before.descriptors.rows() < 2 || now.descriptors.rows() < 2 {
            return Ok(Pairs::default());
        }
        let mut nearest = Vector::<Vector<DMatch>>::new();
        self.matcher.knn_train_match_def(&before.descriptors, &now.descriptors, &mut nearest, 2)?;
        let apart_max = [now.grey.cols() as f32 * APART_MAX, now.grey.rows() as f32 * APART_MAX];
        let mut pairs = Vec::with_capacity(nearest.len());
        for two in &nearest {
            let (best, second) = match (two.get(0), two.get(1)) {
                (Ok(best), Ok(second)) => (best, second),
                _ => continue,
            };
            let from = before.key_points.get(best.query_idx as usize)?.pt();
            let to = now.key_points.get(best.train_idx as usize)?.pt();
            let shift = [to.x - from.x, to.y - from.y];
            if best.distance < RATIO_MAX * second.distance && (0..2).all(|i| shift[i].abs() < apart_max[i]) {
                pairs.push((from, to, shift));
            }
        }
        let count = pairs.len().max(1) as f32;
        let near = [0, 1].map(|i| {
            let mean = pairs.iter().map(|pair| pair.2[i]).sum::<f32>() / count;
            let variance = pairs.iter().map(|pair| (pair.2[i] - mean).powi(2)).sum::<f32>() / count;
            // Where all agree to the last bit the deviation is 0: half a pixel is always near.
            (mean, (2.5 * variance.sqrt()).max(0.5))
        });
        let (mut from, mut to) = Pairs::default();
        for (a, b, shift) in pairs {
            if near.iter().zip(shift).all(|((mean, most), shift)| (shift - mean).abs() < *most) {
                from.push(a);
                to.push(b);
            }
        }
        Ok((from, to))
    }
}

/// Returns the picture in grey at half the size, blurred a little for ECC, which compares pixels.
fn small_grey(image: &Image, small: ImageSize, is_blurred: bool) -> opencv::Result<Mat> {
    let mut grey = Mat::default();
    imgproc::cvt_color_def(image.mat(), &mut grey, imgproc::COLOR_BGR2GRAY)?;
    if is_blurred {
        let mut blurred = Mat::default();
        imgproc::gaussian_blur(&grey, &mut blurred, Size::new(3, 3), 1.5, 0.0, core::BORDER_DEFAULT)?;
        grey = blurred;
    }
    let mut resized = Mat::default();
    let size = Size::new(small.width as i32, small.height as i32);
    imgproc::resize(&grey, &mut resized, size, 0.0, 0.0, imgproc::INTER_LINEAR)?;
    Ok(resized)
}

/// Returns a mask of 255 where no detection lies; a border of that part of the sides is left out too.
fn background(small: ImageSize, detections: &[Detection], border: f64) -> opencv::Result<Mat> {
    let (width, height) = (small.width as i32, small.height as i32);
    let mut mask = Mat::new_rows_cols_with_default(height, width, core::CV_8UC1, Scalar::all(0.0))?;
    let (left, top) = ((f64::from(width) * border) as i32, (f64::from(height) * border) as i32);
    let inner = Rect::new(left, top, width - 2 * left, height - 2 * top);
    imgproc::rectangle(&mut mask, inner, Scalar::all(255.0), imgproc::FILLED, imgproc::LINE_8, 0)?;
    for bbox in detections.iter().map(|detection| detection.bbox) {
        let scale = DOWNSCALE as f32;
        // A cast of what isn't finite gives a number in range.
        let (x1, y1) = ((bbox.x1 / scale) as i32, (bbox.y1 / scale) as i32);
        let (x2, y2) = ((bbox.x2 / scale) as i32, (bbox.y2 / scale) as i32);
        let (x1, y1, x2, y2) = (x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height));
        if x2 > x1 && y2 > y1 {
            let body = Rect::new(x1, y1, x2 - x1, y2 - y1);
            imgproc::rectangle(&mut mask, body, Scalar::all(0.0), imgproc::FILLED, imgproc::LINE_8, 0)?;
        }
    }
    Ok(mask)
}

/// Returns the corners of the frame before that were found again.
fn followed(before: &Seen, grey: &Mat) -> opencv::Result<Pairs> {
    if before.corners.is_empty() {
        return Ok(Pairs::default());
    }
    let (mut now, mut status, mut error) = (Vector::<Point2f>::new(), Vector::<u8>::new(), Vector::<f32>::new());
    video::calc_optical_flow_pyr_lk_def(&before.grey, grey, &before.corners, &mut now, &mut status, &mut error)?;
    let (mut from, mut to) = Pairs::default();
    for ((a, b), found) in before.corners.iter().zip(&now).zip(&status) {
        if found == 1 {
            from.push(a);
            to.push(b);
        }
    }
    Ok((from, to))
}

/// Returns the shift, rotation and scale that most pairs agree with.
fn through_most((from, to): &Pairs) -> opencv::Result<Option<[[f64; 3]; 2]>> {
    if from.len() < PAIRS_MIN {
        return Ok(None);
    }
    let mut agreeing = Vector::<u8>::new();
    // OpenCV's defaults: 3 pixels, 2,000 tries, 99 % sure, 10 refinements. Its random numbers begin anew in every call.
    let found = calib3d::estimate_affine_partial_2d(from, to, &mut agreeing, calib3d::RANSAC, 3.0, 2000, 0.99, 10)?;
    let agree = agreeing.iter().filter(|&agrees| agrees != 0).count();
    if found.empty() || (agree as f64) < (AGREEING_MIN * from.len() as f64).max(PAIRS_MIN as f64) {
        return Ok(None);
    }
    rows::<f64>(&found).map(Some)
}

/// Returns the shift and rotation with the highest correlation of the two pictures; none where it isn't found.
fn correlated(before: &Seen, grey: &Mat) -> opencv::Result<Option<[[f64; 3]; 2]>> {
    let mut warp = Mat::eye(2, 3, core::CV_32F)?.to_mat()?;
    let kind = core::TermCriteria_COUNT | core::TermCriteria_EPS;
    let criteria = TermCriteria::new(kind, ECC_STEPS_MAX, ECC_GAIN_MIN)?;
    let no_mask = Mat::default();
    match video::find_transform_ecc(&before.grey, grey, &mut warp, video::MOTION_EUCLIDEAN, criteria, &no_mask, 1) {
        Ok(likeness) if likeness.is_finite() && likeness > 0.0 => rows::<f32>(&warp).map(Some),
        Ok(_) => Ok(None),
        // Two pictures without anything in common, or without anything at all.
        Err(error) if error.code == core::StsNoConv => Ok(None),
        Err(error) => Err(error),
    }
}

fn rows<T: opencv::core::DataType + Into<f64>>(matrix: &Mat) -> opencv::Result<[[f64; 3]; 2]> {
    let mut rows = [[0.0; 3]; 2];
    for (y, row) in rows.iter_mut().enumerate() {
        for (x, value) in row.iter_mut().enumerate() {
            *value = (*matrix.at_2d::<T>(y as i32, x as i32)?).into();
        }
    }
    Ok(rows)
}

/// Converts from pixel centres of the small picture (OpenCV's points) to source pixels as boxes count them, from the
/// edge.
///
/// With `p` in small pixels from the edge, `p' = A (p - 1/2) + t + 1/2`, and a source point is `S p`.
fn in_source_pixels([[a, b, tx], [c, d, ty]]: [[f64; 3]; 2], source: ImageSize, small: ImageSize) -> Warp {
    let sx = f64::from(source.width) / f64::from(small.width);
    let sy = f64::from(source.height) / f64::from(small.height);
    let x = sx * (tx + 0.5 - (a + b) * 0.5);
    let y = sy * (ty + 0.5 - (c + d) * 0.5);
    Warp([[a, b * sx / sy, x], [c * sy / sx, d, y]])
}

fn is_plausible(Warp([[a, b, x], [c, d, y]]): &Warp) -> bool {
    let scale = (a * d - b * c).abs().sqrt();
    [a, b, c, d, x, y].iter().all(|value| value.is_finite()) && (1.0 / SCALE_MAX..=SCALE_MAX).contains(&scale)
}
