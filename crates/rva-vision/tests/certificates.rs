//! Certificates of encrypted streams: checked by the file that is named, in every request, and else said to be
//! unchecked.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_vision::{Certificates, FrameSource, OpenOptions, SourceSpec, VisionError, VisionErrorKind, open};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const FRAMES: usize = 20;

/// Serves a folder by TLS, and writes each request as a line.
const SERVER: &str = "
import http.server, ssl, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        with open('requests.txt', 'a') as log:
            log.write(self.path + '\\n')
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
";

struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Server {
    fn start(folder: &Path, name: &str) -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SERVER])
            .args([folder.join(format!("{name}.pem")), folder.join(format!("{name}.key"))])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap(), folder: folder.to_owned() }
    }

    fn open(&self, host: &str, path: &str, certificates: Certificates) -> Result<Box<dyn FrameSource>, VisionError> {
        let url = format!("https://watcher:s3cret@{host}:{}/{path}", self.port);
        let timeouts = Duration::from_secs(20);
        let options =
            OpenOptions { open_timeout: timeouts, read_timeout: timeouts, certificates, ..OpenOptions::default() };
        open(&SourceSpec::parse(&url).unwrap(), &options)
    }

    fn requests(&self) -> usize {
        fs::read_to_string(self.folder.join("requests.txt")).map_or(0, |text| text.lines().count())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate that signs itself, for the address 127.0.0.1.
fn make_certificate(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &format!("{name}.key"), "-out"])
        .arg(format!("{name}.pem"))
        .current_dir(folder)
        .output();
    assert!(made.unwrap().status.success());
}

fn signed_by(folder: &Path, name: &str) -> Certificates {
    Certificates::SignedBy(folder.join(name))
}

#[test]
fn a_stream_is_played_where_its_certificate_is_known_and_asked_for_nothing_where_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make_certificate(folder, "camera");
    make_certificate(folder, "other");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10:duration=2", "-c:v", "libx264"])
        .args(["-g", "10", "-threads", "1", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "film.m3u8"])
        .current_dir(folder)
        .status();
    assert!(made.unwrap().success());
    let server = Server::start(folder, "camera");
    let count = |source: &mut dyn FrameSource| std::iter::from_fn(|| source.next_frame().unwrap()).count();
    for certificates in [signed_by(folder, "camera.pem"), Certificates::Insecure, Certificates::Unchecked] {
        let mut source = server.open("127.0.0.1", "film.m3u8", certificates).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(count(&mut *source), FRAMES);
    }
    let before = server.requests();
    assert!(before >= 9, "a playlist and two segments, thrice, beside the probes: {before}");
    // Another signer, and the right one for another name.
    for (host, file) in [("127.0.0.1", "other.pem"), ("localhost", "camera.pem")] {
        let error = server.open(host, "film.m3u8", signed_by(folder, file)).err().expect("it should not open");
        println!("{host}: {error}");
        assert!(error.to_string().contains("certificate"), "{error}");
        assert_eq!(error.kind(), VisionErrorKind::NotAStream, "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    assert_eq!(server.requests(), before, "nobody who isn't known hears a request");
    fs::write(folder.join("text.pem"), "no certificate").unwrap();
    for (file, wanted) in [("none.pem", "can't read tls_ca"), ("text.pem", "found no certificate in tls_ca")] {
        let error = server.open("127.0.0.1", "film.m3u8", signed_by(folder, file)).err().unwrap();
        assert_eq!(error.kind(), VisionErrorKind::Config);
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let options = OpenOptions { certificates: signed_by(folder, "camera.pem"), ..OpenOptions::default() };
    let error = open(&SourceSpec::parse("rtsps://127.0.0.1/1").unwrap(), &options).err().unwrap();
    assert!(error.to_string().contains("can't check"), "{error}");
}
