//! Streams of real servers: right and wrong credentials, killed, stalled, restarted, changing, damaged.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod rtsp_server;

use rtsp_server::{PASSWORD, PASSWORD_ENCODED, RtspServer, USER};
use rva_vision::{
    FrameSource, OpenOptions, Reopen, RtspTransport, SourceSpec, VisionError, VisionErrorKind, abandoned_captures, open,
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Every frame of a test stream comes within that, also on a busy machine.
const FRAMES: usize = 5;

fn options() -> OpenOptions {
    OpenOptions {
        open_timeout: Duration::from_secs(15),
        read_timeout: Duration::from_secs(15),
        ..OpenOptions::default()
    }
}

/// For what never answers.
fn hasty() -> OpenOptions {
    OpenOptions { open_timeout: Duration::from_secs(2), read_timeout: Duration::from_secs(2), ..options() }
}

fn opened(url: &str, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VisionError> {
    open(&SourceSpec::parse(url)?, options)
}

/// Reads a few frames and says their size.
#[track_caller]
fn frames(source: &mut dyn FrameSource) -> (u32, u32) {
    let mut last = None;
    for _ in 0..FRAMES {
        let frame = source.next_frame().unwrap().expect("a frame");
        assert!(last < Some(frame.media_time), "times increase");
        assert_eq!(frame.image.size(), source.description().size);
        last = Some(frame.media_time);
    }
    let size = source.description().size;
    (size.width, size.height)
}

/// Reads to the end and says why it ended.
fn end_of(source: &mut dyn FrameSource) -> VisionError {
    loop {
        match source.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a live source has no quiet end"),
            Err(error) => {
                assert!(source.next_frame().unwrap().is_none(), "an error is said once, then it is over");
                return error;
            }
        }
    }
}

#[track_caller]
fn refused(url: &str, options: &OpenOptions, kind: VisionErrorKind, wanted: &[&str]) {
    let error = opened(url, options).err().expect("it should not open");
    says(&error, kind, wanted);
}

#[track_caller]
fn says(error: &VisionError, kind: VisionErrorKind, wanted: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in wanted {
        assert!(error.to_string().contains(part), "{error} should name {part:?}");
    }
    hides(&error.to_string());
}

/// No form of the credentials is in it.
#[track_caller]
fn hides(text: &str) {
    for secret in [USER, PASSWORD, PASSWORD_ENCODED, "s3cret", "wr0ng", "d2F0Y2hlcj"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// A port where nothing listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Answers each connection, on a thread of its own, with what `answer` writes to it.
fn serve(answer: impl Fn(&mut TcpStream, String) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let (mut request, mut part) = (String::new(), [0; 2048]);
                while !request.contains("\r\n\r\n") {
                    match socket.read(&mut part) {
                        Ok(0) | Err(_) => return,
                        Ok(bytes) => request.push_str(&String::from_utf8_lossy(&part[..bytes])),
                    }
                }
                answer(&mut socket, request);
            });
        }
    });
    port
}

fn ffmpeg(arguments: &[&str]) {
    let ran = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).status();
    assert!(ran.unwrap().success(), "ffmpeg {arguments:?}");
}

#[test]
fn right_credentials_give_frames_and_wrong_ones_are_told_apart_from_a_wrong_path() {
    for auth in ["digest", "basic"] {
        let Some(server) = RtspServer::start(auth, &["door=test"]) else { return };
        let mut source = opened(&server.url("door"), &options()).unwrap();
        assert_eq!(frames(&mut *source), (320, 240));
        let description = source.description();
        assert_eq!((description.uri.as_str(), description.is_live), (server.shown("door").as_str(), true));
        let wrong = format!("rtsp://{USER}:wr0ng@127.0.0.1:{}/door", server.port);
        let shown = server.shown("door");
        refused(&wrong, &options(), VisionErrorKind::Unauthorized, &[&shown, "refused (401)"]);
        refused(&shown, &options(), VisionErrorKind::Unauthorized, &[&shown, "a URL without"]);
        refused(&server.url("none"), &options(), VisionErrorKind::NotFound, &["no such stream (404)", "none"]);
    }
}

