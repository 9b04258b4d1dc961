//! S3 and stores that speak its protocol (MinIO): one client a bucket and set of keys.

use super::object::ObjectFiles;
use iceberg::io::StorageConfig;
use iceberg::{Error, ErrorKind, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The properties of Iceberg's S3 clients that a catalog sends with a table.
const ENDPOINT: &str = "s3.endpoint";
const REGIONS: [&str; 2] = ["s3.region", "client.region"];
const PATH_STYLE: &str = "s3.path-style-access";
const ACCESS_KEY: &str = "s3.access-key-id";
const SECRET_KEY: &str = "s3.secret-access-key";
const SESSION_TOKEN: &str = "s3.session-token";

/// The number of clients that are kept. Vended keys change every hour or so, and the old client is of no use then.
const CLIENTS_MAX: usize = 16;

/// The keys of an S3 account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct S3Keys {
    /// The account's name, as `AWS_ACCESS_KEY_ID` has it.
    pub access_key: String,
    /// The account's secret, as `AWS_SECRET_ACCESS_KEY` has it.
    pub secret_key: String,
    /// The token of temporary keys.
    pub session_token: Option<String>,
}

/// Writes the account's name at most.
impl fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Keys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The settings that `s3://` locations are reached with. One that is `None` is what the catalog sends with a table, and
/// AWS's own default where it sends nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The address: `http://minio:9000`; `None` for the catalog's word, else AWS.
    pub endpoint: Option<String>,
    /// The region; MinIO takes any: `us-east-1`.
    pub region: Option<String>,
    /// Set where the bucket is in the path, not in the host name: MinIO wants it, so it is the default for an endpoint
    /// of one's own.
    pub path_style: Option<bool>,
    /// The static keys. They go before keys that the catalog vends.
    pub keys: Option<S3Keys>,
    /// The certificates (PEM) to trust besides the system's.
    pub ca_certificates: Option<Vec<u8>>,
    /// The time for the connection to be there.
    pub connect_timeout: Duration,
    /// The time for a whole request. A longer one lets slow stores finish a part of 8 MiB, a shorter one notices a dead
    /// one sooner.
    pub request_timeout: Duration,
    /// The tries of a request after the first, with exponential backoff.
    pub retries_max: usize,
    /// The time after the first try beyond which no further one begins.
    pub retry_timeout: Duration,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            keys: None,
            ca_certificates: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            retries_max: 5,
            retry_timeout: Duration::from_secs(60),
        }
    }
}

impl S3Options {
    /// Returns the settings with what a catalog sent; settings and keys of one's own go first.
    fn with_catalog(&self, config: &HashMap<String, String>) -> Self {
        let text = |key: &str| config.get(key).filter(|value| !value.is_empty()).cloned();
        let vended = || {
            let (access_key, secret_key) = (text(ACCESS_KEY)?, text(SECRET_KEY)?);
            Some(S3Keys { access_key, secret_key, session_token: text(SESSION_TOKEN) })
        };
        Self {
            endpoint: self.endpoint.clone().or_else(|| text(ENDPOINT)),
            region: self.region.clone().or_else(|| REGIONS.iter().find_map(|key| text(key))),
            path_style: self.path_style.or_else(|| text(PATH_STYLE).map(|value| value.eq_ignore_ascii_case("true"))),
            keys: self.keys.clone().or_else(vended),
            ..self.clone()
        }
    }

    fn builder(&self, bucket: &str) -> object_store::Result<AmazonS3Builder> {
        let http = self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut client = ClientOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_timeout(self.request_timeout)
            .with_allow_http(http);
        for certificate in self.ca_certificates.iter().map(|pem| Certificate::from_pem_bundle(pem)) {
            client = certificate?.into_iter().fold(client, ClientOptions::with_root_certificate);
        }
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: Duration::from_millis(100), ..BackoffConfig::default() },
            max_retries: self.retries_max,
            retry_timeout: self.retry_timeout,
        };
        let path_style = self.path_style.unwrap_or(self.endpoint.is_some());
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_virtual_hosted_style_request(!path_style)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some(keys) = &self.keys {
            builder = builder.with_access_key_id(&keys.access_key).with_secret_access_key(&keys.secret_key);
            if let Some(token) = &keys.session_token {
                builder = builder.with_config(AmazonS3ConfigKey::Token, token);
            }
        }
        Ok(builder)
    }
}

/// Leaves out the keys.
impl fmt::Debug for S3Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Stores").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The clients of one factory.
#[derive(Debug, Default)]
struct Clients {
    /// The properties that the catalog sent last: its answer to a commit comes without keys.
    vended: Option<Arc<HashMap<String, String>>>,
    open: Vec<((String, S3Options), ObjectFiles)>,
}

/// The `s3://` locations of one factory, or of one table of it; none where there are no settings for S3.
#[derive(Clone, Default)]
pub(super) struct S3Stores {
    options: Option<S3Options>,
    /// The properties that the catalog sent with this table: vended keys open no other table's folder.
    sent: Option<Arc<HashMap<String, String>>>,
    clients: Arc<Mutex<Clients>>,
}

impl S3Stores {
    pub(super) fn new(options: S3Options) -> Self {
        Self { options: Some(options), ..Self::default() }
    }

