//! Camera motion on a real frame that is moved by a known amount. Runs in builds with the feature `camera-motion`.

#![cfg(feature = "camera-motion")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use opencv::{core::Mat, imgproc, prelude::*};
use rva_track::{GmcMethod, Warp};
use rva_types::{BBox, Detection, ImageSize};
use rva_vision::{CameraMotion, Image, OpenOptions, SourceSpec, open};
use std::{path::Path, sync::OnceLock};

const METHODS: [GmcMethod; 3] = [GmcMethod::SparseOptFlow, GmcMethod::Orb, GmcMethod::Ecc];

/// What is cut out of the frame, so that no border of the warped picture is seen.
const CUT: ImageSize = ImageSize { width: 560, height: 400 };
const CUT_LEFT: f64 = 100.0;
const CUT_TOP: f64 = 90.0;

/// The first frame of vtest, 768 x 576.
fn footage() -> Option<&'static Image> {
    static FRAME: OnceLock<Option<Image>> = OnceLock::new();
    let read = || {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/cache/vtest.avi");
        let path = std::env::var_os("RVA_VTEST").map_or(own, Into::into);
        if !path.exists() {
            return None;
        }
        let mut source = open(&SourceSpec::parse(path.to_str().unwrap()).unwrap(), &OpenOptions::default()).unwrap();
        let image = source.next_frame().unwrap().unwrap().image;
        Some(Image::from_bgr(image.size(), image.bgr_bytes().to_vec()).unwrap())
    };
    let frame = FRAME.get_or_init(read).as_ref();
    if frame.is_none() {
        eprintln!("skipped: no vtest.avi");
    }
    frame
}

/// A movement about the middle of the cut: scale, rotation in degrees, shift in pixels.
#[derive(Debug, Clone, Copy)]
struct Move(f64, f64, f64, f64);

impl Move {
    /// In pixels of the cut, from its edge.
    fn warp(self) -> Warp {
        let Self(scale, degrees, dx, dy) = self;
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (a, b) = (scale * cos, -scale * sin);
        let (cx, cy) = (f64::from(CUT.width) / 2.0, f64::from(CUT.height) / 2.0);
        Warp([[a, b, cx - a * cx - b * cy + dx], [-b, a, cy + b * cx - a * cy + dy]])
    }
}

fn cut(frame: &Mat, left: f64, top: f64, size: ImageSize) -> Image {
    let place = opencv::core::Rect::new(left as i32, top as i32, size.width as i32, size.height as i32);
    let part = Mat::roi(frame, place).unwrap().try_clone().unwrap();
    Image::from_bgr(size, part.data_bytes().unwrap().to_vec()).unwrap()
}

fn mat(image: &Image) -> Mat {
    let size = image.size();
    let mat =
        Mat::new_rows_cols_with_bytes::<opencv::core::Vec3b>(size.height as i32, size.width as i32, image.bgr_bytes());
    mat.unwrap().try_clone().unwrap()
}

/// The same cut as a camera would see it after the movement.
fn moved(frame: &Image, movement: Move) -> Image {
    let Warp([[a, b, x], [c, d, y]]) = movement.warp();
    // From the cut's edge to the frame's pixel centres, of which OpenCV counts.
    let (left, top) = (CUT_LEFT - 0.5, CUT_TOP - 0.5);
    let values = [[a, b, x + left - a * left - b * top], [c, d, y + top - c * left - d * top]];
    let matrix = Mat::from_slice_2d(&values).unwrap();
    let (source, mut warped) = (mat(frame), Mat::default());
    let size = source.size().unwrap();
    imgproc::warp_affine(&source, &mut warped, &matrix, size, imgproc::INTER_LINEAR, 0, Default::default()).unwrap();
    cut(&warped, CUT_LEFT, CUT_TOP, CUT)
}

/// How far apart two warps put the corners of the cut, in pixels at most.
fn apart(a: Warp, b: Warp) -> f64 {
    let put = |Warp(w): Warp, x: f64, y: f64| [0, 1].map(|i| w[i][0] * x + w[i][1] * y + w[i][2]);
    let (width, height) = (f64::from(CUT.width), f64::from(CUT.height));
    let corners = [(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)];
    let distance = |(x, y)| {
        let ([ax, ay], [bx, by]) = (put(a, x, y), put(b, x, y));
        (ax - bx).hypot(ay - by)
    };
    corners.map(distance).into_iter().fold(0.0, f64::max)
}

fn found(method: GmcMethod, frames: &[&Image], detections: &[Detection]) -> Option<Warp> {
    let mut motion = CameraMotion::new(method).unwrap().unwrap();
    let mut last = None;
    for frame in frames {
        last = motion.next(frame, detections);
    }
    last
}