#[test]
fn pictures_come_over_udp_too_and_over_tls() {
    let Some(server) = RtspServer::start("digest", &["door=test"]) else { return };
    let udp = OpenOptions { transport: RtspTransport::Udp, ..options() };
    assert_eq!(frames(&mut *opened(&server.url("door"), &udp).unwrap()), (320, 240));
    let folder = tempfile::tempdir().unwrap();
    let (key, all) = (folder.path().join("key.pem"), folder.path().join("all.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&all)
        .output();
    assert!(made.unwrap().status.success());
    let text = fs::read_to_string(&all).unwrap() + &fs::read_to_string(&key).unwrap();
    fs::write(&all, text).unwrap();
    let tls = ["--port", "0", "--auth", "basic", "--tls-certificate", all.to_str().unwrap()];
    let Some(server) = RtspServer::start_with(&tls, &["door=test"]) else { return };
    let url = server.url("door").replace("rtsp://", "rtsps://");
    assert_eq!(frames(&mut *opened(&url, &options()).unwrap()), (320, 240));
    refused(&url.replace("s3cret", "wr0ng"), &options(), VisionErrorKind::Unauthorized, &["refused (401)"]);
    refused(&server.url("door"), &hasty(), VisionErrorKind::Unreachable, &["closed without an answer"]);
}

#[test]
fn what_is_no_stream_is_told_apart_from_nothing() {
    let login = format!("{USER}:{PASSWORD_ENCODED}");
    let port = free_port();
    for scheme in ["rtsp", "http", "rtmp"] {
        let url = format!("{scheme}://{login}@127.0.0.1:{port}/1");
        refused(&url, &hasty(), VisionErrorKind::Refused, &["refuses the connection"]);
    }
    for scheme in ["rtsp", "http"] {
        let url = format!("{scheme}://{login}@no-such-camera.invalid/1");
        refused(&url, &options(), VisionErrorKind::Unreachable, &["no address for host \"no-such-camera.invalid\""]);
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["rtsp", "http", "rtsps"] {
        let url = format!("{scheme}://{login}@{}/1", silent.local_addr().unwrap());
        let started = Instant::now();
        refused(&url, &hasty(), VisionErrorKind::Stalled, &["says nothing within 2.0 s"]);
        assert!(started.elapsed() < Duration::from_secs(30));
    }
    let web = serve(|socket, request| {
        let text = if request.starts_with("DESCRIBE") {
            "HTTP/1.1 400 Bad Request\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"
        };
        let _ = socket.write_all(text.as_bytes());
    });
    refused(&format!("rtsp://{login}@127.0.0.1:{web}/1"), &options(), VisionErrorKind::NotAStream, &["isn't RTSP"]);
    refused(&format!("http://{login}@127.0.0.1:{web}/1"), &options(), VisionErrorKind::NotAStream, &["web page"]);
    let closing = serve(|_, _| {});
    refused(&format!("rtsp://127.0.0.1:{closing}/1"), &options(), VisionErrorKind::Unreachable, &["closed without"]);
    let sound = serve(|socket, _| {
        let body = "v=0\r\nm=audio 0 RTP/AVP 0\r\n";
        let _ = write!(socket, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    });
    refused(&format!("rtsp://127.0.0.1:{sound}/1"), &options(), VisionErrorKind::NotAStream, &["without pictures"]);
}

#[test]
fn a_server_that_is_killed_and_started_again_is_opened_again() {
    let Some(server) = RtspServer::start("digest", &["door=test"]) else { return };
    let (url, port) = (server.url("door"), server.port.to_string());
    let mut source = opened(&url, &options()).unwrap();
    frames(&mut *source);
    drop(server);
    let error = end_of(&mut *source);
    says(&error, VisionErrorKind::Incomplete, &["found its end after", "wanted it to go on"]);
    assert_eq!(error.kind().reopen(), Reopen::Soon);
    drop(source);
    refused(&url, &options(), VisionErrorKind::Refused, &["refuses the connection"]);
    let again = RtspServer::start_with(&["--port", &port, "--auth", "digest"], &["door=test"]).unwrap();
    assert_eq!(frames(&mut *opened(&again.url("door"), &options()).unwrap()), (320, 240));
}

#[test]
fn a_server_that_stalls_is_noticed_within_the_time_out_and_opened_again_when_it_goes_on() {
    let Some(server) = RtspServer::start("digest", &["door=test"]) else { return };
    let mut source =
        opened(&server.url("door"), &OpenOptions { read_timeout: Duration::from_secs(2), ..options() }).unwrap();
    frames(&mut *source);
    server.stall();
    let error = end_of(&mut *source);
    says(&error, VisionErrorKind::Stalled, &["found no frame within 2.0 s"]);
    drop(source);
    refused(&server.url("door"), &hasty(), VisionErrorKind::Stalled, &["says nothing within 2.0 s"]);
    server.resume();
    assert_eq!(frames(&mut *opened(&server.url("door"), &options()).unwrap()), (320, 240));
}

#[test]
fn a_stream_that_changes_its_size_or_its_rate_ends_and_goes_on_as_another_run() {
    let media = ["size=test:320x240@10:5,640x480@10", "rate=test:320x240@24:8,320x240@12"];
    let Some(server) = RtspServer::start("none", &media) else { return };
    let mut source = opened(&server.shown("size"), &options()).unwrap();
    assert_eq!(frames(&mut *source), (320, 240));
    let error = end_of(&mut *source);
    says(&error, VisionErrorKind::SourceChanged, &["found pictures of 640x480", "wanted 320x240", "another run"]);
    assert_eq!(error.kind().reopen(), Reopen::AtOnce);
    // The old one stays: the server would begin anew for a first client.
    let mut next = opened(&server.shown("size"), &options()).unwrap();
    assert_eq!(frames(&mut *next), (640, 480));
    drop((source, next));
    let mut source = opened(&server.shown("rate"), &options()).unwrap();
    let error = end_of(&mut *source);
    says(&error, VisionErrorKind::SourceChanged, &["frames a second", "another run"]);
}

#[test]
fn gstreamer_pipelines_are_sources_and_say_what_is_wrong_with_them() {
    let mut source = opened("videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=25/1 ! videoconvert ! video/x-raw,format=BGR ! appsink", &options()).unwrap();
    assert_eq!(frames(&mut *source), (160, 120));
    refused(
        "gst:videotestsrc ! nosuchthing ! appsink",
        &options(),
        VisionErrorKind::Config,
        &["no element \"nosuchthing\""],
    );
    refused("gst:videotestsrc bogus=1 ! appsink", &options(), VisionErrorKind::Config, &["bogus"]);
    let Some(server) = RtspServer::start("digest", &["door=test"]) else { return };
    let wrong = server.url("door").replace("s3cret", "wr0ng");
    let pipeline = |url: &str| format!("gst:rtspsrc location={url} latency=0 ! fakesink t. ! appsink");
    refused(
        &pipeline(&wrong).replace("fakesink t. ! ", ""),
        &options(),
        VisionErrorKind::Unauthorized,
        &["refused (401)"],
    );
}

#[test]
fn a_pipeline_that_hangs_inside_the_library_is_abandoned_and_counted() {
    let before = abandoned_captures();
    // It gives pictures until its source stalls, which GStreamer waits for without end.
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.y4m");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut feeder = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25"])
        .args(["-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe"])
        .arg(&pipe)
        .spawn()
        .unwrap();
    let url = format!(
        "gst:filesrc location={} ! y4mdec ! videoconvert ! video/x-raw,format=BGR ! appsink sync=false",
        pipe.display()
    );
    let opened = opened(&url, &OpenOptions { read_timeout: Duration::from_secs(1), ..options() });
    let ended = opened.map(|mut source| {
        frames(&mut *source);
        assert!(Command::new("kill").args(["-STOP", &feeder.id().to_string()]).status().unwrap().success());
        let started = Instant::now();
        (end_of(&mut *source), started.elapsed())
    });
    let after = abandoned_captures();
    let _ = feeder.kill();
    let _ = feeder.wait();
    let (error, waited) = ended.unwrap();
    says(&error, VisionErrorKind::Stalled, &["hangs inside the video library and is given up"]);
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    assert_eq!((after.now, after.total), (before.now + 1, before.total + 1));
    let started = Instant::now();
    while abandoned_captures().now > before.now {
        assert!(started.elapsed() < Duration::from_secs(30), "it should come back when its pipe ends");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn http_gives_motion_jpeg_and_files_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (mp4, mjpeg) = (folder.path().join("a.mp4"), folder.path().join("a.mpjpeg"));
    let pictures = "testsrc=size=160x120:rate=25:duration=2";
    ffmpeg(&["-f", "lavfi", "-i", pictures, "-c:v", "mpeg4", "-movflags", "+faststart", mp4.to_str().unwrap()]);
    ffmpeg(&["-f", "lavfi", "-i", pictures, "-f", "mpjpeg", "-boundary_tag", "frame", mjpeg.to_str().unwrap()]);
    let (mp4, mjpeg) = (fs::read(mp4).unwrap(), fs::read(mjpeg).unwrap());
    let port = serve(move |socket, request| {
        let is_known = request.contains("Authorization: Basic d2F0Y2hlcjpzM2NyZXQvcEBzcw==");
        let (head, body): (&str, &[u8]) = match request.split(' ').nth(1).unwrap() {
            _ if !is_known => ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"camera\"", b""),
            "/a.mp4" => ("200 OK\r\nContent-Type: video/mp4", &mp4),
            "/live" => ("200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame", &mjpeg),
            "/forbidden" => ("403 Forbidden", b""),
            "/broken" => ("503 Service Unavailable", b""),
            _ => ("404 Not Found", b""),
        };
        let length = if body == mjpeg { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let _ = write!(socket, "HTTP/1.1 {head}\r\nConnection: close\r\n{length}\r\n");
        let _ = socket.write_all(body);
    });
    let url = |path: &str| format!("http://{USER}:{PASSWORD_ENCODED}@127.0.0.1:{port}/{path}");
    let mut file = opened(&url("a.mp4"), &options()).unwrap();
    assert!(!file.description().is_live);
    let read = std::iter::from_fn(|| file.next_frame().unwrap()).count();
    assert_eq!(read, 50);
    let mut live = opened(&url("live"), &options()).unwrap();
    assert!(live.description().is_live);
    assert_eq!(frames(&mut *live), (160, 120));
    says(&end_of(&mut *live), VisionErrorKind::Incomplete, &["found its end"]);
    let wrong = url("live").replace("s3cret", "wr0ng");
    refused(&wrong, &options(), VisionErrorKind::Unauthorized, &["refused (401)"]);
    let open = format!("http://127.0.0.1:{port}/live");
    refused(&open, &options(), VisionErrorKind::Unauthorized, &["a URL without"]);
    refused(&url("forbidden"), &options(), VisionErrorKind::Unauthorized, &["(403)"]);
    refused(&url("none"), &options(), VisionErrorKind::NotFound, &["(404)"]);
    refused(&url("broken"), &options(), VisionErrorKind::Unreadable, &["status 503"]);
}

#[test]
fn a_file_that_is_damaged_in_the_middle_goes_on_after_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.avi", "a.ts"] {
        let path = folder.path().join(name);
        let codec = if name == "a.avi" { "mpeg4" } else { "libx264" };
        let pictures = "testsrc2=size=320x240:rate=25:duration=8";
        ffmpeg(&["-f", "lavfi", "-i", pictures, "-c:v", codec, "-g", "25", "-threads", "1", path.to_str().unwrap()]);
        let mut bytes = fs::read(&path).unwrap();
        let length = bytes.len();
        let mut noise: u32 = 1;
        for byte in &mut bytes[length * 4 / 10..length * 5 / 10] {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (noise >> 24) as u8;
        }
        fs::write(&path, bytes).unwrap();
        let mut source = opened(path.to_str().unwrap(), &options()).unwrap();
        let (mut count, mut last, mut end) = (0, 0, None);
        while end.is_none() {
            match source.next_frame() {
                Ok(Some(frame)) => (count, last) = (count + 1, frame.media_time.as_micros()),
                Ok(None) => end = Some(Ok(())),
                Err(error) => end = Some(Err(error)),
            }
        }
        assert!((120..=200).contains(&count), "{name}: {count} frames");
        // AVI has no times of its own: it counts, and what is lost makes it shorter.
        match end.unwrap() {
            Ok(()) => assert!(last >= 7_800_000, "{name}: the last at {last}"),
            Err(error) => says(&error, VisionErrorKind::Incomplete, &["a.avi", "wanted 200 frames"]),
        }
        assert!(source.counts().decode_errors > 0, "{name}");
    }
}

#[test]
fn a_file_whose_pictures_change_their_size_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, size) in [("small.ts", "160x120"), ("large.ts", "320x240")] {
        let pictures = format!("testsrc2=size={size}:rate=25:duration=2");
        ffmpeg(&["-f", "lavfi", "-i", &pictures, "-c:v", "libx264", "-threads", "1", &path(name)]);
    }
    for (first, second) in [("small.ts", "large.ts"), ("large.ts", "small.ts")] {
        let joined = [fs::read(path(first)).unwrap(), fs::read(path(second)).unwrap()].concat();
        fs::write(path("joined.ts"), joined).unwrap();
        let mut source = opened(&path("joined.ts"), &options()).unwrap();
        let size = source.description().size;
        let error = end_of(&mut *source);
        says(&error, VisionErrorKind::SourceChanged, &["found pictures of", &format!("wanted {}x", size.width)]);
    }
}