    /// Returns whether there are static keys.
    pub(super) fn has_keys(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.keys.is_some())
    }

    /// Returns the same clients for a table whose catalog sent these properties.
    pub(super) fn of_config(&self, config: &StorageConfig) -> Self {
        if config.props().contains_key(ACCESS_KEY) || config.props().contains_key(ENDPOINT) {
            let sent = Arc::new(config.props().clone());
            self.clients.lock().unwrap_or_else(PoisonError::into_inner).vended = Some(Arc::clone(&sent));
            return Self { sent: Some(sent), ..self.clone() };
        }
        self.clone()
    }

    pub(super) fn bucket(&self, bucket: &str) -> Result<ObjectFiles> {
        let Some(options) = &self.options else {
            let text = format!("found a location in s3://{bucket}, wanted settings for S3 (S3_ENDPOINT, S3_REGION)");
            return Err(Error::new(ErrorKind::DataInvalid, text));
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let options = self
            .sent
            .as_ref()
            .or(clients.vended.as_ref())
            .map_or_else(|| options.clone(), |sent| options.with_catalog(sent));
        let key = (bucket.to_owned(), options);
        if let Some((_, files)) = clients.open.iter().find(|(open, _)| *open == key) {
            return Ok(files.clone());
        }
        let store = key.1.builder(bucket).and_then(AmazonS3Builder::build).map_err(|error| {
            Error::new(ErrorKind::DataInvalid, format!("could not set up s3://{bucket}")).with_source(error)
        })?;
        let files = ObjectFiles::new(Arc::new(store), &format!("s3://{bucket}/"));
        if clients.open.len() == CLIENTS_MAX {
            clients.open.remove(0);
        }
        clients.open.push((key, files.clone()));
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pairs: &[(&str, &str)]) -> StorageConfig {
        StorageConfig::from_props(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn what_a_catalog_sends_fills_the_gaps_and_keys_of_ones_own_go_first() {
        let own = S3Keys { access_key: "me".into(), secret_key: "hush".into(), session_token: None };
        let config = sent(&[
            (ENDPOINT, "http://minio:9000"),
            (PATH_STYLE, "TRUE"),
            ("client.region", "eu-west-1"),
            (ACCESS_KEY, "vended"),
            (SECRET_KEY, "secret"),
            (SESSION_TOKEN, "token"),
        ]);
        let filled = S3Options::default().with_catalog(config.props());
        assert_eq!(filled.endpoint.as_deref(), Some("http://minio:9000"));
        assert_eq!((filled.region.as_deref(), filled.path_style), (Some("eu-west-1"), Some(true)));
        assert_eq!(filled.keys.as_ref().map(|keys| keys.access_key.as_str()), Some("vended"));
        let mine = S3Options { keys: Some(own.clone()), endpoint: Some("http://here".into()), ..S3Options::default() };
        let mine = mine.with_catalog(config.props());
        assert_eq!((mine.keys, mine.endpoint.as_deref()), (Some(own), Some("http://here")));
    }

    #[test]
    fn an_answer_without_keys_uses_the_ones_that_were_vended_last() {
        let stores = S3Stores::new(S3Options { endpoint: Some("http://minio:9000".into()), ..S3Options::default() });
        let with_keys = |name| sent(&[(ACCESS_KEY, name), (SECRET_KEY, "s")]);
        let of_load = stores.of_config(&with_keys("first"));
        of_load.bucket("b").unwrap();
        let of_commit = stores.of_config(&sent(&[]));
        of_commit.bucket("b").unwrap();
        assert_eq!(stores.clients.lock().unwrap().open.len(), 1, "the same client serves both");
        stores.of_config(&with_keys("second")).bucket("b").unwrap();
        let clients = stores.clients.lock().unwrap();
        let names: Vec<_> =
            clients.open.iter().map(|((_, o), _)| o.keys.as_ref().unwrap().access_key.clone()).collect();
        assert_eq!(names, ["first", "second"]);
    }

    #[test]
    fn each_table_keeps_the_keys_that_were_vended_with_it() {
        let stores = S3Stores::new(S3Options { endpoint: Some("http://minio:9000".into()), ..S3Options::default() });
        let with_keys = |name| sent(&[(ACCESS_KEY, name), (SECRET_KEY, "s")]);
        let (one, two) = (stores.of_config(&with_keys("one")), stores.of_config(&with_keys("two")));
        one.bucket("b").unwrap();
        two.bucket("b").unwrap();
        let clients = stores.clients.lock().unwrap();
        let names: Vec<_> =
            clients.open.iter().map(|((_, o), _)| o.keys.as_ref().unwrap().access_key.clone()).collect();
        assert_eq!(names, ["one", "two"]);
    }

    #[test]
    fn clients_are_bounded() {
        let stores = S3Stores::new(S3Options::default());
        for n in 0..CLIENTS_MAX + 5 {
            stores.bucket(&format!("bucket-{n}")).unwrap();
        }
        assert_eq!(stores.clients.lock().unwrap().open.len(), CLIENTS_MAX);
    }

    #[test]
    fn secrets_are_in_no_debug_text() {
        let keys = S3Keys { access_key: "me".into(), secret_key: "hush".into(), session_token: Some("psst".into()) };
        let stores = S3Stores::new(S3Options { keys: Some(keys), ..S3Options::default() });
        stores.bucket("b").unwrap();
        let text = format!("{stores:?}");
        assert!(!text.contains("hush") && !text.contains("psst"), "{text}");
    }

    #[test]
    fn without_settings_an_s3_location_is_refused_with_what_is_missing() {
        let text = S3Stores::default().bucket("warehouse").unwrap_err().to_string();
        assert!(text.contains("s3://warehouse") && text.contains("S3_ENDPOINT"), "{text}");
    }
}
