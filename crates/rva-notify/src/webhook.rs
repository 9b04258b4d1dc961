//! Notifications by HTTP: posted as JSON, signed as [Standard Webhooks](https://www.standardwebhooks.com) says.

use crate::NotifyError;
use crate::notification::Notification;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Url, redirect};
use rva_service::NotifyConfig;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A place that notifications are posted to.
pub(crate) struct Webhook {
    client: Client,
    url: Url,
    secret: Option<standardwebhooks::Webhook>,
}

impl Webhook {
    /// Makes it from the configuration; `None` where there is no URL.
    ///
    /// # Errors
    /// Returns an error for a URL or a secret that is none; it doesn't repeat them.
    pub(crate) fn of(config: &NotifyConfig) -> Result<Option<Self>, NotifyError> {
        let Some(url) = &config.webhook else { return Ok(None) };
        let url = Url::parse(url.expose()).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let url = url.ok_or(NotifyError::Config {
            key: "notify.webhook",
            wanted: "a URL that begins with http:// or https://",
        })?;
        let secret = config.webhook_secret.as_ref().map(|secret| standardwebhooks::Webhook::new(secret.expose()));
        let secret = secret.transpose().map_err(|_| NotifyError::Config {
            key: "notify.webhook_secret",
            wanted: "whsec_ and the secret in base64",
        })?;
        rva_service::tables::install_tls();
        // Who answers with another place may not be who was configured.
        let client = Client::builder().timeout(ANSWER_MAX).redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| NotifyError::Webhook(reason(error)))?;
        Ok(Some(Self { client, url, secret }))
    }

    /// Sends a notification once.
    ///
    /// # Errors
    /// Returns why it wasn't taken, without the URL.
    pub(crate) async fn send(&self, notification: &Notification) -> Result<(), NotifyError> {
        let failed = |text: String| NotifyError::Webhook(text);
        let body = serde_json::to_vec(notification).map_err(|error| failed(error.to_string()))?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| failed(error.to_string()));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HEADER_WEBHOOK_ID, value(&notification.id)?);
        headers.insert(HEADER_WEBHOOK_TIMESTAMP, value(&now.to_string())?);
        if let Some(secret) = &self.secret {
            let signed = secret.sign(&notification.id, now, &body).map_err(|error| failed(error.to_string()))?;
            headers.insert(HEADER_WEBHOOK_SIGNATURE, value(&signed)?);
        }
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        let answer = request.send().await.map_err(|error| failed(reason(error)))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(failed(format!("found status {status}, wanted 200 to 299"))),
        }
    }
}

/// Returns an error with its causes and without the URL.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let (mut text, mut cause) = (error.to_string(), std::error::Error::source(&error));
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
