//! Recordings and live streams over HTTP: read as the same bytes of a file are, and no run ends without a reason.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_testkit::ffmpeg;
use rva_vision::{OpenOptions, SourceSpec, VisionErrorKind, open};
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Media times in microseconds and width of each frame, by run; how the source ended.
#[derive(Debug, PartialEq)]
struct Found {
    runs: Vec<Vec<(u64, i64, u32)>>,
    replaced: u64,
    end: Option<VisionErrorKind>,
}

fn found(source: &str) -> Found {
    let options = OpenOptions {
        open_timeout: Duration::from_secs(30),
        read_timeout: Duration::from_secs(30),
        ..OpenOptions::default()
    };
    let mut source = open(&SourceSpec::parse(source).unwrap(), &options).unwrap();
    let mut found = Found { runs: vec![vec![]], replaced: 0, end: None };
    loop {
        match source.next_frame() {
            Ok(Some(frame)) => {
                assert_eq!(frame.image.size(), source.description().size);
                let frame = (frame.index, frame.media_time.as_micros(), frame.image.size().width);
                found.runs.last_mut().unwrap().push(frame);
            }
            Ok(None) => break,
            Err(error) => {
                found.replaced += source.counts().times_replaced;
                if error.kind() == VisionErrorKind::SourceChanged && source.begin_next_run() {
                    found.runs.push(vec![]);
                    continue;
                }
                found.end = Some(error.kind());
                return found;
            }
        }
    }
    found.replaced += source.counts().times_replaced;
    found
}

/// A server of one body; a live one doesn't say how long it is.
fn serve(body: Vec<u8>, is_live: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let body = body.clone();
            thread::spawn(move || {
                let (mut request, mut part) = (String::new(), [0; 2048]);
                while !request.contains("\r\n\r\n") {
                    match socket.read(&mut part) {
                        Ok(0) | Err(_) => return,
                        Ok(bytes) => request.push_str(&String::from_utf8_lossy(&part[..bytes])),
                    }
                }
                let range = request
                    .lines()
                    .find_map(|line| line.strip_prefix("Range: bytes=")?.split('-').next()?.parse().ok());
                let start = range.unwrap_or(0_usize).min(body.len());
                let head = match (is_live, start) {
                    (true, _) => "200 OK\r\n".to_owned(),
                    (false, 0) => format!("200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n", body.len()),
                    (false, _) => format!(
                        "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\n",
                        body.len() - 1,
                        body.len(),
                        body.len() - start
                    ),
                };
                // The client may have seen enough.
                let _ = write!(socket, "HTTP/1.1 {head}Content-Type: video/mp2t\r\nConnection: close\r\n\r\n");
                let _ = socket.write_all(&body[if is_live { 0 } else { start }..]);
            });
        }
    });
    port
}

/// Two clips of two seconds behind each other, ten pictures a second, each made with its own arguments.
fn joined(folder: &Path, parts: [&[&str]; 2]) -> Option<PathBuf> {
    let (mut bytes, part) = (Vec::new(), folder.join("part.ts"));
    for (at, arguments) in parts.into_iter().enumerate() {
        let start = (2 * at).to_string();
        let picture = ["-f", "lavfi", "-i", arguments[0], "-c:v", "libx264", "-output_ts_offset", &start];
        if !ffmpeg(&[&picture, &arguments[1..], &[part.to_str().unwrap()]].concat()) {
            return None;
        }
        bytes.extend(fs::read(&part).unwrap());
    }
    fs::write(folder.join("joined.ts"), bytes).unwrap();
    Some(folder.join("joined.ts"))
}

const SMALL: &str = "testsrc=size=160x96:rate=10:duration=2";
const LARGE: &str = "testsrc=size=320x192:rate=10:duration=2";

#[test]
fn a_live_camera_that_varies_its_headers_keeps_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let aspect = format!("{SMALL},setsar=4/3");
    for second in [
        &[SMALL, "-pix_fmt", "yuvj420p"][..],
        &[SMALL, "-pix_fmt", "yuv422p"],
        &[&aspect, "-pix_fmt", "yuv420p"],
        &[SMALL, "-pix_fmt", "yuv420p", "-profile:v", "baseline", "-level", "4.1", "-refs", "5"],
        &[SMALL, "-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"],
    ] {
        let Some(path) = joined(folder.path(), [&[SMALL, "-pix_fmt", "yuv420p"], second]) else { return };
        let port = serve(fs::read(path).unwrap(), true);
        let found = found(&format!("http://127.0.0.1:{port}/live"));
        assert_eq!(found.runs.len(), 1, "{second:?}");
        let indexes: Vec<u64> = found.runs[0].iter().map(|(index, ..)| *index).collect();
        assert_eq!(indexes, (1..=40).collect::<Vec<_>>(), "{second:?}");
        assert_eq!(found.end, Some(VisionErrorKind::Incomplete), "{second:?}: a live stream has no right end");
    }
}

#[test]
fn a_live_camera_of_another_size_ends_its_run_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = joined(folder.path(), [&[SMALL], &[LARGE]]) else { return };
    let port = serve(fs::read(path).unwrap(), true);
    let found = found(&format!("http://127.0.0.1:{port}/live"));
    assert_eq!((found.runs.len(), found.runs[0].len(), found.end), (1, 20, Some(VisionErrorKind::SourceChanged)));
}

#[test]
fn a_remote_recording_has_the_runs_and_times_of_the_same_file_here() {
    let folder = tempfile::tempdir().unwrap();
    let mkv = folder.path().join("wild.mkv");
    let wild = "setts=ts='if(eq(N,15),PTS+7000,PTS)'";
    let plain = folder.path().join("plain.mkv");
    let made = ffmpeg(&["-f", "lavfi", "-i", SMALL, "-c:v", "libx264", "-bf", "0", plain.to_str().unwrap()])
        && ffmpeg(&["-i", plain.to_str().unwrap(), "-c", "copy", "-bsf:v", wild, mkv.to_str().unwrap()]);
    let Some(joined) = joined(folder.path(), [&[SMALL], &[LARGE]]).filter(|_| made) else { return };
    for (path, runs) in [(plain, 1), (mkv, 1), (joined, 2)] {
        let port = serve(fs::read(&path).unwrap(), false);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (here, there) = (found(path.to_str().unwrap()), found(&format!("http://127.0.0.1:{port}/{name}")));
        assert_eq!((here.runs.len(), here.end), (runs, None), "{name}");
        assert_eq!(there, here, "{name}");
    }
}
