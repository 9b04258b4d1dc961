//! The camera's own motion from one processed frame to the next, as BoT-SORT's global motion compensation finds it.

#[cfg(feature = "camera-motion")]
use super::opencv_motion::OpenCvMotion;
#[cfg(any(test, not(feature = "camera-motion")))]
use crate::VisionErrorKind;
use crate::{Image, VisionError};
use rva_track::{GmcMethod, Warp};
use rva_types::Detection;

/// Set where this program was built with the feature `camera-motion`.
pub const CAMERA_MOTION_IS_BUILT_IN: bool = cfg!(feature = "camera-motion");

/// A follower of the background from frame to frame. One follows one camera through one run.
///
/// Aharon, Orfaig, Bobrovsky: BoT-SORT (2022), section 3.2, and Ultralytics' `trackers/utils/gmc.py`: the picture at
/// half its size in grey, pairs of points (corners followed by pyramidal Lucas-Kanade, or ORB descriptors of FAST
/// corners that are matched), and a shift, rotation and scale through most of them (RANSAC, 3 pixels of the half
/// picture); or a shift and rotation that maximises the enhanced correlation coefficient.
///
/// It differs from Ultralytics in this: points on detections are left out for optical flow too, since people move by
/// themselves; ECC compares with the frame before (theirs with the first of all) in at most 100 steps (5,000); the way
/// back to source pixels knows of pixel centres and odd sides; a warp that is hardly supported (below 10 pairs, or less
/// than a third of them agree, or a scale beyond 2/3 to 3/2) is no answer instead of the identity.
#[derive(Debug)]
pub struct CameraMotion {
    #[cfg(feature = "camera-motion")]
    opencv: OpenCvMotion,
    #[cfg(not(feature = "camera-motion"))]
    never: std::convert::Infallible,
}

impl CameraMotion {
    /// Makes a follower for a run; `None` for [`GmcMethod::None`].
    ///
    /// # Errors
    /// Returns `Config` where this program was built without the feature `camera-motion`.
    pub fn new(method: GmcMethod) -> Result<Option<Self>, VisionError> {
        if method == GmcMethod::None {
            return Ok(None);
        }
        #[cfg(feature = "camera-motion")]
        return Ok(Some(Self { opencv: OpenCvMotion::new(method)? }));
        #[cfg(not(feature = "camera-motion"))]
        Err(not_built_in(method))
    }

    /// Returns the motion of the picture since the frame given before, in source pixels; `None` for the first frame,
    /// after a change of size, and where too little of the background is seen again.
    pub fn next(&mut self, image: &Image, detections: &[Detection]) -> Option<Warp> {
        #[cfg(feature = "camera-motion")]
        return self.opencv.next(image, detections);
        #[cfg(not(feature = "camera-motion"))]
        {
            let _ = (image, detections);
            match self.never {}
        }
    }
}

/// Returns the error of a program without the feature.
#[cfg(any(test, not(feature = "camera-motion")))]
fn not_built_in(method: GmcMethod) -> VisionError {
    VisionError::new(
        VisionErrorKind::Config,
        format!(
            "found gmc_method {} and a program built without camera motion, wanted gmc_method none, or a build with \
             `--features camera-motion` (Debian packages libopencv-video-dev, libopencv-calib3d-dev and \
             libopencv-features2d-dev)",
            name(method)
        ),
    )
}

/// Returns the name as `gmc_method` of a tracker's YAML has it.
#[cfg(any(test, not(feature = "camera-motion")))]
fn name(method: GmcMethod) -> &'static str {
    match method {
        GmcMethod::None => "none",
        GmcMethod::SparseOptFlow => "sparseOptFlow",
        GmcMethod::Orb => "orb",
        GmcMethod::Ecc => "ecc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_a_method_is_refused_with_the_way_out() {
        assert!(CameraMotion::new(GmcMethod::None).unwrap().is_none());
        let error = not_built_in(GmcMethod::SparseOptFlow);
        if !CAMERA_MOTION_IS_BUILT_IN {
            assert_eq!(CameraMotion::new(GmcMethod::SparseOptFlow).unwrap_err().to_string(), error.to_string());
        }
        assert_eq!(error.kind(), VisionErrorKind::Config);
        for text in ["sparseOptFlow", "--features camera-motion", "libopencv-video-dev", "gmc_method none"] {
            assert!(error.to_string().contains(text), "{error} should name {text}");
        }
    }
}
