//! Guesses at the kind of a file that holds no frame records.

/// The starts of files that are no text: offset, bytes, and the kind of file.
const MARKS: &[(usize, &[u8], &str)] = &[
    (4, b"ftyp", "a video (MP4 or MOV)"),
    (4, b"moov", "a video (MOV)"),
    (4, b"mdat", "a video (MOV)"),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)"),
    (8, b"AVI ", "a video (AVI)"),
    (8, b"WAVE", "sound (WAV)"),
    (8, b"WEBP", "a picture (WebP)"),
    (0, b"FLV\x01", "a video (FLV)"),
    (0, b"\x00\x00\x01\xba", "a video (MPEG)"),
    (0, b"\x00\x00\x01\xb3", "a video (MPEG)"),
    (0, b"\x00\x00\x00\x01\x67", "a video (H.264)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video (WMV)"),
    (0, b"OggS", "sound or a video (Ogg)"),
    (0, b"ID3", "sound (MP3)"),
    (0, b"\xff\xd8\xff", "a picture (JPEG)"),
    (0, b"\x89PNG", "a picture (PNG)"),
    (0, b"GIF8", "a picture (GIF)"),
    (0, b"II*\x00", "a picture (TIFF)"),
    (0, b"MM\x00*", "a picture (TIFF)"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"ORC", "an ORC file"),
    (0, b"Obj\x01", "an Avro file"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"PK\x03\x04", "a zip archive (or an office document, or a model)"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x04\x22\x4d\x18", "an LZ4 archive"),
    (0, b"\xff\x06\x00\x00sNaPpY", "a Snappy archive"),
    (0, b"\x1f\x9d", "a compress archive (.Z)"),
    (0, b"\x1f\x8b", "a gzip archive, packed more than twice or in an unknown way"),
    (257, b"ustar", "a tar archive"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90", "a program"),
    (0, b"\xff\xfe\0\0", "a text in UTF-32"),
    (0, b"\0\0\xfe\xff", "a text in UTF-32"),
];

/// Returns the kind of a file that can't hold records, by its first bytes.
pub(super) fn binary(head: &[u8]) -> Option<&'static str> {
    let holds = |(at, mark, _): &&(usize, &[u8], &str)| head.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    if let Some((.., what)) = MARKS.iter().find(holds) {
        return Some(what);
    }
    // Packets of 188 bytes, each of which begins alike.
    if head.len() > 376 && [0, 188, 376].iter().all(|at| head[*at] == b'G') {
        return Some("a video (MPEG transport stream)");
    }
    let zeros = head.iter().filter(|byte| **byte == 0).count();
    (zeros > 0 && zeros * 20 > head.len()).then_some("binary data")
}

/// A guess at the kind of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guess {
    /// The kind in words.
    pub what: &'static str,
    /// Set where it can't hold a record.
    pub is_sure: bool,
}

/// Guesses the kind of a text that may hold no records, by its start.
pub(super) fn text(head: &[u8]) -> Option<Guess> {
    let head = String::from_utf8_lossy(head);
    let head = head.trim_start_matches('\u{feff}');
    let lines: Vec<&str> = head.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).take(5).collect();
    let has_json = lines.iter().any(|line| line.starts_with(['{', '[']));
    let sure = |what| Guess { what, is_sure: !has_json };
    let first = lines.first()?.to_ascii_lowercase();
    if let Some((_, what)) = STARTS.iter().find(|(start, _)| first.starts_with(start)) {
        return Some(sure(what));
    }
    if has_json {
        return None;
    }
    table(&lines).map(sure).or_else(|| {
        let is_yaml = |line: &&str| line.contains(": ") || line.ends_with(':') || line.starts_with("- ");
        lines.iter().all(is_yaml).then_some(Guess { what: "YAML", is_sure: false })
    })
}

