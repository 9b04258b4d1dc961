//! The loop: looks at gold each minute, decides, remembers, and then tells.

use crate::NotifyError;
use crate::book::Book;
use crate::coverage;
use crate::gold::{self, GoldMinute};
use crate::hours::Hours;
use crate::judge::{Change, Ending, MINUTE_US, Watched};
use crate::metrics::{METRICS, NotifyCounters};
use crate::mqtt::{Mqtt, SensorState, Sensors};
use crate::notification::{Notification, Spot, Told};
use crate::webhook::Webhook;
use chrono_tz::Tz;
use rva_lake::{Lake, LakeError};
use rva_service::tables::TableSettings;
use rva_service::{AlertConfig, Config, Health, Totals};
use rva_types::{DoublingWait, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The name of this part of a service's health.
const NOTIFY: &str = "notify";

/// The time after a minute in which its rows may still come, beside a commit of bronze and a refresh of gold.
const GRACE: Duration = Duration::from_secs(5);

/// The time beyond what an alert must last in which minutes may come late: older ones are the past, and tell nobody
/// anything.
const LATE_US: i64 = 15 * MINUTE_US;

/// The first and the longest wait after something that may pass.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The settings of what is watched and told.
#[derive(Debug, Clone)]
struct Settings {
    alerts: Vec<AlertConfig>,
    zone: Tz,
    /// The opening hours; `None` where nobody said any.
    opening: Option<Hours>,
    state: PathBuf,
    /// The time after a minute in which its rows may still come, in microseconds.
    grace_us: i64,
}

/// Everything that is remembered and told, without any table.
struct Watching {
    settings: Settings,
    book: Book,
    /// What was told last of each place.
    told: BTreeMap<Spot, Told>,
    /// The places of alerts that the configuration has no more.
    gone: Vec<Spot>,
    counters: NotifyCounters,
    has_webhook: bool,
}

impl Watching {
    fn of(settings: Settings, book: Book, has_webhook: bool) -> Self {
        let counters = NotifyCounters::default();
        Self { settings, book, told: BTreeMap::new(), gone: Vec::new(), counters, has_webhook }
    }

    /// Returns the first moment that a look at gold begins with.
    fn begins_us(&self, now_us: i64) -> i64 {
        let longest = self.settings.alerts.iter().map(|alert| alert.minutes).max().unwrap_or_default();
        let longest = i64::try_from(longest).unwrap_or_default();
        now_us - LATE_US - longest.max(coverage::MINUTES) * MINUTE_US
    }

    /// Ends what the configuration has no more.
    fn forget_others(&mut self, now_us: i64) {
        let known: Vec<&str> = self.settings.alerts.iter().map(|alert| alert.name.as_str()).collect();
        let gone: Vec<Spot> =
            self.book.watched.keys().filter(|spot| !known.contains(&spot.alert.as_str())).cloned().collect();
        for spot in gone {
            if let Some(mut watched) = self.book.watched.remove(&spot)
                && watched.is_firing
            {
                let change = watched.end(now_us, None, Ending::NotConfigured);
                self.tell(&spot, None, &change);
            }
            self.gone.push(spot);
        }
    }

    /// Judges the minutes that are over.
    fn judge(&mut self, rows: &[GoldMinute], now_us: i64) {
        let over = now_us - self.settings.grace_us - MINUTE_US;
        for alert in self.settings.alerts.clone() {
            let mut minutes = gold::minutes_of(&alert, rows);
            // Places that show nothing are judged, too: their pictures may be gone.
            for spot in self.book.watched.keys().filter(|spot| spot.alert == alert.name) {
                minutes.entry(spot.place.clone()).or_default();
            }
            for (place, mut minutes) in minutes {
                minutes.retain(|minute| minute.minute_us <= over);
                let spot = Spot { alert: alert.name.clone(), place };
                if minutes.is_empty() && !self.book.watched.contains_key(&spot) {
                    continue;
                }
                let watched: &mut Watched = self.book.watched.entry(spot.clone()).or_default();
                for change in watched.judge(&alert, self.settings.zone, &minutes, now_us) {
                    self.tell(&spot, Some(&alert), &change);
                }
            }
        }
    }

    /// Counts what was looked at in opening hours.
    fn cover(&mut self, rows: &[GoldMinute], now_us: i64) {
        let Some(opening) = &self.settings.opening else { return };
        self.book.cameras.note(rows, now_us);
        let last_us = (now_us - self.settings.grace_us).div_euclid(MINUTE_US) * MINUTE_US - MINUTE_US;
        self.counters.coverage = self.book.cameras.coverage(rows, opening, last_us);
    }

    /// Notes what is to be told.
    fn tell(&mut self, spot: &Spot, alert: Option<&AlertConfig>, change: &Change) {
        let notification = Notification::of(spot, alert, change);
        let status = notification.data.status;
        tracing::info!(alert = %spot.alert, status = status.word(), "{}", notification.data.text);
        *self.counters.told.entry((spot.alert.clone(), status.word())).or_default() += 1;
        self.told.insert(spot.clone(), notification.data.clone());
        if self.has_webhook {
            self.counters.dropped += self.book.add(notification) as u64;
        }
    }

    fn sensors(&self) -> Sensors {
        let gone = self.gone.iter().map(|spot| (spot.clone(), None));
        let watched = self.book.watched.iter().map(|(spot, watched)| {
            let told = self.told.get(spot).cloned();
            (spot.clone(), Some(SensorState { is_firing: watched.is_firing, told }))
        });
        gone.chain(watched).collect()
    }

    fn count(&mut self) -> NotifyCounters {
        let firing = self.settings.alerts.iter().map(|alert| {
            let of = |(spot, watched): &(&Spot, &Watched)| spot.alert == alert.name && watched.is_firing;
            (alert.name.clone(), i64::try_from(self.book.watched.iter().filter(of).count()).unwrap_or(i64::MAX))
        });
        self.counters.firing = firing.collect();
        self.counters.waiting = i64::try_from(self.book.waiting.len()).unwrap_or(i64::MAX);
        self.counters.clone()
    }
}

/// A task that watches gold and notifies.
pub struct Notifying {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Notifying {
    /// Begins to watch, where the configuration has alerts or opening hours; `None` where it has neither. Another
    /// process that has the same `notify.state` goes first: this one takes over when it ends.
    ///
    /// # Errors
    /// Returns an error, with found and wanted, for settings that don't fit together, and for a state that can't be
    /// kept.
    pub fn start(tables: &TableSettings, config: &Config, health: &Health) -> Result<Option<Self>, NotifyError> {
        let notify = &config.notify;
        if config.alerts.is_empty() && notify.opening_hours.is_none() {
            return Ok(None);
        }
        if !config.alerts.is_empty() && notify.webhook.is_none() && notify.mqtt.is_none() {
            let wanted = "it or notify.mqtt: alerts are configured and have nowhere to go";
            return Err(NotifyError::Config { key: "notify.webhook", wanted });
        }
        let zone = notify.timezone;
        let state = notify.state.clone().unwrap_or_else(|| config.data_dir.join("alerts.json"));
        let of_days = |between| Hours { zone, between: Some(between), days: notify.opening_days };
        let opening = notify.opening_hours.map(of_days);
        let grace = GRACE + config.ingest.commit_interval + config.refine.interval;
        let grace_us = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX).min(LATE_US);
        let settings = Settings { alerts: config.alerts.clone(), zone, opening, state, grace_us };
        let book = Book::open(&settings.state)?;
        let webhook = Webhook::of(notify)?;
        let mqtt = Mqtt::start(notify)?;
        let counters = Totals::of(METRICS);
        health.show(counters.clone());
        let (stop, stopped) = watch::channel(false);
        let told = Telling { webhook, mqtt, counters, health: health.clone() };
        let task = tokio::spawn(run(tables.clone(), settings, book, told, stopped));
        Ok(Some(Self { task, stop }))
    }

    /// Ends it: what isn't delivered yet waits for the next process.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "alerts for people in the shop ended badly");
        }
    }
}

