//! The settings of a REST catalog.

use crate::seam::{LakeError, LakeErrorKind};
use iceberg_catalog_rest::{REST_CATALOG_PROP_URI, REST_CATALOG_PROP_WAREHOUSE};
use std::{collections::HashMap, fmt, path::PathBuf, time::Duration};

/// Our identity to the catalog.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum RestAuth {
    /// No identity: an open catalog in a closed network.
    #[default]
    None,
    /// A bearer token that somebody else renews.
    Token(String),
    /// OAuth2 client credentials: tokens are asked for and renewed.
    ClientCredentials {
        /// Client id and secret, `id:secret`.
        credential: String,
        /// The address where tokens are given out; `None` for the catalog's own endpoint.
        oauth2_uri: Option<String>,
        /// The scope; `None` for `catalog`.
        scope: Option<String>,
    },
}

/// Writes the kind of it, without secrets.
impl fmt::Debug for RestAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token"),
            Self::ClientCredentials { oauth2_uri, scope, .. } => f
                .debug_struct("ClientCredentials")
                .field("oauth2_uri", oauth2_uri)
                .field("scope", scope)
                .finish_non_exhaustive(),
        }
    }
}

/// The address of a REST catalog and the settings that it is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestOptions {
    /// The address: `http://iceberg-rest:8181`, the part before `/v1`.
    pub uri: String,
    /// The warehouse by the catalog's name for it, where it has several.
    pub warehouse: Option<String>,
    /// Our identity.
    pub auth: RestAuth,
    /// Asks the catalog for keys of the store with every table, where there are none of one's own.
    pub vended_credentials: bool,
    /// A file of certificates (PEM) to trust besides the system's.
    pub ca_certificates: Option<PathBuf>,
    /// The time for the connection to be there.
    pub connect_timeout: Duration,
    /// The time for a whole call. One that takes longer has an unknown outcome, which a reload decides.
    pub request_timeout: Duration,
}

impl RestOptions {
    /// Makes settings for a catalog at a URI: nobody asks who we are, 5 s to connect, 30 s for a call.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            warehouse: None,
            auth: RestAuth::None,
            vended_credentials: false,
            ca_certificates: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }

    pub(crate) fn properties(&self) -> HashMap<String, String> {
        let uri = self.uri.trim_end_matches('/').to_owned();
        let mut properties = HashMap::from([(REST_CATALOG_PROP_URI.to_owned(), uri)]);
        let mut set = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                properties.insert(key.to_owned(), value.clone());
            }
        };
        set(REST_CATALOG_PROP_WAREHOUSE, &self.warehouse);
        if self.vended_credentials {
            set("header.x-iceberg-access-delegation", &Some("vended-credentials".to_owned()));
        }
        match &self.auth {
            RestAuth::None => {}
            RestAuth::Token(token) => set("token", &Some(token.clone())),
            RestAuth::ClientCredentials { credential, oauth2_uri, scope } => {
                set("credential", &Some(credential.clone()));
                set("oauth2-server-uri", oauth2_uri);
                set("scope", scope);
            }
        }
        properties
    }

    pub(crate) fn client(&self) -> std::result::Result<reqwest::Client, LakeError> {
        let permanent = |text: String| LakeError::new(LakeErrorKind::Permanent, text);
        let mut builder =
            reqwest::Client::builder().connect_timeout(self.connect_timeout).timeout(self.request_timeout);
        if let Some(path) = &self.ca_certificates {
            let pem = std::fs::read(path)
                .map_err(|error| permanent(format!("could not read {}: {error}", path.display())))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| {
                permanent(format!("found {} with {error}, wanted PEM certificates", path.display()))
            })?;
            if certificates.is_empty() {
                return Err(permanent(format!("found no certificate in {}, wanted PEM", path.display())));
            }
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map_err(|error| permanent(format!("could not set up the catalog's client: {error}")))
    }
}
