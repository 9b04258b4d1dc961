//! The words of a notification: the body of a webhook, and the attributes of a state.

use crate::judge::{Change, Ending};
use rva_service::{AlertConfig, AlertLimit};
use rva_types::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A place that an alert watches: a camera, or a whole shop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub store: String,
    /// `None`: all cameras of the shop together.
    pub camera: Option<String>,
}

/// An alert at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Spot {
    pub alert: String,
    pub place: Place,
}

impl Spot {
    /// Returns an id of it that any topic or header takes: words that a person recognises, and a number that tells it
    /// from all others.
    pub(crate) fn id(&self) -> String {
        let camera = self.place.camera.as_deref().unwrap_or_default();
        let words = [&self.alert, self.place.store.as_str(), camera].join("_");
        let mut id = String::from("rva_");
        for letter in words.chars().take(80) {
            match letter {
                letter if letter.is_ascii_alphanumeric() => id.push(letter.to_ascii_lowercase()),
                _ if !id.ends_with('_') => id.push('_'),
                _ => {}
            }
        }
        format!("{}_{}", id.trim_end_matches('_'), self.digest(""))
    }

    /// Returns a number of it and a text, as 12 hexadecimal digits.
    fn digest(&self, more: &str) -> String {
        let mut digest = Sha256::new();
        for text in [&self.alert, &self.place.store, self.place.camera.as_deref().unwrap_or("\0"), more] {
            digest.update(text.len().to_be_bytes());
            digest.update(text);
        }
        digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns how a person calls the place.
    pub(crate) fn place_name(&self) -> String {
        match &self.place.camera {
            Some(camera) => format!("{camera} ({})", self.place.store),
            None => self.place.store.clone(),
        }
    }
}

/// The state of an alert, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Firing,
    Resolved,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// A notification, in the form that [Standard Webhooks](https://www.standardwebhooks.com) proposes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notification {
    /// The same for the same beginning or end of an alert, however often it is sent.
    pub id: String,
    /// `alert.firing` or `alert.resolved`.
    pub r#type: String,
    /// When it was decided.
    pub timestamp: String,
    pub data: Told,
}

/// The content of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub alert: String,
    pub status: Status,
    pub store: String,
    pub camera: Option<String>,
    pub zone: Option<String>,
    /// The number of people at `timestamp`; none where there were no pictures.
    pub people: Option<f64>,
    pub above: Option<f64>,
    pub below: Option<f64>,
    /// The first moment at which the condition held.
    pub since: String,
    /// Why it ended.
    pub reason: Option<Ending>,
    /// All of it in a sentence.
    pub text: String,
}

impl Notification {
    /// Makes the notification of a change; `alert` is `None` where the configuration has it no more.
    pub(crate) fn of(spot: &Spot, alert: Option<&AlertConfig>, change: &Change) -> Self {
        let status = if change.ending.is_none() { Status::Firing } else { Status::Resolved };
        let (above, below) = match alert.map(|alert| alert.limit) {
            Some(AlertLimit::Above(limit)) => (Some(limit), None),
            Some(AlertLimit::Below(limit)) => (None, Some(limit)),
            None => (None, None),
        };
        let zone = alert.and_then(|alert| alert.zone.clone());
        let since = Timestamp::from_micros(change.since_us).to_string();
        let told = Told {
            alert: spot.alert.clone(),
            status,
            store: spot.place.store.clone(),
            camera: spot.place.camera.clone(),
            text: text(spot, zone.as_deref(), (above, below), change),
            zone,
            people: change.people.map(|people| (people * 100.0).round() / 100.0),
            above,
            below,
            since,
            reason: change.ending,
        };
        let word = status.word();
        Self {
            id: format!("{}_{}_{word}", spot.digest(&told.since), change.since_us / 1_000_000),
            r#type: format!("alert.{word}"),
            timestamp: Timestamp::from_micros(change.at_us).to_string(),
            data: told,
        }
    }
}

fn text(spot: &Spot, zone: Option<&str>, limit: (Option<f64>, Option<f64>), change: &Change) -> String {
    let place = match zone {
        Some(zone) => format!("in zone {zone} of {}", spot.place_name()),
        None => format!("at {}", spot.place_name()),
    };
    let limit = match limit {
        (Some(above), _) => format!("more than {above}"),
        (None, Some(below)) => format!("fewer than {below}"),
        (None, None) => "people".to_owned(),
    };
    let minutes = (change.at_us - change.since_us) / 60_000_000;
    let people = change.people.map_or_else(|| "no pictures".to_owned(), |people| format!("now {people:.1}"));
    let name = &spot.alert;
    match change.ending {
        None => format!("{name}: {limit} people {place} for {minutes} min ({people})"),
        Some(Ending::WithinLimit) => format!("{name}: over {place} after {minutes} min ({people})"),
        Some(Ending::OutOfHours) => format!("{name}: no longer watched {place} at this hour ({people})"),
        Some(Ending::NoPictures) => format!("{name}: not known any more {place}: no pictures"),
        Some(Ending::NotConfigured) => format!("{name}: no longer configured {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::alert;

    fn spot(camera: &str) -> Spot {
        let place = Place { store: "store_01".into(), camera: Some(camera.into()) };
        Spot { alert: "Queue at the till".into(), place }
    }

    #[test]
    fn a_notification_has_one_id_and_a_sentence() {
        let mut queue = alert(5.0, 2);
        queue.zone = Some("till".into());
        let begins =
            Change { since_us: 1_767_600_000_000_000, at_us: 1_767_600_120_000_000, people: Some(6.254), ending: None };
        let told = Notification::of(&spot("cam_01"), Some(&queue), &begins);
        assert_eq!(told, Notification::of(&spot("cam_01"), Some(&queue), &begins));
        assert_eq!(
            told.data.text,
            "Queue at the till: more than 5 people in zone till of cam_01 (store_01) for 2 min (now 6.3)"
        );
        assert_eq!(
            (told.r#type.as_str(), told.timestamp.as_str()),
            ("alert.firing", "2026-01-05T08:02:00.000000+00:00")
        );
        assert_eq!((told.data.people, told.data.above), (Some(6.25), Some(5.0)));
        let ends = Notification::of(
            &spot("cam_01"),
            Some(&queue),
            &Change { at_us: begins.at_us + 1, ending: Some(Ending::WithinLimit), ..begins },
        );
        let other = Notification::of(&spot("cam_02"), Some(&queue), &begins);
        assert!(told.id != ends.id && told.id != other.id && ends.id != other.id);
    }

    #[test]
    fn ids_hold_letters_of_any_topic_and_tell_alike_names_apart() {
        let (one, other) = (spot("tür/1").id(), spot("tür 1").id());
        for id in [&one, &other] {
            assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{id}");
            assert!(id.starts_with("rva_queue_at_the_till_store_01_t_r_1_"), "{id}");
        }
        assert_ne!(one, other);
    }
}