/// The ways in which is told what happened.
struct Telling {
    webhook: Option<Webhook>,
    mqtt: Option<Mqtt>,
    counters: Totals<NotifyCounters>,
    health: Health,
}

fn now_us() -> i64 {
    Timestamp::from(SystemTime::now()).as_micros()
}

/// Returns the wait until gold may hold the next whole minute.
fn until_next_look(now_us: i64, grace_us: i64) -> Duration {
    let since = (now_us - grace_us).rem_euclid(MINUTE_US);
    Duration::from_micros(u64::try_from(MINUTE_US - since).unwrap_or_default())
}

async fn run(
    tables: TableSettings,
    settings: Settings,
    mut book: Option<Book>,
    mut telling: Telling,
    mut stopped: watch::Receiver<bool>,
) {
    let mut lake = None;
    let mut watching = None;
    let (mut look_again, mut send_again) = (DoublingWait::new(AGAIN.0, AGAIN.1), DoublingWait::new(AGAIN.0, AGAIN.1));
    let (mut next_look, mut next_send) = (Instant::now(), Instant::now());
    while !*stopped.borrow_and_update() {
        if next_look <= Instant::now() {
            let wait =
                match look(&tables, &settings, &mut lake, &mut book, &mut watching, telling.webhook.is_some()).await {
                    Ok(()) => {
                        look_again.reset();
                        telling.health.ready(NOTIFY);
                        until_next_look(now_us(), settings.grace_us)
                    }
                    Err(error) => {
                        tracing::warn!(%error, "could not look for alerts, tries again");
                        telling.health.degraded(NOTIFY, error.to_string());
                        lake = None;
                        look_again.take()
                    }
                };
            next_look = Instant::now() + wait;
        }
        if let Some(watching) = &mut watching {
            if next_send <= Instant::now() {
                match telling.send(watching).await {
                    Some(false) => next_send = Instant::now() + send_again.take(),
                    _ => send_again.reset(),
                }
            }
            telling.show(watching);
        }
        let has_more = watching.as_ref().is_some_and(|watching: &Watching| !watching.book.waiting.is_empty());
        let due = if has_more && telling.webhook.is_some() { next_look.min(next_send) } else { next_look };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = telling.broker_changed() => {}
            changed = stopped.changed() => if changed.is_err() { break },
        }
    }
    if let Some(mqtt) = telling.mqtt {
        mqtt.stop().await;
    }
}

