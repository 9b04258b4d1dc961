//! Alerts for people in the shop: a queue that is too long, a shop that is too full, nobody where somebody should be.
//!
//! An alert of the configuration names a place, a number of people and how long it must be passed. Each minute its places
//! are looked up in gold (`gold_people_per_minute`, `gold_zone_minute`), which is counted once and right, so that an
//! alert says what the report will say. What begins and what ends is told once: it is written into a small file first,
//! from which a restart goes on, and then posted to a webhook until that takes it, and shown as a retained state by MQTT.
//!
//! Beside that it counts what cameras should have looked at in opening hours and didn't: no alert on people can say that.
//!
//! The decision is a pure function of minutes ([`Notifying`] feeds it), with a number at which an alert ends that lies
//! within the one at which it begins, so that it doesn't flutter. A minute without pictures is neither full nor empty.
//!
//! ```
//! use rva_notify::Notifying;
//! use rva_service::{Health, Layers, load, tables::TableSettings};
//!
//! let file = "alerts: [{ name: queue, zone: till, above: 5, for: 2m }]\n";
//! let loaded = load(&Layers { file: Some(("rva.yaml".into(), file.to_owned())), ..Layers::default() })?;
//! // It has nowhere to go.
//! let refused = Notifying::start(&TableSettings::of(&loaded)?, &loaded.config, &Health::new());
//! assert!(refused.err().is_some_and(|error| error.to_string().contains("notify.webhook")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(unreachable_pub)]

mod book;
mod coverage;
mod gold;
mod hours;
mod judge;
mod metrics;
mod mqtt;
mod notification;
mod watching;
mod webhook;

pub use watching::Notifying;

/// An error of notifying.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// A setting doesn't fit; its value isn't repeated, since it may be a secret.
    #[error("{key}: wanted {wanted}")]
    Config {
        /// The key of the configuration.
        key: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// The state can't be kept.
    #[error("{0}")]
    State(String),
    /// The tables can't be read.
    #[error("{0}")]
    Tables(String),
    /// The webhook didn't take a notification.
    #[error("webhook: {0}")]
    Webhook(String),
}

impl From<std::io::Error> for NotifyError {
    fn from(error: std::io::Error) -> Self {
        Self::State(error.to_string())
    }
}
