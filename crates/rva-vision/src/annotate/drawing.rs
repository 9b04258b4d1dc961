//! Boxes, labels and trails on a picture.

use opencv::{
    core::{Mat, Point as Pixel, Rect, Scalar, Vector},
    imgproc,
};
use rva_types::{ImageSize, Point, TrackedDetection};

/// The colour of boxes without a track.
const UNTRACKED: [u8; 3] = [170, 170, 170];

/// The line width and text size for a picture. As Ultralytics has it, lines are 3 thousandths of the mean side.
pub(super) struct Pen {
    thickness: i32,
    font_scale: f64,
}

impl Pen {
    /// Makes a pen for pictures of a size.
    pub(super) fn of(size: ImageSize) -> Self {
        let mean_side = (f64::from(size.width) + f64::from(size.height)) / 2.0;
        let thickness = (mean_side * 0.003).round().max(1.0);
        Self { thickness: thickness as i32, font_scale: (thickness / 4.0).max(0.4) }
    }

    /// Draws a line through the points.
    pub(super) fn trail(&self, canvas: &mut Mat, id: u64, points: impl Iterator<Item = Point>) -> opencv::Result<()> {
        let points: Vector<Pixel> = points.map(|point| Pixel::new(pixel(point.x), pixel(point.y))).collect();
        let colour = scalar(track_colour(id));
        imgproc::polylines(canvas, &points, false, colour, self.thickness, imgproc::LINE_AA, 0)
    }

    /// Draws a box, and its label above it, or inside where there is no room above.
    pub(super) fn detection(
        &self,
        canvas: &mut Mat,
        size: ImageSize,
        tracked: &TrackedDetection,
        label: Option<&str>,
    ) -> opencv::Result<()> {
        let bbox = tracked.detection.bbox.clipped(size);
        let colour = tracked.track_id.map_or(UNTRACKED, track_colour);
        let corner = Pixel::new(pixel(bbox.x1), pixel(bbox.y1));
        let opposite = Pixel::new(pixel(bbox.x2), pixel(bbox.y2));
        imgproc::rectangle_points(canvas, corner, opposite, scalar(colour), self.thickness, imgproc::LINE_8, 0)?;
        match label {
            Some(label) => self.text(canvas, size, corner, label, colour),
            None => Ok(()),
        }
    }

    fn text(&self, canvas: &mut Mat, size: ImageSize, at: Pixel, text: &str, colour: [u8; 3]) -> opencv::Result<()> {
        let (font, weight) = (imgproc::FONT_HERSHEY_SIMPLEX, (self.thickness / 2).max(1));
        let mut below = 0;
        let extent = imgproc::get_text_size(text, font, self.font_scale, weight, &mut below)?;
        let margin = self.thickness + 1;
        let (width, height) = (extent.width + 2 * margin, extent.height + below + margin);
        let left = at.x.min(size.width as i32 - width).max(0);
        let top = if at.y >= height { at.y - height } else { at.y };
        let ground = Rect::new(left, top, width, height);
        imgproc::rectangle(canvas, ground, scalar(colour), imgproc::FILLED, imgproc::LINE_8, 0)?;
        let base = Pixel::new(left + margin, top + margin + extent.height);
        let ink = if is_bright(colour) { Scalar::all(0.0) } else { Scalar::all(255.0) };
        imgproc::put_text(canvas, text, base, font, self.font_scale, ink, weight, imgproc::LINE_AA, false)
    }
}

/// The number of letters of a class name that are drawn.
const NAME_LETTERS_MAX: usize = 24;

/// Returns `person 3 0.87`: class, track id where there is one, confidence. The font has no letters beyond ASCII: those
/// are written as they sound, and a long name is cut, so that id and confidence stay in the picture.
pub(super) fn label(tracked: &TrackedDetection, class_names: &[String]) -> String {
    let class_id = tracked.detection.class_id;
    let name =
        class_names.get(class_id as usize).map_or_else(|| class_id.to_string(), |name| deunicode::deunicode(name));
    let name: String = name.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect();
    let name = name.trim();
    let name = match name.char_indices().nth(NAME_LETTERS_MAX) {
        Some((end, _)) => format!("{}..", &name[..end]),
        None => name.to_owned(),
    };
    let track = tracked.track_id.map(|id| format!(" {id}")).unwrap_or_default();
    format!("{name}{track} {:.2}", tracked.detection.conf)
}

/// Returns the colour of a track, blue, green, red: always the same for an id, and far from those of its neighbours.
/// Hues are a golden ratio of the circle apart (a low-discrepancy sequence).
pub(super) fn track_colour(track_id: u64) -> [u8; 3] {
    const GOLDEN: f64 = 0.618_033_988_749_894_8;
    // Below 2^20 the product is exact enough, and no camera sees more tracks at a time.
    let hue = ((track_id % (1 << 20)) as f64 * GOLDEN).fract() * 6.0;
    let (low, high) = (40.0, 250.0);
    let channel = |offset: f64| {
        // HSV to RGB: each channel is a trapezoid over the hue.
        let place = (hue + offset) % 6.0;
        let height = (place.min(4.0 - place)).clamp(0.0, 1.0);
        (high - (high - low) * height).round() as u8
    };
    [channel(1.0), channel(3.0), channel(5.0)]
}

/// Returns whether the perceived brightness (ITU-R BT.601) is above the middle.
fn is_bright([blue, green, red]: [u8; 3]) -> bool {
    0.114 * f64::from(blue) + 0.587 * f64::from(green) + 0.299 * f64::from(red) > 140.0
}

fn scalar([blue, green, red]: [u8; 3]) -> Scalar {
    Scalar::new(f64::from(blue), f64::from(green), f64::from(red), 0.0)
}

/// Returns a coordinate as a pixel; far outside is as good as further outside.
fn pixel(coordinate: f32) -> i32 {
    coordinate.round().clamp(-32_000.0, 32_000.0) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::{BBox, Detection};

    #[test]
    fn labels_name_class_track_and_confidence() {
        let names = ["person", "Fußgänger", "人", "a very long name of something that nobody reads"].map(str::to_owned);
        let at = |class_id, track_id| TrackedDetection {
            detection: Detection { bbox: BBox::default(), conf: 0.874, class_id },
            track_id,
        };
        assert_eq!(label(&at(0, Some(3)), &names), "person 3 0.87");
        assert_eq!(label(&at(1, None), &names), "Fussganger 0.87");
        assert_eq!(label(&at(2, None), &names), "Ren 0.87");
        assert_eq!(label(&at(3, Some(12)), &names), "a very long name of some.. 12 0.87");
        assert_eq!(label(&at(9, Some(1)), &names), "9 1 0.87");
    }

    #[test]
    fn tracks_that_follow_each_other_have_colours_far_apart() {
        for id in 1..200 {
            let (one, other) = (track_colour(id), track_colour(id + 1));
            let distance: u32 = (0..3).map(|at| u32::from(one[at].abs_diff(other[at]))).sum();
            assert!(distance > 120, "{id}: {one:?} and {other:?}");
        }
        assert_eq!(track_colour(5), track_colour(5));
    }
}