/// Looks at gold once and remembers what is to be told, before anybody is.
async fn look(
    tables: &TableSettings,
    settings: &Settings,
    lake: &mut Option<Lake>,
    book: &mut Option<Book>,
    watching: &mut Option<Watching>,
    has_webhook: bool,
) -> Result<(), NotifyError> {
    let now_us = now_us();
    let watching = match watching {
        Some(watching) => watching,
        None => {
            let opened = match book.take() {
                Some(book) => Some(book),
                None => Book::open(&settings.state)?,
            };
            let Some(book) = opened else {
                tracing::debug!(state = %settings.state.display(), "another process watches");
                return Ok(());
            };
            let mut begun = Watching::of(settings.clone(), book, has_webhook);
            begun.forget_others(now_us);
            watching.insert(begun)
        }
    };
    let open = match lake {
        Some(lake) => lake,
        None => lake.insert(tables.open_to_read().await?),
    };
    let rows = gold::rows(open, &settings.alerts, watching.begins_us(now_us), now_us).await?;
    watching.judge(&rows, now_us);
    watching.cover(&rows, now_us);
    Ok(watching.book.save()?)
}

impl Telling {
    /// Sends the oldest notification that waits, if there is one. Returns whether it was taken.
    async fn send(&self, watching: &mut Watching) -> Option<bool> {
        let (webhook, notification) = (self.webhook.as_ref()?, watching.book.waiting.front()?);
        match webhook.send(notification).await {
            Ok(()) => {
                watching.book.waiting.pop_front();
                watching.counters.delivered += 1;
                if let Err(error) = watching.book.save() {
                    tracing::warn!(%error, "could not note that a notification was taken: a restart sends it again");
                }
                Some(true)
            }
            Err(error) => {
                watching.counters.failures += 1;
                tracing::warn!(%error, waiting = watching.book.waiting.len(), "the webhook took no notification, tries again");
                Some(false)
            }
        }
    }

    /// Waits until the broker goes or comes back.
    async fn broker_changed(&mut self) {
        match &mut self.mqtt {
            Some(mqtt) => mqtt.changed().await,
            None => std::future::pending().await,
        }
    }

    fn show(&mut self, watching: &mut Watching) {
        if let Some(mqtt) = &self.mqtt {
            mqtt.tell(watching.sensors());
            let trouble = mqtt.trouble();
            watching.counters.is_mqtt_away = trouble.is_some();
            match trouble {
                Some(trouble) => self.health.degraded("notify.mqtt", trouble),
                None => self.health.ready("notify.mqtt"),
            }
        }
        self.counters.latest().clone_from(&watching.count());
    }
}

impl From<LakeError> for NotifyError {
    fn from(error: LakeError) -> Self {
        Self::Tables(error.to_string())
    }
}
