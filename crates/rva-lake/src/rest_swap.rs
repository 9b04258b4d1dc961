//! The commit call of a REST catalog, for changes that the crate's transactions can't make.
//!
//! The crate's client lets its own transactions alone commit, and tells nobody its token and what the catalog said of
//! itself. So this asks for both once more, by the same settings: where the tables are (`/v1/config`) at its first call,
//! and a token of its own where there are client credentials.

use crate::change::SwapMetadata;
use crate::rest_options::{RestAuth, RestOptions};
use iceberg::{Error, ErrorKind, Result, TableIdent, TableRequirement, TableUpdate};
use iceberg_catalog_rest::CommitTableRequest;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use std::collections::HashMap;
use tokio::sync::{Mutex, OnceCell};

/// The most of an answer that an error tells.
const TOLD_MAX: usize = 2000;

/// The catalog's word of itself, by the specification: defaults go below our settings, overrides above them.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    defaults: HashMap<String, String>,
    #[serde(default)]
    overrides: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// The settings that hold after the catalog was asked.
struct Place {
    settings: HashMap<String, String>,
    headers: HeaderMap,
}

impl Place {
    fn of(settings: HashMap<String, String>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &settings {
            let Some(name) = name.strip_prefix("header.") else { continue };
            let wrong = || Error::new(ErrorKind::DataInvalid, format!("found header {name:?}, wanted one of HTTP"));
            let value = HeaderValue::from_str(value).map_err(|error| wrong().with_source(error))?;
            headers.insert(HeaderName::try_from(name).map_err(|error| wrong().with_source(error))?, value);
        }
        Ok(Self { settings, headers })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v1/{rest}", self.get("uri").unwrap_or_default().trim_end_matches('/'))
    }

    fn table_url(&self, table: &TableIdent) -> String {
        let prefix = self.get("prefix").map(|prefix| format!("{prefix}/")).unwrap_or_default();
        self.url(&format!("{prefix}namespaces/{}/tables/{}", table.namespace().to_url_string(), table.name()))
    }

    /// Returns where tokens are given out, and what is sent there.
    fn token_request(&self) -> (String, Vec<(&'static str, String)>) {
        let url = self.get("oauth2-server-uri").map_or_else(|| self.url("oauth/tokens"), str::to_owned);
        let mut fields = vec![("grant_type", "client_credentials".to_owned())];
        match self.get("credential").unwrap_or_default().split_once(':') {
            Some((id, secret)) => fields.extend([("client_id", id.to_owned()), ("client_secret", secret.to_owned())]),
            None => fields.push(("client_secret", self.get("credential").unwrap_or_default().to_owned())),
        }
        fields.push(("scope", self.get("scope").unwrap_or("catalog").to_owned()));
        let more = ["audience", "resource"];
        fields.extend(more.into_iter().filter_map(|name| Some((name, self.get(name)?.to_owned()))));
        (url, fields)
    }
}

/// Sends commits to a REST catalog.
pub(crate) struct RestSwap {
    client: Client,
    options: RestOptions,
    place: OnceCell<Place>,
    token: Mutex<Option<String>>,
}

/// Leaves out the token.
impl std::fmt::Debug for RestSwap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestSwap").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Returns the error of an answer that isn't what was asked for, in the words of the crate's client: the class of the
/// error is read from them.
async fn unexpected(answer: Response) -> Error {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let error = Error::new(ErrorKind::Unexpected, "Received response with unexpected status code")
        .with_context("status", status.to_string());
    if text.is_empty() { error } else { error.with_context("json", text.chars().take(TOLD_MAX).collect::<String>()) }
}

/// Returns the error of a commit that the catalog didn't say yes to. What of it leaves the outcome unknown is decided by
/// whoever reads the table again; this says what a repetition can cure.
async fn refused(answer: Response, table: &TableIdent) -> Error {
    match answer.status() {
        StatusCode::CONFLICT => {
            let error = unexpected(answer).await;
            Error::new(ErrorKind::CatalogCommitConflicts, "another commit was first")
                .with_retryable(true)
                .with_source(error)
        }
        // Its own kind, as when the table is loaded: the way out is another one than that of a wrong address.
        StatusCode::NOT_FOUND => {
            Error::new(ErrorKind::TableNotFound, format!("found no table {table}, wanted it to commit to"))
        }
        _ => unexpected(answer).await,
    }
}

impl RestSwap {
    pub(crate) fn new(client: Client, options: RestOptions) -> Self {
        Self { client, options, place: OnceCell::new(), token: Mutex::new(None) }
    }

    async fn place(&self) -> Result<&Place> {
        self.place.get_or_try_init(|| self.ask()).await
    }

    /// Asks the catalog what it wants its clients to know. A token may be needed for that already.
    async fn ask(&self) -> Result<Place> {
        let ours = self.options.properties();
        let before = Place::of(ours.clone())?;
        let request = self.client.get(before.url("config"));
        let request = match &self.options.warehouse {
            Some(warehouse) => request.query(&[("warehouse", warehouse)]),
            None => request,
        };
        let answer = self.call(&before, &request).await?;
        if answer.status() != StatusCode::OK {
            return Err(unexpected(answer).await);
        }
        let Told { defaults, overrides } = parsed(answer).await?;
        let mut settings = defaults;
        settings.extend(ours);
        settings.extend(overrides);
        Place::of(settings)
    }