/// The beginnings of texts that are no records, in small letters, and their kinds.
const STARTS: &[(&str, &str)] = &[
    ("<!doctype html", "an HTML page (a login or an error instead of a download?)"),
    ("<html", "an HTML page (a login or an error instead of a download?)"),
    ("<", "an XML document"),
    ("{\"crc\":", "a segment of the embedded log, which `rva ingest` reads where it lies"),
    ("{\"images\"", "COCO annotations"),
    ("{\"info\"", "COCO annotations"),
    ("{\"annotations\"", "COCO annotations"),
    ("webvtt", "subtitles"),
    ("#extm3u", "a playlist"),
    ("version https://git-lfs", "a pointer of Git LFS (the file itself was not fetched)"),
    ("{", "JSON of another kind"),
    ("[", "JSON of another kind"),
];

/// Returns the kind of table that the lines are of.
fn table(lines: &[&str]) -> Option<&'static str> {
    let columns = |separator: char| {
        let count = lines[0].split(separator).count();
        let is_even = lines.iter().all(|line| line.split(separator).count() == count);
        (lines.len() > 1 && is_even && count > 1).then_some(count)
    };
    let are_numbers = |separator: char| {
        lines.iter().all(|line| line.split(separator).all(|field| field.trim().parse::<f64>().is_ok()))
    };
    if columns(',').is_some_and(|count| (6..=10).contains(&count)) && are_numbers(',') {
        return Some("MOTChallenge text (`rva eval tracks` reads it)");
    }
    if columns(' ').is_some_and(|count| (5..=6).contains(&count)) && are_numbers(' ') {
        return Some("YOLO labels");
    }
    let kinds = [(',', "CSV"), ('\t', "CSV with tabs"), (';', "CSV with semicolons")];
    kinds.into_iter().find(|(separator, _)| columns(*separator).is_some()).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_text_are_told_by_their_first_bytes() {
        let mp4 = b"\0\0\0\x20ftypisom\0\0\x02\0";
        assert!(binary(mp4).unwrap().contains("MP4"));
        assert!(binary(b"PAR1\x15\x04").unwrap().contains("Parquet"));
        assert!(binary(b"PK\x03\x04\x14").unwrap().contains("zip"));
        assert!(binary(b"RIFF\x10\0\0\0AVI LIST").unwrap().contains("AVI"));
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(binary(&tar).unwrap().contains("tar"));
        let mut packets = vec![0xff; 600];
        for at in [0, 188, 376] {
            packets[at] = b'G';
        }
        assert!(binary(&packets).unwrap().contains("transport stream"));
        assert_eq!(binary(&[0, 1, 2, 3, 4, 5]), Some("binary data"));
        assert_eq!(binary(b"{\"schema_version\":\"1.0\"}\n"), None);
        assert_eq!(binary(b"\xff\xfe is no UTF-8"), None);
    }

    #[test]
    fn texts_that_are_no_records_are_told_by_their_lines() {
        let is = |head: &str, wanted: &str| {
            let found = text(head.as_bytes()).unwrap_or_else(|| panic!("{head:?} tells nothing"));
            assert!(found.what.contains(wanted), "{head:?}: found {found:?}, wanted {wanted}");
            assert_eq!(found.is_sure, !head.starts_with('{') && wanted != "YAML", "{head:?}");
        };
        is("<!DOCTYPE html>\n<html>", "HTML");
        is("<?xml version=\"1.0\"?>", "XML");
        is("1,1,10.5,20,30,40,0.9,-1,-1,-1\n1,2,10,20,30,40,1,-1,-1,-1\n", "MOTChallenge");
        is("frame,track,x,y\n1,2,3,4\n", "CSV");
        is("frame;track\n1;2\n", "semicolons");
        is("frame\ttrack\n1\t2\n", "tabs");
        is("0 0.5 0.5 0.1 0.2\n0 0.1 0.2 0.3 0.4\n", "YOLO");
        is("{\"crc\":\"8f3a01c2\",\"n\":17}", "embedded log");
        is("{\"images\":[]}", "COCO");
        is("{\"hello\":1}", "JSON");
        is("store_id: store_01\ncameras:\n", "YAML");
        assert_eq!(text(b"not json"), None);
        assert_eq!(text(b"a, b\n{\"schema_version\":\"1.0\"}\n"), None, "a record follows");
        assert_eq!(text(b""), None);
    }
}
