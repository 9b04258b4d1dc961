//! The answers of services: `/ready` and `/metrics`, at an address or at the socket of a data folder.

use super::samples::Samples;
use anyhow::Context;
use rva_service::Role;
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path, time::Duration};

/// The longest wait for an answer: a service that is asked doesn't work for it.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are read: 1,000 cameras have about 3 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A service that can be asked.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its address as a person wrote it, or `run`, `ingest` or `refine` of the data folder.
    pub name: String,
    url: String,
    client: reqwest::Client,
}

/// The body of `/ready`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Ready {
    pub ready: bool,
    pub reasons: BTreeMap<String, String>,
    pub degraded: BTreeMap<String, String>,
}

impl Service {
    /// Makes one of an address like `http://host:8080` or `host:8080`.
    ///
    /// # Errors
    /// Returns an error for what is no address.
    pub fn at(address: &str) -> anyhow::Result<Self> {
        let with_scheme = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let url = reqwest::Url::parse(&with_scheme)
            .ok()
            .filter(|url| url.has_host() && ["http", "https"].contains(&url.scheme()))
            .with_context(|| format!("found --url {address:?}, wanted an address like http://localhost:8080"))?;
        let url = url.as_str().trim_end_matches('/').trim_end_matches("/metrics").to_owned();
        Ok(Self { name: address.to_owned(), url, client: client()?.build()? })
    }

    /// Returns those that work in a data folder now.
    pub async fn in_folder(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut found = Vec::new();
        for role in Role::ALL {
            let Ok(socket) = role.socket(folder) else { continue };
            if tokio::net::UnixStream::connect(&socket).await.is_err() {
                continue;
            }
            let client = client()?.unix_socket(socket).build()?;
            found.push(Self { name: role.name().to_owned(), url: "http://localhost".to_owned(), client });
        }
        Ok(found)
    }

    /// Asks how it is, and for its metrics.
    ///
    /// # Errors
    /// Returns why it doesn't answer, or what it answers instead.
    pub async fn ask(&self) -> anyhow::Result<(Ready, Samples)> {
        let ready = self.get("/ready").await?;
        let ready = serde_json::from_slice(&ready)
            .with_context(|| format!("found no state at {}/ready, wanted a service of rva", self.name))?;
        let metrics = self.get("/metrics").await?;
        Ok((ready, Samples::parse(&String::from_utf8_lossy(&metrics))))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut answer = self.client.get(format!("{}{path}", self.url)).send().await?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > ANSWER_BYTES_MAX {
                anyhow::bail!("found more than {ANSWER_BYTES_MAX} bytes at {}{path}, wanted metrics", self.name);
            }
        }
        Ok(body)
    }
}

/// Returns a builder of clients without proxies: a service is near.
fn client() -> anyhow::Result<reqwest::ClientBuilder> {
    Ok(reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::{Health, Metric, Series, Totals};

    const ID: &str = "x,y=\"{1}\"\n\\";

    const TABLE: &[Metric<()>] = &[
        Metric::gauge("rva_one", "One", |()| -3),
        Metric::counter_by("rva_many", &["a", "b"], "Many", |()| {
            vec![Series::of([ID, "p"], 2), Series::of([ID, "q"], 3), Series::of(["z", "q"], 7)]
        }),
    ];

    #[tokio::test]
    async fn a_service_is_asked_at_its_address_and_in_its_folder_and_its_labels_are_read_as_it_wrote_them() {
        let folder = tempfile::tempdir().unwrap();
        let health = Health::new();
        health.show(Totals::<()>::of(TABLE));
        health.not_ready("log", "away");
        assert!(Service::in_folder(folder.path()).await.unwrap().is_empty());
        let _near = health.listen_locally(Role::Ingest, folder.path()).unwrap();
        let server = health.listen(Some("127.0.0.1:0".parse().unwrap())).await.unwrap().unwrap();
        let mut services = Service::in_folder(folder.path()).await.unwrap();
        assert_eq!(services.iter().map(|service| &*service.name).collect::<Vec<_>>(), ["ingest"]);
        services.push(Service::at(&server.address().to_string()).unwrap());
        for service in services {
            let (ready, samples) = service.ask().await.unwrap();
            assert_eq!((ready.ready, ready.reasons["log"].as_str()), (false, "away"));
            assert_eq!(samples.sum("rva_one"), Some(-3.0));
            assert_eq!(samples.by("rva_many_total", "a"), [(ID.to_owned(), 5.0), ("z".to_owned(), 7.0)].into());
            assert_eq!(samples.by("rva_many_total", "b"), [("p".to_owned(), 2.0), ("q".to_owned(), 10.0)].into());
            assert!(samples.label("rva_build_info", "version").is_some());
            assert_eq!(samples.sum("none"), None);
        }
    }

    #[tokio::test]
    async fn what_is_no_service_of_rva_is_said_to_be_none() {
        let nobody = Service::at("127.0.0.1:1").unwrap().ask().await.unwrap_err();
        assert!(format!("{nobody:#}").contains("127.0.0.1:1"), "{nobody:#}");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A client takes an answer that comes before its question for none.
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        });
        let other = Service::at(&address.to_string()).unwrap().ask().await.unwrap_err();
        assert!(other.to_string().contains("wanted a service of rva"), "{other:#}");
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for address in
            ["localhost:8080", "http://localhost:8080", "http://localhost:8080/", "http://localhost:8080/metrics"]
        {
            assert_eq!(Service::at(address).unwrap().url, "http://localhost:8080", "{address}");
        }
        for address in ["", "ftp://a", "http://"] {
            let error = Service::at(address).unwrap_err().to_string();
            assert!(error.contains("wanted an address like"), "{error}");
        }
    }
}