/// Child of the next test: opens what it is told, so that its stderr can be read.
#[test]
#[ignore = "child process of another test"]
fn opens_what_the_environment_names() {
    let Ok(url) = std::env::var("RVA_TEST_STREAM") else { return };
    let patient = OpenOptions { open_timeout: Duration::from_secs(6), ..options() };
    match opened(&url, &patient) {
        Ok(mut source) => eprintln!("opened {:?} {}", frames(&mut *source), source.description().uri),
        Err(error) => eprintln!("failed: {error} {error:?}"),
    }
}

#[test]
fn no_library_prints_credentials_however_it_is_told_to_talk() {
    let Some(server) = RtspServer::start("digest", &["door=test"]) else { return };
    let good = server.url("door");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = good.replace(&server.port.to_string(), &free_port().to_string());
    let cases = [
        (good.clone(), "opened"),
        (good.replace("s3cret", "wr0ng"), "failed"),
        (server.url("none"), "failed"),
        (closed, "failed"),
        (good.replace(&server.port.to_string(), &silent.local_addr().unwrap().port().to_string()), "failed"),
        (good.replace("rtsp:", "http:"), "failed"),
        (format!("gst:rtspsrc location={} ! appsink", good.replace("s3cret", "wr0ng")), "failed"),
    ];
    for (url, wanted) in cases {
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "opens_what_the_environment_names", "--nocapture"])
            .envs([("RVA_TEST_STREAM", url.as_str()), ("OPENCV_FFMPEG_DEBUG", "1"), ("OPENCV_FFMPEG_LOGLEVEL", "56")])
            .envs([("OPENCV_LOG_LEVEL", "VERBOSE"), ("OPENCV_VIDEOIO_DEBUG", "1")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(text.contains(wanted), "{text}");
        hides(&text);
    }
}
