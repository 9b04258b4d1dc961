//! Images: folders of them, broken ones, turned ones, and what phones put behind them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{image, names, picture, read_all, refused, text, whole};
use opencv::{
    core::{Mat, Scalar, Size},
    imgcodecs,
    prelude::*,
};
use rva_testkit::shared;
use rva_vision::{OpenOptions, SourceSpec, VisionErrorKind, open};
use std::fs;

#[test]
fn images_of_a_folder_come_in_natural_order() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["img1.png", "img2.JPG", "img10.jpg", "img20.bmp"];
    for (at, name) in names.iter().enumerate().rev() {
        image(&folder.path().join(name), 40 + at as i32);
    }
    fs::write(folder.path().join("notes.txt"), "no image").unwrap();
    fs::write(folder.path().join("._img1.png"), "what another system left").unwrap();
    fs::create_dir(folder.path().join("img3.png")).unwrap();
    let pattern = folder.path().join("*");
    for source in [text(folder.path()), text(&pattern)] {
        let options = OpenOptions { image_fps: 4.0, ..OpenOptions::default() };
        let mut source = open(&SourceSpec::parse(source).unwrap(), &options).unwrap();
        assert_eq!(source.description().frame_count, Some(4));
        let found: Vec<(u32, i64)> = std::iter::from_fn(|| source.next_frame().unwrap())
            .map(|frame| (frame.image.size().width, frame.media_time.as_micros()))
            .collect();
        assert_eq!(found, [(40, 0), (41, 250_000), (42, 500_000), (43, 750_000)]);
    }
}

#[test]
fn a_single_image_is_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd [1].png");
    image(&path, 50);
    assert_eq!(whole(&path), [0]);
}

#[test]
fn a_folder_without_images_names_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clip.txt"), "x").unwrap();
    let wanted = ["1 other entries and no images or videos", "wanted files that end in jpg, jpeg", "or in mp4, m4v"];
    refused(text(folder.path()), VisionErrorKind::Empty, &wanted);
    refused(text(&folder.path().join("*.txt")), VisionErrorKind::Empty, &["found 1 matches and no images or videos"]);
}

#[test]
fn a_corrupt_image_is_left_out_and_named_after_all_others() {
    let folder = tempfile::tempdir().unwrap();
    for (name, at) in [("1.jpg", 0), ("2.jpg", 1), ("4.jpg", 2)] {
        image(&folder.path().join(name), 40 + at);
    }
    for extension in ["jpg", "png"] {
        let whole = folder.path().join(format!("whole.{extension}.{extension}"));
        image(&whole, 400);
        let bytes = fs::read(&whole).unwrap();
        fs::remove_file(&whole).unwrap();
        let bad = folder.path().join(format!("3.{extension}"));
        fs::write(&bad, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let (times, error) = read_all(text(folder.path())).unwrap();
        assert_eq!(times, [0, 1_000_000, 3_000_000], "{extension}");
        let wanted = [text(&bad), "1 of 4 images", "wanted a whole picture"];
        names(&error.unwrap(), VisionErrorKind::Incomplete, &wanted);
        refused(text(&bad), VisionErrorKind::Unreadable, &[text(&bad)]);
        fs::remove_file(bad).unwrap();
    }
}

#[test]
fn a_photo_is_whole_where_its_own_data_are() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.jpg");
    image(&whole, 400);
    let bytes = fs::read(&whole).unwrap();
    let pixels = |bytes: &[u8]| rva_vision::Image::decode(bytes).map(|image| image.bgr_bytes().to_vec());
    let wanted = pixels(&bytes).unwrap();
    let film = [&bytes[..], b"....ftypmp42\xff\xda\x00\x08 and more \xff\x01"].concat();
    assert_eq!(pixels(&film).unwrap(), wanted, "a film behind it");
    assert_eq!(pixels(&bytes[..bytes.len() - 2]).unwrap(), wanted, "without its end marker");
    for kept in [bytes.len() / 2, bytes.len() * 2 / 3, bytes.len() * 9 / 10] {
        assert_eq!(pixels(&bytes[..kept]).unwrap_err().kind(), VisionErrorKind::Unreadable, "{kept} bytes");
    }
    let Some(motion) = shared("failing/video/motion.jpg") else { return };
    assert!(pixels(&fs::read(motion).unwrap()).is_ok());
}

