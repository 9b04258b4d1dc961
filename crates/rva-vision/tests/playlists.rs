//! Streams of playlists: live ones come by the segment and are played at their own speed, and none makes this machine
//! ask another server than its own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_vision::{FrameSource, OpenOptions, SourceSpec, VisionError, VisionErrorKind, open};
use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Frames a second of the test's films.
const RATE: usize = 10;
/// Seconds of a segment.
const SEGMENT: usize = 2;
const SEGMENTS: usize = 7;

fn open_url(url: &str) -> Result<Box<dyn FrameSource>, VisionError> {
    let timeouts = Duration::from_secs(20);
    let options = OpenOptions { open_timeout: timeouts, read_timeout: timeouts, ..OpenOptions::default() };
    open(&SourceSpec::parse(url).unwrap(), &options)
}

/// Segments of a film, `s0.ts`, `s1.ts`, ….
fn segments() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let pictures = format!("testsrc2=size=160x120:rate={RATE}:duration={}", SEGMENT * SEGMENTS);
    let group = (SEGMENT * RATE).to_string();
    let ran = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &pictures, "-c:v", "libx264", "-g", &group, "-keyint_min", &group])
        .args(["-sc_threshold", "0", "-threads", "1", "-f", "hls", "-hls_list_size", "0", "-hls_time"])
        .args([&SEGMENT.to_string(), "-hls_segment_filename", "s%d.ts", "all.m3u8"])
        .current_dir(folder.path())
        .status();
    assert!(ran.unwrap().success());
    (0..SEGMENTS).map(|index| fs::read(folder.path().join(format!("s{index}.ts"))).unwrap()).collect()
}

/// Answers each request on a thread of its own: the path to a whole answer.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
}

fn serve_on(listener: TcpListener, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let Some(path) = request(&mut socket) else { return };
                let _ = socket.write_all(&answer(&path));
            });
        }
    });
    port
}

fn request(socket: &mut TcpStream) -> Option<String> {
    let (mut text, mut part) = (String::new(), [0; 2048]);
    while !text.contains("\r\n\r\n") {
        let bytes = socket.read(&mut part).ok().filter(|bytes| *bytes > 0)?;
        text.push_str(&String::from_utf8_lossy(&part[..bytes]));
    }
    text.split(' ').nth(1).map(str::to_owned)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A server that counts who comes, and says nothing.
fn trap() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(AtomicUsize::new(0));
    let count = came.clone();
    thread::spawn(move || {
        for _ in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, came)
}

#[test]
fn a_live_playlist_is_played_at_its_own_speed_and_none_of_it_is_left_out() {
    let segments = segments();
    let began = Instant::now();
    // The window of a live stream: three segments, one more after each one's length.
    let port = serve(move |path| {
        let newest = (began.elapsed().as_secs() as usize / SEGMENT + 2).min(SEGMENTS - 1);
        if let Some(index) = path.strip_prefix("/s").and_then(|rest| rest.strip_suffix(".ts")?.parse::<usize>().ok()) {
            return answer("200 OK\r\nContent-Type: video/mp2t", &segments[index]);
        }
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{SEGMENT}\n#EXT-X-MEDIA-SEQUENCE:{}\n",
            newest - 2
        );
        for index in newest - 2..=newest {
            text.push_str(&format!("#EXTINF:{SEGMENT}.0,\ns{index}.ts\n"));
        }
        if newest == SEGMENTS - 1 && began.elapsed().as_secs() as usize > SEGMENT * SEGMENTS + 4 {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        answer("200 OK\r\nContent-Type: application/vnd.apple.mpegurl", text.as_bytes())
    });
    let mut source = open_url(&format!("http://127.0.0.1:{port}/live.m3u8")).unwrap();
    assert!(source.description().is_live);
    let wanted = (SEGMENTS - 1) * SEGMENT * RATE;
    let (mut times, mut came) = (Vec::new(), Vec::new());
    while times.len() < wanted {
        let frame = source.next_frame().unwrap().unwrap();
        times.push(frame.media_time.as_micros());
        came.push(Instant::now());
    }
    let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let step = 1_000_000 / RATE as i64;
    // Three segments were there at once: they are played for as long as they are, one picture behind the other.
    let first = &steps[..2 * SEGMENT * RATE];
    // A busy machine makes some late.
    let in_line = first.iter().filter(|found| (**found - step).abs() < step / 2).count();
    assert!(in_line * 4 >= first.len() * 3, "{first:?}");
    let holes = steps.iter().filter(|found| **found >= (SEGMENT * RATE) as i64 * step).count();
    assert_eq!(holes, 0, "{steps:?}");
    let lasted = came[wanted - 1] - came[0];
    let film = Duration::from_micros(step as u64 * (wanted as u64 - 1));
    assert!(lasted >= film.mul_f64(0.95), "{lasted:?} for {film:?}: a burst was played as it came");
    assert!(lasted < film + Duration::from_secs(SEGMENT as u64 + 10), "{lasted:?} for {film:?}");
}

/// Opens what must not lead anywhere else; says the error of its opening or of its reading.
fn strays(url: &str) -> VisionError {
    match open_url(url) {
        Err(error) => error,
        Ok(mut source) => loop {
            match source.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{url}: no complaint"),
                Err(error) => return error,
            }
        },
    }
}

