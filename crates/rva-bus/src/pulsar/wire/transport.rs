//! Transport to a broker: addresses, TCP, TLS.

use super::super::{
    PulsarConnection,
    errors::{of_certificate, permanent},
};
use crate::{BusError, BusErrorKind};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Both directions of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const WANTED_URL: &str = "wanted pulsar://HOST:PORT of a broker, or pulsar+ssl:// for TLS";

/// The address of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// The host and port; `None` for those that are configured.
    host: Option<(String, u16)>,
    /// The broker behind the proxy that is configured.
    pub behind_proxy: Option<String>,
}

impl Address {
    pub(crate) fn configured() -> Self {
        Self { host: None, behind_proxy: None }
    }
}

/// The settings that all connections have in common.
pub(super) struct Transport {
    /// The hosts and ports: several where the address names several, any of which will do.
    hosts: Vec<(String, u16)>,
    service_url: String,
    tls: Option<TlsConnector>,
    pub token: Option<String>,
    pub request_timeout: Duration,
}

impl Transport {
    pub(crate) fn new(connection: &PulsarConnection) -> Result<Self, BusError> {
        let url = &connection.service_url;
        let (hosts, is_tls) = parse(url)?;
        let tls = match is_tls {
            true => Some(connector(connection.ca_file.as_deref())?),
            false => None,
        };
        if let (false, Some(path)) = (is_tls, connection.ca_file.as_deref()) {
            // It is read by the admin interface; a file that can't be is told either way.
            certificates(path)?;
        }
        Ok(Self {
            hosts,
            service_url: url.clone(),
            tls,
            token: connection.token.clone(),
            request_timeout: connection.request_timeout,
        })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns the address of a broker that a lookup named.
    pub(crate) fn address(&self, url: &str, behind_proxy: bool) -> Result<Address, BusError> {
        let (mut hosts, _) = parse(url)?;
        let host = hosts.swap_remove(0);
        Ok(match behind_proxy {
            true => Address { host: None, behind_proxy: Some(format!("{}:{}", host.0, host.1)) },
            false => Address { host: Some(host), behind_proxy: None },
        })
    }

    /// Returns an address as texts show it.
    pub(crate) fn name(&self, address: &Address) -> String {
        match &address.host {
            None => self.service_url.clone(),
            Some((host, port)) => format!("{}://{host}:{port}", if self.is_tls() { "pulsar+ssl" } else { "pulsar" }),
        }
    }

    /// Connects to an address, by TLS where that is configured.
    ///
    /// # Errors
    /// Returns `Permanent` for a certificate that isn't trusted, `Transient` where no host answers.
    pub(crate) async fn connect(&self, address: &Address) -> Result<Box<dyn Stream>, BusError> {
        let hosts = match &address.host {
            None => &self.hosts[..],
            Some(host) => std::slice::from_ref(host),
        };
        let name = self.name(address);
        let mut failed = None;
        for (host, port) in hosts {
            let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect_to(host, *port));
            match connecting.await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if is_of_certificate(&error) => return Err(of_certificate(&name, &error.to_string())),
                Ok(Err(error)) => failed = Some(error.to_string()),
                Err(_) => failed = Some(format!("found no answer within {} s", CONNECT_TIMEOUT.as_secs())),
            }
        }
        let text = format!("connect to {name}: {}", failed.unwrap_or_default());
        Err(BusError::new(BusErrorKind::Transient, text))
    }

    async fn connect_to(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

/// Returns whether an error is of a certificate: a handshake that fails arrives as this kind.
fn is_of_certificate(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Returns hosts with ports, and whether it is TLS.
fn parse(url: &str) -> Result<(Vec<(String, u16)>, bool), BusError> {
    // What stands before an @ is somebody's password.
    let shown = url.rsplit('@').next().unwrap_or_default();
    let wrong = || permanent(format!("found the broker's address {shown:?}, {WANTED_URL}"));
    let (rest, is_tls) = match (url.strip_prefix("pulsar://"), url.strip_prefix("pulsar+ssl://")) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => return Err(wrong()),
    };
    let default_port = if is_tls { 6651 } else { 6650 };
    let hosts: Option<Vec<_>> =
        rest.trim_end_matches('/').split(',').map(|host| host_and_port(host, default_port)).collect();
    Ok((hosts.ok_or_else(wrong)?, is_tls))
}

fn host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    // An IPv6 address stands in brackets, and has colons of its own.
    let end_of_host = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text[end_of_host..].rfind(':') {
        Some(at) => (&text[..end_of_host + at], text[end_of_host + at + 1..].parse().ok()?),
        None => (text, default_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_plain = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    is_plain.then(|| (host.to_owned(), port))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BusError> {
    let failed = |error: &dyn std::fmt::Display| {
        permanent(format!("read the certificates of {}: {error}", path.display())) //
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?.collect();
    let found = found.map_err(|error| failed(&error))?;
    if found.is_empty() {
        return Err(failed(&"found none, wanted PEM"));
    }
    Ok(found)
}

/// Trusts well-known authorities, and those of a file beside them.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, BusError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| permanent(format!("read the certificates of {}: {error}", path.display())))?;
        }
    }
    // Named here, so that it doesn't matter what the program installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| permanent(format!("set up TLS: {error}")))?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_brokers_are_read_with_their_ports() {
        let host = |host: &str, port| (host.to_owned(), port);
        assert_eq!(parse("pulsar://a:1").unwrap(), (vec![host("a", 1)], false));
        assert_eq!(parse("pulsar+ssl://a.b/").unwrap(), (vec![host("a.b", 6651)], true));
        assert_eq!(parse("pulsar://a:1,b").unwrap(), (vec![host("a", 1), host("b", 6650)], false));
        assert_eq!(parse("pulsar://[::1]:7").unwrap(), (vec![host("::1", 7)], false));
        for text in
            ["", "http://a", "pulsar://", "pulsar://a:b", "pulsar://a:99999", "pulsar://u:p@a:1", "pulsar://a/b"]
        {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains("wanted pulsar://HOST:PORT"), "{text}: {error}");
            assert!(!error.to_string().contains("u:p"), "{error}");
            assert_eq!(error.kind(), BusErrorKind::Permanent);
        }
    }
}
