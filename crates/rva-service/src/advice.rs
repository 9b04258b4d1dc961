//! Advice on settings that are allowed, and worth a warning at the start.

use crate::{BusKind, CatalogKind, Config};

/// Warns of tokens that travel where others can read them.
pub fn warn_of_plain_text(config: &Config) {
    for (secret, url) in plain_text(config) {
        tracing::warn!(
            secret,
            url,
            "found a secret that is sent over plain text, wanted TLS (https, pulsar+ssl) or a network of its own"
        );
    }
}

/// Returns the keys of secrets that are sent, and the keys of the URLs that they are sent to, where that is another
/// machine and the connection isn't encrypted.
fn plain_text(config: &Config) -> Vec<(&'static str, &'static str)> {
    let (pulsar, iceberg) = (&config.pulsar, &config.iceberg);
    let mut found = Vec::new();
    let mut look = |secret: &'static str, key: &'static str, url: &str| {
        if is_plain(url) {
            found.push((secret, key));
        }
    };
    let has_broker = config.bus.kind == BusKind::Pulsar || config.detector.publish == BusKind::Pulsar;
    if has_broker && pulsar.token.is_some() {
        look("pulsar.token", "pulsar.service_url", &pulsar.service_url);
        look("pulsar.token", "pulsar.admin_url", &pulsar.admin_url);
    }
    if config.catalog.kind == CatalogKind::Rest {
        if iceberg.token.is_some() {
            look("iceberg.token", "iceberg.catalog_uri", &iceberg.catalog_uri);
        }
        if iceberg.credential.is_some() {
            look("iceberg.credential", "iceberg.catalog_uri", &iceberg.catalog_uri);
            if let Some(url) = &iceberg.oauth2_uri {
                look("iceberg.credential", "iceberg.oauth2_uri", url);
            }
        }
    }
    found
}

/// Returns whether a secret sent to a URL can be read on the way.
fn is_plain(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_own = |host: &str| {
        let name = if host.starts_with('[') { host.split(']').next() } else { host.split(':').next() };
        let name = name.unwrap_or_default().trim_start_matches('[').to_ascii_lowercase();
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    ["http", "pulsar"].contains(&scheme.to_ascii_lowercase().as_str()) && !authority.split(',').all(is_own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layers, load};

    fn of(pairs: &[(&str, &str)]) -> Vec<(&'static str, &'static str)> {
        let environment = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        plain_text(&load(&Layers { environment, ..Layers::default() }).unwrap().config)
    }

    #[test]
    fn tokens_that_anybody_on_the_way_can_read_are_told() {
        let (pulsar, rest) = (("RVA_BUS_KIND", "pulsar"), ("RVA_CATALOG_KIND", "rest"));
        let token = ("PULSAR_TOKEN", "hush");
        let plain = [pulsar, token, ("PULSAR_SERVICE_URL", "pulsar://b:6650"), ("PULSAR_ADMIN_URL", "http://b:8080")];
        assert_eq!(of(&plain), [("pulsar.token", "pulsar.service_url"), ("pulsar.token", "pulsar.admin_url")]);
        let secure = [pulsar, token, ("PULSAR_SERVICE_URL", "pulsar+ssl://b"), ("PULSAR_ADMIN_URL", "https://b")];
        assert_eq!(of(&secure), []);
        assert_eq!(of(&[pulsar, token, ("PULSAR_ADMIN_URL", "http://[::1]:8080/x")]), [], "localhost is this machine");
        assert_eq!(of(&plain[1..]), [], "nothing is sent to a broker that isn't asked");
        let credential = [rest, ("ICEBERG_CREDENTIAL", "a:b"), ("ICEBERG_OAUTH2_URI", "http://keycloak/token")];
        assert_eq!(of(&credential), [("iceberg.credential", "iceberg.oauth2_uri")]);
        let token = [rest, ("ICEBERG_TOKEN", "hush"), ("ICEBERG_CATALOG_URI", "HTTP://catalog")];
        assert_eq!(of(&token), [("iceberg.token", "iceberg.catalog_uri")]);
    }
}
