//! A frame of a camera, laid below its heatmap.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use imagesize::ImageType;

/// The most bytes of a picture: it becomes a part of the page.
const BYTES_MAX: usize = 8 << 20;

/// A picture that a page can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    mime: &'static str,
    bytes: Vec<u8>,
    /// Its width in pixels.
    pub width: usize,
    /// Its height in pixels.
    pub height: usize,
}

/// An error that says why bytes are no picture for a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// It is too large.
    #[error("found {found} bytes, wanted a picture of at most {BYTES_MAX}: make it smaller or a JPEG")]
    TooLarge {
        /// The number of bytes.
        found: usize,
    },
    /// It is another kind of file.
    #[error("found {found}, wanted a picture (JPEG, PNG or WebP)")]
    Kind {
        /// The format that was found.
        found: String,
    },
}

impl Picture {
    /// Looks at the bytes of a file: JPEG, PNG and WebP can be shown anywhere. That the pixels can be decoded isn't
    /// checked.
    ///
    /// # Errors
    /// Returns an error for a file of another kind, a broken head, or too many bytes.
    pub fn of(bytes: Vec<u8>) -> Result<Self, PictureError> {
        if bytes.len() > BYTES_MAX {
            return Err(PictureError::TooLarge { found: bytes.len() });
        }
        let other = |found: String| PictureError::Kind { found };
        let mime = match imagesize::image_type(&bytes) {
            Ok(ImageType::Jpeg) => "image/jpeg",
            Ok(ImageType::Png) => "image/png",
            Ok(ImageType::Webp) => "image/webp",
            Ok(found) => return Err(other(format!("a file of kind {found:?}"))),
            Err(_) => return Err(other("a file of an unknown kind".to_owned())),
        };
        let size = imagesize::blob_size(&bytes).map_err(|_| other(format!("a broken {mime}")))?;
        if size.width == 0 || size.height == 0 {
            return Err(other(format!("a {mime} of {} x {} pixels", size.width, size.height)));
        }
        Ok(Self { mime, bytes, width: size.width, height: size.height })
    }

    /// Returns the picture as an address that holds it.
    pub(crate) fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.mime, BASE64_STANDARD.encode(&self.bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_told_by_its_bytes() {
        let gif = b"GIF89a\x01\x00\x01\x00\x00\x00\x00".to_vec();
        assert!(Picture::of(gif).unwrap_err().to_string().contains("Gif"));
        let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".to_vec();
        assert!(Picture::of(svg).unwrap_err().to_string().contains("wanted a picture (JPEG, PNG or WebP)"));
        assert!(matches!(Picture::of(vec![0; BYTES_MAX + 1]), Err(PictureError::TooLarge { .. })));
        let mut png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
        assert!(Picture::of(png.clone()).unwrap_err().to_string().contains("a broken image/png"));
        png.extend([0, 0, 0, 4, 0, 0, 0, 3, 8, 2, 0, 0, 0]);
        let picture = Picture::of(png).unwrap();
        assert_eq!((picture.width, picture.height), (4, 3));
        assert!(picture.data_url().starts_with("data:image/png;base64,iVBORw0KGgo"));
    }
}
