//! A connection with one deadline for everything: name, connection, encryption, words.

use super::Patience;
use crate::{VisionError, VisionErrorKind, source::StreamUrl};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

/// The bytes of an answer; a description is a few hundred.
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub(super) struct Connection {
    stream: Stream,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The reason why there is no answer.
pub(super) enum NoAnswer {
    /// The other side closed the connection after so many bytes of an answer.
    Closed { bytes: usize },
    /// Any other failure.
    Failed(VisionError),
}

impl NoAnswer {
    pub(super) fn into_error(self, patience: &Patience<'_>) -> VisionError {
        match self {
            Self::Failed(error) => error,
            Self::Closed { bytes: 0 } => patience.error(
                VisionErrorKind::Unreachable,
                "that the connection is closed without an answer",
                "a server that answers",
            ),
            Self::Closed { bytes } => patience.no_stream(&format!("{bytes} bytes of an answer that isn't whole")),
        }
    }
}

impl Connection {
    /// Connects to the host of a URL, at its port or the protocol's own.
    pub(super) fn open(
        url: &StreamUrl,
        port_default: u16,
        is_tls: bool,
        patience: &Patience<'_>,
    ) -> Result<Self, VisionError> {
        let socket = connect(&resolve(url, port_default, patience)?, patience)?;
        let _ = socket.set_nodelay(true);
        if !is_tls {
            return Ok(Self { stream: Stream::Plain(socket) });
        }
        let no_tls = |error: rustls::Error| patience.no_stream(&format!("no TLS ({error})"));
        // An IPv6 address stands in brackets in a URL, and without in a certificate.
        let host = url.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host)
            .map_err(|error| patience.error(VisionErrorKind::Config, &error.to_string(), "the name of a host"))?;
        let client = ClientConnection::new(Arc::new(config().map_err(no_tls)?), name).map_err(no_tls)?;
        Ok(Self { stream: Stream::Tls(Box::new(StreamOwned::new(client, socket))) })
    }

    /// Says something and reads until `is_whole` finds an answer in what came; it is told whether that is all.
    pub(super) fn ask<T>(
        &mut self,
        question: &[u8],
        patience: &Patience<'_>,
        mut is_whole: impl FnMut(&[u8], bool) -> Result<Option<T>, VisionError>,
    ) -> Result<T, NoAnswer> {
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        self.within(patience, |stream| stream.write_all(question))?;
        loop {
            match self.within(patience, |stream| stream.read(&mut part))? {
                0 => {
                    let found = is_whole(&answer, true).map_err(NoAnswer::Failed)?;
                    return found.ok_or(NoAnswer::Closed { bytes: answer.len() });
                }
                bytes => answer.extend_from_slice(&part[..bytes]),
            }
            if let Some(found) = is_whole(&answer, false).map_err(NoAnswer::Failed)? {
                return Ok(found);
            }
            if answer.len() > ANSWER_BYTES_MAX {
                let found = format!("an answer of more than {ANSWER_BYTES_MAX} bytes");
                return Err(NoAnswer::Failed(patience.no_stream(&found)));
            }
        }
    }

    /// Runs one call on the stream within the rest of the time.
    fn within<T>(
        &mut self,
        patience: &Patience<'_>,
        mut call: impl FnMut(&mut dyn ReadWrite) -> io::Result<T>,
    ) -> Result<T, NoAnswer> {
        loop {
            let Some(left) = patience.left() else { return Err(NoAnswer::Failed(patience.stalled())) };
            let socket = match &self.stream {
                Stream::Plain(socket) => socket,
                Stream::Tls(stream) => &stream.sock,
            };
            let limited = socket.set_read_timeout(Some(left)).and_then(|()| socket.set_write_timeout(Some(left)));
            let result = limited.and_then(|()| match &mut self.stream {
                Stream::Plain(socket) => call(socket),
                Stream::Tls(stream) => call(&mut **stream),
            });
            match result {
                Ok(value) => return Ok(value),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(NoAnswer::Failed(patience.stalled())),
                    ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof => return Err(NoAnswer::Closed { bytes: 0 }),
                    ErrorKind::InvalidData => {
                        return Err(NoAnswer::Failed(patience.no_stream(&format!("no TLS ({error})"))));
                    }
                    _ => return Err(NoAnswer::Failed(unreachable(&error, patience))),
                },
            }
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// Returns the addresses of the host. The system's resolver knows no time-out, so it gets a thread.
fn resolve(url: &StreamUrl, port_default: u16, patience: &Patience<'_>) -> Result<Vec<SocketAddr>, VisionError> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let bare = url.bare();
    std::thread::Builder::new()
        .name("rva-resolve".into())
        .spawn(move || sender.send(bare.socket_addrs(|| (port_default != 0).then_some(port_default))))
        .map_err(|error| VisionError::new(VisionErrorKind::Fault, format!("start a thread: {error}")))?;
    let unknown = |found: String| patience.error(VisionErrorKind::Unreachable, &found, "a host that has an address");
    match receiver.recv_timeout(patience.left().unwrap_or_default()) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(unknown(format!("no address for host {:?}", url.host()))),
        Ok(Err(error)) => Err(unknown(format!("no address for host {:?} ({error})", url.host()))),
        Err(_) => Err(unknown(format!(
            "no answer about the name {:?} within {:.1} s",
            url.host(),
            patience.timeout.as_secs_f64()
        ))),
    }
}

/// Connects to the first address that takes the connection. Each gets an equal part of the time that is left.
fn connect(addresses: &[SocketAddr], patience: &Patience<'_>) -> Result<TcpStream, VisionError> {
    let mut failed = None;
    for (at, address) in addresses.iter().enumerate() {
        let Some(left) = patience.left() else { break };
        match TcpStream::connect_timeout(address, left / (addresses.len() - at) as u32) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = Some(error),
        }
    }
    Err(unreachable(&failed.unwrap_or_else(|| ErrorKind::TimedOut.into()), patience))
}

fn unreachable(error: &io::Error, patience: &Patience<'_>) -> VisionError {
    let (kind, found) = match error.kind() {
        ErrorKind::ConnectionRefused => {
            (VisionErrorKind::Refused, "that the host refuses the connection: nothing listens at this port".to_owned())
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            (VisionErrorKind::Unreachable, format!("no connection within {:.1} s", patience.timeout.as_secs_f64()))
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            (VisionErrorKind::Unreachable, "no route to the host".to_owned())
        }
        _ => (VisionErrorKind::Unreachable, format!("no connection ({error})")),
    };
    patience.error(kind, &found, "a host that can be reached")
}

fn config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth())
}

/// A verifier that takes every certificate, as FFmpeg does where it isn't told to look: those of cameras are signed by
/// themselves.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