    /// Sends a request as the one who we are. A 401 says that nothing was done: with a new token it is sent once more.
    async fn call(&self, place: &Place, request: &RequestBuilder) -> Result<Response> {
        let renews = matches!(self.options.auth, RestAuth::ClientCredentials { .. });
        let mut answer = self.send(place, request).await?;
        if renews && answer.status() == StatusCode::UNAUTHORIZED {
            tracing::debug!("the catalog's token ran out, asking for a new one");
            *self.token.lock().await = None;
            answer = self.send(place, request).await?;
        }
        Ok(answer)
    }

    async fn send(&self, place: &Place, request: &RequestBuilder) -> Result<Response> {
        let request = request.try_clone().ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "found a request that can't be sent twice, wanted its body in memory")
        })?;
        let request = request.headers(place.headers.clone());
        let request = match self.token(place).await? {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        Ok(request.send().await?)
    }

    /// Returns the token to show: the one that was given, or one that is asked for.
    async fn token(&self, place: &Place) -> Result<Option<String>> {
        if !matches!(self.options.auth, RestAuth::ClientCredentials { .. }) {
            return Ok(place.get("token").map(str::to_owned));
        }
        let mut held = self.token.lock().await;
        if held.is_none() {
            let (url, fields) = place.token_request();
            let answer = self.client.post(&url).form(&fields).send().await?;
            if answer.status() != StatusCode::OK {
                let code = answer.status().to_string();
                let told = answer.text().await.unwrap_or_default().chars().take(TOLD_MAX).collect::<String>();
                let error = Error::new(ErrorKind::Unexpected, "Received unexpected response");
                let error = error.with_context("code", code).with_context("operation", "auth");
                return Err(error.with_context("url", url).with_context("json", told));
            }
            *held = Some(parsed::<Token>(answer).await?.access_token);
        }
        Ok(held.clone())
    }
}

/// Parses an answer, whose text may hold a token: it is in no error.
async fn parsed<T: serde::de::DeserializeOwned>(answer: Response) -> Result<T> {
    let url = answer.url().to_string();
    let bytes = answer.bytes().await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let text = format!("found an answer of {url} that isn't the specification's");
        Error::new(ErrorKind::Unexpected, text).with_source(error)
    })
}

#[async_trait::async_trait]
impl SwapMetadata for RestSwap {
    async fn swap(
        &self,
        table: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<()> {
        let sent = async {
            let place = self.place().await?;
            let body = CommitTableRequest { identifier: Some(table.clone()), requirements, updates };
            let body = serde_json::to_vec(&body)?;
            let request = self.client.post(place.table_url(table)).header(CONTENT_TYPE, "application/json").body(body);
            let answer = self.call(place, &request).await?;
            if answer.status() != StatusCode::OK {
                return Err(refused(answer, table).await);
            }
            // Whole, so that the connection can be used again; an answer that breaks off is one that never came.
            answer.bytes().await?;
            Ok(())
        };
        sent.await.map_err(|error| self.options.told(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pairs: &[(&str, &str)]) -> Place {
        Place::of(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()).unwrap()
    }

    #[test]
    fn a_table_is_found_under_the_catalogs_prefix() {
        let table = TableIdent::from_strs(["rva", "gold"]).unwrap();
        let plain = place(&[("uri", "http://c:1/")]);
        assert_eq!(plain.table_url(&table), "http://c:1/v1/namespaces/rva/tables/gold");
        let prefixed = place(&[("uri", "http://c:1/iceberg"), ("prefix", "main|lakehouse")]);
        assert_eq!(prefixed.table_url(&table), "http://c:1/iceberg/v1/main|lakehouse/namespaces/rva/tables/gold");
    }

    #[test]
    fn a_token_is_asked_for_with_id_secret_and_scope() {
        let asked = place(&[("uri", "http://c"), ("credential", "me:hu:sh")]).token_request();
        let (id, secret) = (("client_id", "me".to_owned()), ("client_secret", "hu:sh".to_owned()));
        let first = ("grant_type", "client_credentials".to_owned());
        let scope = ("scope", "catalog".to_owned());
        assert_eq!(asked, ("http://c/v1/oauth/tokens".to_owned(), vec![first, id, secret, scope]));
        let elsewhere = place(&[("uri", "http://c"), ("oauth2-server-uri", "http://k/t"), ("scope", "rva")]);
        let (url, fields) = elsewhere.token_request();
        assert_eq!((url.as_str(), fields.last()), ("http://k/t", Some(&("scope", "rva".to_owned()))));
    }

    #[test]
    fn headers_of_the_settings_are_sent_and_a_wrong_one_is_told() {
        let place = place(&[("header.x-iceberg-access-delegation", "vended-credentials")]);
        assert_eq!(place.headers["x-iceberg-access-delegation"], "vended-credentials");
        let wrong = Place::of(HashMap::from([("header.a b".to_owned(), "c".to_owned())])).err().unwrap();
        assert!(wrong.to_string().contains("found header \"a b\""), "{wrong}");
    }
}