#[test]
fn progressive_pictures_and_pairs_of_them_are_whole_where_the_first_is() {
    let mat = picture(Size::new(400, 300), 7);
    let mut bytes = opencv::core::Vector::<u8>::new();
    let options = opencv::core::Vector::from_slice(&[imgcodecs::IMWRITE_JPEG_PROGRESSIVE, 1]);
    imgcodecs::imencode(".jpg", &mat, &mut bytes, &options).unwrap();
    let bytes = bytes.to_vec();
    assert!(bytes.windows(2).any(|marker| marker == [0xff, 0xc2]), "a progressive one");
    let pixels = |bytes: &[u8]| rva_vision::Image::decode(bytes).map(|image| image.bgr_bytes().to_vec());
    let wanted = pixels(&bytes).unwrap();
    assert_eq!(pixels(&bytes[..bytes.len() - 2]).unwrap(), wanted, "without its end marker");
    for kept in [bytes.len() / 2, bytes.len() * 3 / 4, bytes.len() * 9 / 10] {
        let found = pixels(&bytes[..kept]).map(|pixels| pixels.len());
        assert_eq!(found.map_err(|error| error.kind()), Err(VisionErrorKind::Unreadable), "{kept} bytes");
    }
    // A stereo camera's file (MPO) is one picture behind another, the first of which says so in a segment.
    let index = [&[0xff, 0xe2, 0, 14][..], b"MPF\0II*\0\x08\0\0\0"].concat();
    let pair = [&bytes[..2], &index, &bytes[2..], &bytes, &index].concat();
    assert_eq!(pixels(&pair).unwrap(), wanted);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pair.jpg");
    fs::write(&path, pair).unwrap();
    assert_eq!(whole(&path), [0]);
}

/// An uncompressed TIFF of one strip.
fn tiff(grey: &[u8], (width, height): (u16, u16), orientation: u16) -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let tags: [(u16, u16, u32); 10] = [
        (256, SHORT, width.into()),
        (257, SHORT, height.into()),
        (258, SHORT, 8),
        (259, SHORT, 1),
        (262, SHORT, 1),
        (273, LONG, 8 + 2 + 10 * 12 + 4),
        (274, SHORT, orientation.into()),
        (277, SHORT, 1),
        (278, SHORT, height.into()),
        (279, LONG, grey.len() as u32),
    ];
    let mut bytes = b"II*\0\x08\0\0\0\x0a\0".to_vec();
    for (tag, kind, value) in tags {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes(), [1, 0], [0, 0]].concat());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(grey);
    bytes
}

#[test]
fn exif_turns_pictures_of_every_format_as_it_says() {
    // Grey levels of a 32 x 16 picture: left half dark, the upper right quarter bright.
    let size = Size::new(32, 16);
    let mut mat = Mat::new_rows_cols_with_default(16, 32, opencv::core::CV_8UC3, Scalar::all(40.0)).unwrap();
    let mut part = mat.roi_mut(opencv::core::Rect::new(16, 0, 16, 8)).unwrap();
    part.set_to_def(&Scalar::all(220.0)).unwrap();
    drop(part);
    // Where the bright corner is seen, for orientations 1 to 8: right and upper.
    let corners = [
        (true, true),
        (false, true),
        (false, false),
        (true, false),
        (false, false),
        (true, false),
        (true, true),
        (false, true),
    ];
    for (at, (is_right, is_upper)) in corners.into_iter().enumerate() {
        let number = at as u8 + 1;
        let tiff = [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[number, 0, 0, 0], &[0; 4]].concat();
        let grey: Vec<u8> = mat.data_bytes().unwrap().iter().step_by(3).copied().collect();
        for extension in [".jpg", ".png", ".webp", ".tiff"] {
            let mut plain = opencv::core::Vector::<u8>::new();
            imgcodecs::imencode_def(extension, &mat, &mut plain).unwrap();
            let bytes = match extension {
                ".tiff" => self::tiff(&grey, (32, 16), number.into()),
                _ => with_exif(plain.as_slice(), extension, &tiff, size),
            };
            let image = rva_vision::Image::decode(&bytes).unwrap();
            let (width, height) = (image.size().width as usize, image.size().height as usize);
            assert_eq!((width, height), if number < 5 { (32, 16) } else { (16, 32) }, "{extension} {number}");
            let x = if is_right { width * 7 / 8 } else { width / 8 };
            let y = if is_upper { height / 8 } else { height * 7 / 8 };
            let grey = |x: usize, y: usize| image.bgr_bytes()[(y * width + x) * 3];
            assert!(grey(x, y) > 150, "{extension} {number}: {}", grey(x, y));
            assert!(grey(width - 1 - x, height - 1 - y) < 100, "{extension} {number}");
        }
    }
}

/// A picture with EXIF in the place that its format has for it.
fn with_exif(plain: &[u8], extension: &str, tiff: &[u8], size: Size) -> Vec<u8> {
    match extension {
        ".jpg" => {
            let length = (tiff.len() as u16 + 8).to_be_bytes();
            [&plain[..2], &[0xff, 0xe1], &length, b"Exif\0\0", tiff, &plain[2..]].concat()
        }
        ".png" => {
            let body = [b"eXIf", tiff].concat();
            let (length, sum) = ((tiff.len() as u32).to_be_bytes(), crc32(&body).to_be_bytes());
            [&plain[..33], &length, &body, &sum, &plain[33..]].concat()
        }
        _ => {
            let side = |side: i32| (side as u32 - 1).to_le_bytes();
            let head =
                [b"VP8X", &10_u32.to_le_bytes()[..], &[8, 0, 0, 0], &side(size.width)[..3], &side(size.height)[..3]]
                    .concat();
            let exif = [b"EXIF", &(tiff.len() as u32).to_le_bytes()[..], tiff].concat();
            let body = [b"WEBP", &head[..], &plain[12..], &exif].concat();
            [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}
