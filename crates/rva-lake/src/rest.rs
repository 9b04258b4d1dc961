//! An Iceberg REST catalog, which other engines share.
//!
//! The crate's client asks for an OAuth2 token once and never again, so a layer of our own renews it: an answer of 401
//! says that nothing was done, the token is asked for anew, and the call made once more. A commit can't be repeated
//! here (its updates are consumed), so it comes back as a conflict, which the commit's own loop takes up. Changes of
//! files are sent by [`RestSwap`].

use crate::change::SwapMetadata;
use crate::definition::CATALOG;
use crate::errors::{bad_certificate, lake_error, status};
use crate::rest_options::{RestAuth, RestOptions};
use crate::rest_swap::RestSwap;
use crate::seam::{LakeError, LakeErrorKind};
use iceberg::io::StorageFactory;
use iceberg::table::Table;
use iceberg::{
    Catalog, CatalogBuilder, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation,
    TableIdent,
};
use iceberg_catalog_rest::{RestCatalog, RestCatalogBuilder};
use std::{collections::HashMap, sync::Arc};

/// Opens the catalog, and the way to change files of its tables. It is asked once: an address that is no catalog, a
/// wrong token and an unknown warehouse are noticed here.
///
/// # Errors
/// Returns `Transient` where nobody answers there, or with a fault of its own; `Permanent` where it refuses us, or
/// isn't a catalog.
pub(crate) async fn rest_parts(
    options: &RestOptions,
    storage: Arc<dyn StorageFactory>,
) -> std::result::Result<(Arc<dyn Catalog>, Arc<dyn SwapMetadata>), LakeError> {
    let failed = |error| rest_error(options, error);
    let client = options.client()?;
    let builder = RestCatalogBuilder::default().with_client(client.clone()).with_storage_factory(storage);
    let inner = builder.load(CATALOG, options.properties()).await.map_err(failed)?;
    let catalog = RenewingCatalog { inner, options: options.clone() };
    catalog.list_namespaces(None).await.map_err(failed)?;
    Ok((Arc::new(catalog), Arc::new(RestSwap::new(client, options.clone()))))
}

/// Returns the error that the catalog's first answer makes of the settings.
fn rest_error(options: &RestOptions, error: Error) -> LakeError {
    let uri = &options.uri;
    let text = error.to_string();
    let refused = |found: &str, wanted: &str| {
        LakeError::new(LakeErrorKind::Permanent, format!("catalog {uri}: found {found}, wanted {wanted}"))
    };
    if let Some(reason) = options.refusal(&error) {
        return LakeError::new(LakeErrorKind::Permanent, reason);
    }
    if let Some((found, wanted)) = bad_certificate(&error) {
        return refused(found, wanted);
    }
    let warehouse = options.warehouse.as_deref().unwrap_or_default();
    let wanted_warehouse = "one that it knows (iceberg.warehouse, ICEBERG_WAREHOUSE)";
    match status(&text) {
        Some(403) => refused("403 Forbidden", "an account that may use it"),
        Some(404) => refused("404 Not Found", "the root of an Iceberg REST catalog, before /v1 (iceberg.catalog_uri)"),
        // Nessie takes a wrong name for a fault of its own.
        Some(500) if text.contains("Warehouse ") && text.contains("is not known") => {
            refused(&format!("no warehouse {warehouse:?}"), wanted_warehouse)
        }
        Some(code @ 400..=499) if code != 408 && code != 429 => {
            refused(&format!("{code} for warehouse {warehouse:?} ({})", one_line(&text)), wanted_warehouse)
        }
        _ => lake_error(format_args!("open catalog {uri}"), error),
    }
}

impl RestOptions {
    /// Returns an error with the reason in front where we are refused.
    pub(crate) fn told(&self, error: Error) -> Error {
        match self.refusal(&error) {
            Some(reason) => Error::new(ErrorKind::Unexpected, reason).with_source(error),
            None => error,
        }
    }

