//! The names of a partitioned topic and of its partitions.

use crate::{BusError, BusErrorKind};
use std::{fmt, str::FromStr};

/// A partitioned, persistent topic: `persistent://retail/metadata/events`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicName {
    /// The tenant.
    pub tenant: String,
    /// The namespace, without its tenant.
    pub namespace: String,
    /// The topic's own name.
    pub local: String,
}

impl TopicName {
    /// Returns `persistent://…-partition-N`, which the broker keeps as a topic of its own.
    pub fn partition(&self, number: u32) -> String {
        format!("{self}-partition-{number}")
    }

    /// Returns `tenant/namespace`.
    pub(super) fn namespace_path(&self) -> String {
        format!("{}/{}", self.tenant, self.namespace)
    }

    /// Returns `persistent/tenant/namespace/topic`, as the admin interface has it.
    pub(super) fn path(&self) -> String {
        format!("persistent/{}/{}/{}", self.tenant, self.namespace, self.local)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "persistent://{}/{}/{}", self.tenant, self.namespace, self.local)
    }
}

impl FromStr for TopicName {
    type Err = BusError;

    /// Parses a topic's full name.
    ///
    /// # Errors
    /// Returns `Permanent` for another form, for a name with characters that a URL would need escaped, and for the name
    /// of one partition.
    fn from_str(text: &str) -> Result<Self, BusError> {
        let error = |why: &str| {
            let text = format!("found topic {text:?}, wanted persistent://TENANT/NAMESPACE/TOPIC{why}");
            BusError::new(BusErrorKind::Permanent, text)
        };
        let parts: Vec<_> = text.strip_prefix("persistent://").unwrap_or_default().split('/').collect();
        let [tenant, namespace, local] = parts[..] else { return Err(error("")) };
        let is_plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.=:".contains(c);
            !part.is_empty() && part.chars().all(allowed) && !part.chars().all(|c| c == '.')
        };
        if ![tenant, namespace, local].into_iter().all(is_plain) {
            return Err(error(" of letters, digits and -_.=:"));
        }
        if local.rsplit_once("-partition-").is_some_and(|(_, number)| number.parse::<u32>().is_ok()) {
            return Err(error(", the topic and not one of its partitions"));
        }
        Ok(Self { tenant: tenant.into(), namespace: namespace.into(), local: local.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_written_as_pulsar_does() {
        let topic: TopicName = "persistent://retail/metadata/events".parse().unwrap();
        assert_eq!(topic.to_string(), "persistent://retail/metadata/events");
        assert_eq!(topic.partition(3), "persistent://retail/metadata/events-partition-3");
        assert_eq!(topic.path(), "persistent/retail/metadata/events");
    }

    #[test]
    fn other_texts_are_refused_with_what_is_wanted() {
        let bad = [
            "",
            "events",
            "retail/metadata/events",
            "non-persistent://a/b/c",
            "persistent://a/b",
            "persistent://a/b/c/d",
            "persistent://a//c",
            "persistent://a/../c",
            "persistent://a/b/c d",
            "persistent://a/b/c?x",
            "persistent://a/b/c-partition-0",
        ];
        for text in bad {
            let error = text.parse::<TopicName>().unwrap_err();
            assert!(error.to_string().contains("wanted persistent://TENANT"), "{text}: {error}");
        }
    }
}