#[test]
fn nothing_that_a_server_sends_makes_requests_to_another_one() {
    let (elsewhere, came) = trap();
    let there = |path: &str| format!("http://127.0.0.1:{elsewhere}/{path}");
    let list = |inner: &str| format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n{inner}");
    let media = |url: &str| list(&format!("#EXTINF:2.0,\n{url}\n#EXT-X-ENDLIST\n")).into_bytes();
    let redirect =
        |url: &str| format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let plain = |body: Vec<u8>| answer("200 OK\r\nContent-Type: application/vnd.apple.mpegurl", &body);
    let segment = segments().swap_remove(0);
    let key = format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{}\"\n#EXTINF:2.0,\n/good.ts\n#EXT-X-ENDLIST\n", there("key"));
    let map = format!("#EXT-X-MAP:URI=\"{}\"\n#EXTINF:2.0,\n/good.ts\n#EXT-X-ENDLIST\n", there("init.mp4"));
    let master = format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n{}\n", there("inner.m3u8"));
    let dash = format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" mediaPresentationDuration=\"PT4S\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011\"><Period><AdaptationSet mimeType=\"video/mp4\"><SegmentTemplate \
         timescale=\"1\" duration=\"2\" initialization=\"{0}\" media=\"{0}$Number$\"/><Representation id=\"1\" bandwidth=\"1000\" \
         codecs=\"avc1.42c00a\"/></AdaptationSet></Period></MPD>",
        there("a.mp4")
    );
    let sdp = format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video {elsewhere} RTP/AVP 33\r\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.ts");
    fs::write(&secret, &segment).unwrap();
    let answers: HashMap<&str, Vec<u8>> = [
        ("/segment.m3u8", plain(media(&there("a.ts")))),
        ("/host.m3u8", plain(media(&format!("http://localhost:{elsewhere}/a.ts")))),
        ("/login.m3u8", plain(media(&format!("http://127.0.0.1\\@localhost:{elsewhere}/a.ts")))),
        ("/relative.m3u8", plain(media(&format!("//127.0.0.1:{elsewhere}/a.ts")))),
        ("/scheme.m3u8", plain(media(&format!("tcp://127.0.0.1:{elsewhere}/a.ts")))),
        ("/file.m3u8", plain(media(&format!("file://{}", secret.display())))),
        (
            "/later.m3u8",
            plain(
                list(&format!("#EXTINF:2.0,\n/good.ts\n#EXTINF:2.0,\n{}\n#EXTINF:2.0,\n/good.ts\n", there("a.ts")))
                    .into_bytes(),
            ),
        ),
        ("/path.m3u8", plain(media(&format!("file:{}", secret.display())))),
        ("/key.m3u8", plain(list(&key).into_bytes())),
        ("/map.m3u8", plain(list(&map).into_bytes())),
        ("/master.m3u8", plain(master.into_bytes())),
        ("/inner.m3u8", plain(media("/away.ts"))),
        ("/dash.mpd", answer("200 OK\r\nContent-Type: application/dash+xml", dash.as_bytes())),
        ("/text.sdp", answer("200 OK\r\nContent-Type: application/sdp", sdp.as_bytes())),
        ("/concat", answer("200 OK", format!("ffconcat version 1.0\nfile {}\n", there("a.ts")).as_bytes())),
        ("/away.ts", redirect(&there("a.ts"))),
        ("/away", redirect(&there("a.m3u8"))),
        ("/padded", redirect(&format!("{}{}", " ".repeat(600), there("a.m3u8")))),
        ("/good.ts", answer("200 OK\r\nContent-Type: video/mp2t", &segment)),
        ("/good.m3u8", plain(media("/turned.ts"))),
        ("/turned.ts", redirect("/good.ts")),
    ]
    .into();
    let paths: Vec<String> = answers
        .keys()
        .filter(|path| !path.ends_with(".ts") && **path != "/good.m3u8")
        .map(|path| (*path).to_owned())
        .collect();
    let missing = answer("404 Not Found", b"");
    let port = serve(move |path| answers.get(path).unwrap_or(&missing).clone());
    for path in paths {
        let error = strays(&format!("http://127.0.0.1:{port}{path}"));
        println!("{path}: {error}");
        let is_format = ["/dash.mpd", "/text.sdp", "/concat"].contains(&path.as_str());
        // FFmpeg's own reader of HLS takes HTTP and files alone.
        let (wanted, kind) = match path.as_str() {
            "/scheme.m3u8" => ("that FFmpeg can't open it", VisionErrorKind::Unreadable),
            _ if is_format => ("wanted HLS, motion JPEG or a film", VisionErrorKind::NotAStream),
            _ => ("its own host, port and scheme", VisionErrorKind::NotAStream),
        };
        assert!(error.to_string().contains(wanted), "{path}: {error}");
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert_eq!(came.load(Ordering::SeqCst), 0, "{path} made a request elsewhere");
    }
    let mut good = open_url(&format!("http://127.0.0.1:{port}/good.m3u8")).unwrap();
    assert_eq!(std::iter::from_fn(|| good.next_frame().unwrap()).count(), SEGMENT * RATE, "a turn within the server");
}

#[test]
fn a_redirection_of_rtsp_is_followed_within_its_server_alone() {
    let (elsewhere, came) = trap();
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let count = count.clone();
            thread::spawn(move || {
                for number in 1.. {
                    let Some(_) = request(&mut socket) else { return };
                    *count.lock().unwrap() += 1;
                    let head = if number == 1 {
                        "200 OK\r\nPublic: OPTIONS, DESCRIBE".to_owned()
                    } else {
                        format!("302 Found\r\nLocation: rtsp://127.0.0.1:{elsewhere}/1")
                    };
                    let _ = write!(socket, "RTSP/1.0 {head}\r\nCSeq: {number}\r\n\r\n");
                }
            });
        }
    });
    let error = strays(&format!("rtsp://127.0.0.1:{port}/1"));
    println!("{error}");
    assert!(error.to_string().contains("its own host, port and scheme"), "{error}");
    assert!(*asked.lock().unwrap() >= 4, "the probe and FFmpeg ask both");
    assert_eq!(came.load(Ordering::SeqCst), 0);
}