    /// Returns why the catalog, or the giver of its tokens, doesn't take us for who we say we are; `None` where that
    /// isn't it.
    fn refusal(&self, error: &Error) -> Option<String> {
        let (uri, text) = (&self.uri, error.to_string());
        if status(&text) == Some(401) {
            let (found, wanted) = match self.auth {
                RestAuth::None => (
                    "401 Unauthorized without a token",
                    "a token or client credentials (iceberg.token, ICEBERG_TOKEN, or iceberg.credential, ICEBERG_CREDENTIAL)",
                ),
                RestAuth::Token(_) => (
                    "401 Unauthorized for the bearer token",
                    "one that it accepts and that has not expired (iceberg.token, ICEBERG_TOKEN)",
                ),
                RestAuth::ClientCredentials { .. } => (
                    "401 Unauthorized for a token that was just given out",
                    "a token endpoint that the catalog trusts (iceberg.oauth2_uri, ICEBERG_OAUTH2_URI)",
                ),
            };
            return Some(format!("catalog {uri}: found {found}, wanted {wanted}"));
        }
        let RestAuth::ClientCredentials { oauth2_uri, scope, .. } = &self.auth else { return None };
        let endpoint = oauth2_uri.clone().unwrap_or_else(|| format!("{}/v1/oauth/tokens", uri.trim_end_matches('/')));
        let from = |found: &str, wanted: &str| {
            Some(format!("catalog {uri}: token endpoint {endpoint}: found {found}, wanted {wanted}"))
        };
        // OAuth2's own errors (RFC 6749, 5.2) come in the text.
        if text.contains("invalid_scope") {
            let found = format!("invalid_scope for scope {:?}", scope.as_deref().unwrap_or("catalog"));
            return from(&found, "one that it gives to this client (iceberg.scope)");
        }
        if let Some(code) =
            ["invalid_client", "unauthorized_client", "invalid_grant"].iter().find(|code| text.contains(*code))
        {
            return from(code, "an id and a secret that it accepts (iceberg.credential, ICEBERG_CREDENTIAL)");
        }
        let (_, code) = text.split_once("code: ").filter(|_| text.contains("operation: auth"))?;
        match code.get(..3)?.parse::<u16>().ok()? {
            408 | 429 => None,
            // 501: the catalog gives out none itself.
            code @ (400..=499 | 501) => {
                from(&code.to_string(), "one that gives out tokens (iceberg.oauth2_uri, ICEBERG_OAUTH2_URI)")
            }
            _ => None,
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

fn is_unauthorized(error: &Error) -> bool {
    status(&error.to_string()) == Some(401)
}

/// A REST catalog whose token is asked for anew when it ran out.
#[derive(Debug)]
struct RenewingCatalog {
    inner: RestCatalog,
    options: RestOptions,
}

impl RenewingCatalog {
    fn can_renew(&self, error: &Error) -> bool {
        matches!(self.options.auth, RestAuth::ClientCredentials { .. }) && is_unauthorized(error)
    }

    async fn renew(&self) -> Result<()> {
        tracing::debug!("the catalog's token ran out, asking for a new one");
        self.inner.regenerate_token().await.map_err(|error| self.options.told(error))
    }

    /// Makes a call; after a 401 once more with a new token.
    async fn call<T, F: Future<Output = Result<T>>>(&self, make: impl Fn() -> F) -> Result<T> {
        match make().await {
            Err(error) if self.can_renew(&error) => {
                self.renew().await?;
                make().await.map_err(|error| self.options.told(error))
            }
            answer => answer.map_err(|error| self.options.told(error)),
        }
    }
}

#[async_trait::async_trait]
impl Catalog for RenewingCatalog {
    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        self.call(|| self.inner.list_namespaces(parent)).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.call(|| self.inner.create_namespace(namespace, properties.clone())).await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.call(|| self.inner.get_namespace(namespace)).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.call(|| self.inner.namespace_exists(namespace)).await
    }

    async fn update_namespace(&self, namespace: &NamespaceIdent, properties: HashMap<String, String>) -> Result<()> {
        self.call(|| self.inner.update_namespace(namespace, properties.clone())).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.call(|| self.inner.drop_namespace(namespace)).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.call(|| self.inner.list_tables(namespace)).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        // A creation can't be repeated; this call makes sure of the token first.
        self.namespace_exists(namespace).await?;
        self.inner.create_table(namespace, creation).await
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        self.call(|| self.inner.load_table(table)).await
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        self.call(|| self.inner.drop_table(table)).await
    }

    async fn purge_table(&self, table: &TableIdent) -> Result<()> {
        self.call(|| self.inner.purge_table(table)).await
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        self.call(|| self.inner.table_exists(table)).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.call(|| self.inner.rename_table(from, to)).await
    }

    async fn register_table(&self, table: &TableIdent, metadata_location: String) -> Result<Table> {
        self.call(|| self.inner.register_table(table, metadata_location.clone())).await
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        match self.inner.update_table(commit).await {
            Err(error) if self.can_renew(&error) => {
                self.renew().await?;
                let text = "the token ran out before the commit, nothing was done";
                Err(Error::new(ErrorKind::CatalogCommitConflicts, text).with_retryable(true))
            }
            answer => answer.map_err(|error| self.options.told(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_in_no_debug_text() {
        let token = RestOptions { auth: RestAuth::Token("hush".into()), ..RestOptions::new("http://c") };
        let auth = RestAuth::ClientCredentials { credential: "me:hush".into(), oauth2_uri: None, scope: None };
        let client = RestOptions { auth, ..RestOptions::new("http://c") };
        let text = format!("{token:?} {client:?}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[tokio::test]
    async fn certificates_that_are_none_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, "not a certificate").unwrap();
        for path in [path, dir.path().join("missing.pem")] {
            let options = RestOptions { ca_certificates: Some(path.clone()), ..RestOptions::new("https://c") };
            let text = options.client().unwrap_err().to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
        }
    }

    #[test]
    fn a_status_is_found_in_the_clients_own_words() {
        let error = Error::new(ErrorKind::Unexpected, "Received response with unexpected status code")
            .with_context("status", "401 Unauthorized");
        assert!(is_unauthorized(&error), "{error}");
        assert_eq!(status("no such thing"), None);
    }
}