#[test]
fn a_known_movement_of_a_real_frame_is_found_again() {
    let Some(frame) = footage() else { return };
    let still = moved(frame, Move(1.0, 0.0, 0.0, 0.0));
    let rigid =
        [Move(1.0, 0.0, 6.0, -4.0), Move(1.0, 0.0, -0.5, 0.5), Move(1.0, 1.5, 0.0, 0.0), Move(1.0, -1.0, 5.0, 3.0)];
    let zoom = [Move(1.02, 0.0, 0.0, 0.0), Move(0.98, 1.0, -4.0, 6.0)];
    let mut worst = [0.0_f64; 3];
    for (i, method) in METHODS.into_iter().enumerate() {
        let moves = rigid.iter().chain(if method == GmcMethod::Ecc { &[] } else { &zoom[..] });
        for &movement in moves {
            let warp = found(method, &[&still, &moved(frame, movement)], &[]);
            let warp = warp.unwrap_or_else(|| panic!("{method:?} finds nothing for {movement:?}"));
            let distance = apart(warp, movement.warp());
            // Pixels of the source at the cut's corners, the worst place. ORB's corners are whole pixels of the half
            // picture.
            let most = if method == GmcMethod::Orb { 2.0 } else { 0.5 };
            assert!(distance < most, "{method:?} {movement:?}: {warp:?}, {distance} pixels off");
            worst[i] = worst[i].max(distance);
        }
    }
    println!("measured: at worst {worst:.2?} pixels off at the corners ({METHODS:?})");
}

#[test]
fn what_moves_by_itself_under_detections_is_left_out() {
    let Some(frame) = footage() else { return };
    let still = moved(frame, Move(1.0, 0.0, 0.0, 0.0));
    // The middle shifts by 8 pixels and the rest stands still.
    let (inner, place) = (ImageSize { width: 340, height: 220 }, (110.0, 90.0));
    let patch = cut(&mat(&moved(frame, Move(1.0, 0.0, 8.0, 0.0))), place.0, place.1, inner);
    let mut both = mat(&still);
    let target = opencv::core::Rect::new(110, 90, inner.width as i32, inner.height as i32);
    mat(&patch).copy_to(&mut Mat::roi_mut(&mut both, target).unwrap()).unwrap();
    let both = Image::from_bgr(CUT, both.data_bytes().unwrap().to_vec()).unwrap();
    let body = Detection { bbox: BBox::new(104.0, 84.0, 456.0, 316.0), conf: 0.9, class_id: 0 };
    for method in [GmcMethod::SparseOptFlow, GmcMethod::Orb] {
        let unmasked = found(method, &[&still, &both], &[]);
        assert!(
            unmasked.is_none_or(|warp| apart(warp, Warp::IDENTITY) > 2.5),
            "unmasked the patch should matter: {method:?} {unmasked:?}"
        );
        let masked = found(method, &[&still, &both], &[body]).unwrap_or_else(|| panic!("{method:?} finds nothing"));
        assert!(apart(masked, Warp::IDENTITY) < 0.5, "{method:?}: {masked:?}");
    }
}

#[test]
fn nothing_is_said_of_frames_without_features_first_frames_and_changed_sizes() {
    let Some(frame) = footage() else { return };
    let still = moved(frame, Move(1.0, 0.0, 0.0, 0.0));
    let grey = Image::from_bgr(CUT, vec![114; 3 * 560 * 400]).unwrap();
    let tiny = Image::from_bgr(ImageSize { width: 20, height: 20 }, vec![1; 1200]).unwrap();
    for method in METHODS {
        assert_eq!(found(method, &[&still], &[]), None, "{method:?}: a first frame");
        for frames in [[&grey, &grey], [&still, &grey], [&grey, &still], [&tiny, &tiny]] {
            assert_eq!(found(method, &frames, &[]), None, "{method:?}");
        }
        assert_eq!(found(method, &[&still, frame], &[]), None, "{method:?}: another size is a new beginning");
        assert!(found(method, &[&still, frame, frame], &[]).is_some(), "{method:?}: and goes on from there");
    }
}

#[test]
fn the_same_frames_give_the_same_warp() {
    let Some(frame) = footage() else { return };
    let frames = [&moved(frame, Move(1.0, 0.0, 0.0, 0.0)), &moved(frame, Move(1.01, 0.5, 3.0, 2.0))];
    for method in METHODS {
        assert_eq!(found(method, &frames, &[]), found(method, &frames, &[]), "{method:?}");
    }
}

#[test]
fn detections_over_everything_or_out_of_range_leave_no_answer_and_no_panic() {
    let Some(frame) = footage() else { return };
    let all = |x1, x2| Detection { bbox: BBox::new(x1, x1, x2, x2), conf: 0.9, class_id: 0 };
    for detection in [all(-1e30, 1e30), all(f32::NEG_INFINITY, f32::INFINITY)] {
        assert_eq!(found(GmcMethod::SparseOptFlow, &[frame, frame], &[detection]), None);
        assert_eq!(found(GmcMethod::Orb, &[frame, frame], &[detection]), None);
    }
    assert!(found(GmcMethod::SparseOptFlow, &[frame, frame], &[all(f32::NAN, f32::NAN)]).is_some());
}
