//! Kills by seed: of Pulsar, the catalog, the store, the ingest and the publisher, and worse, while events come. Totals
//! are kept in a file by seed, so that a run that was ended goes on where it was.

use crate::{
    publisher::Publisher,
    world::{Ingest, World, get},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rustix::process::Signal;
use rva_stack::{
    Stack,
    proxy::{Proxy, Then},
};
use rva_types::Position;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Long enough for a signal to hit between two steps of a commit.
const STEP_PAUSE: [&str; 2] = ["--step-pause", "5ms"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// SIGKILL of a server, which is then started again.
    Server(&'static str),
    /// SIGKILL of the ingest, half of the time at a step of a commit.
    Ingest,
    /// SIGKILL of who publishes.
    Publisher,
    /// The catalog does commits whose answers are lost.
    Answers,
    /// The ingest is stopped in the middle of a commit, the broker is killed, another ingest takes over and commits;
    /// then the first one goes on, and is killed at last.
    Zombie,
}

const PULSAR: Blow = Blow::Server("pulsar");
const CATALOG: Blow = Blow::Server("catalog");
const MINIO: Blow = Blow::Server("minio");

impl Blow {
    /// Who is killed by it.
    fn victims(self) -> &'static [&'static str] {
        match self {
            Self::Server("pulsar") => &["pulsar"],
            Self::Server("catalog") => &["catalog"],
            Self::Server(_) => &["minio"],
            Self::Ingest => &["ingest"],
            Self::Publisher => &["publisher"],
            Self::Answers => &[],
            Self::Zombie => &["pulsar", "ingest"],
        }
    }
}

/// A round: 20 kills and two spells of lost answers, in the seed's order.
const ROUND: &[(Blow, usize)] = &[
    (PULSAR, 2),
    (CATALOG, 4),
    (MINIO, 4),
    (Blow::Ingest, 4),
    (Blow::Publisher, 4),
    (Blow::Zombie, 1),
    (Blow::Answers, 2),
];

/// What came of a seed so far. Only rounds whose keys were compared are in it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Totals {
    rounds: u64,
    seconds: u64,
    kills: BTreeMap<String, u64>,
    zombies: u64,
    /// Commits that the catalog did and whose answer never came.
    answers_lost: u64,
    /// Events that the spool took.
    sent: usize,
    rows: usize,
    twice: usize,
    missing: usize,
    /// Rows that nobody sent.
    foreign: usize,
}

impl Totals {
    fn killed(&self) -> u64 {
        self.kills.values().sum()
    }
}

/// What a round found.
#[derive(Debug, Default)]
struct Found {
    totals: Totals,
    /// What must never be, in words.
    violations: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("found {name}={text}, wanted a whole number")))
}

fn load(path: &Path) -> BTreeMap<u64, Totals> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn save(path: &Path, all: &BTreeMap<u64, Totals>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec_pretty(all).unwrap()).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// One round: a topic of its own, and all blows of a deck.
struct Round<'a> {
    world: &'a World<'a>,
    proxy: &'a Proxy,
    arguments: Vec<&'a str>,
    runtime: tokio::runtime::Handle,
    rng: StdRng,
    ingest: Option<Ingest>,
    publisher: Publisher<'a>,
    found: Found,
}

impl Round<'_> {
    fn start_ingest(&self) -> Ingest {
        self.world.start(&self.arguments)
    }

    fn ingest(&mut self) -> &mut Ingest {
        self.ingest.as_mut().unwrap()
    }

    fn pause(&mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..milliseconds)));
    }

    /// Some time, or until something was committed: a pipeline that is hit again and again must still move.
    fn breathe(&mut self) {
        self.ingest().assert_runs();
        if self.rng.random_bool(0.5) {
            self.ingest().wait_for_next("committed up to");
        }
        self.pause(700);
    }

    /// Half of the time a few steps into a commit.
    fn aim(&mut self) {
        if self.rng.random_bool(0.5) {
            let steps = self.rng.random_range(1..12);
            self.ingest().wait_steps(steps, Duration::from_secs(10));
        }
    }

    fn strike(&mut self, blow: Blow) {
        self.breathe();
        match blow {
            Blow::Server(server) => {
                self.aim();
                self.world.stack.kill(server);
                self.pause(1000);
                self.world.stack.start(server);
            }
            Blow::Ingest => {
                self.aim();
                let said = self.ingest.take().unwrap().kill();
                self.check_fences(&said);
                self.check_acknowledged();
                self.ingest = Some(self.start_ingest());
            }
            Blow::Publisher => {
                self.publisher.kill();
                self.pause(300);
                self.publisher.go_on();
            }
            Blow::Answers => self.lose_answers(),
            Blow::Zombie => self.raise_zombie(),
        }
        for victim in blow.victims() {
            *self.found.totals.kills.entry((*victim).to_owned()).or_default() += 1;
        }
    }

    fn lose_answers(&mut self) {
        let lost = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let (counted, then) =
            (lost.clone(), if self.rng.random_bool(0.5) { Then::DoAndFail } else { Then::DoAndBreak });
        self.proxy.rule(move |head| {
            let is_commit = head.starts_with("POST ") && head.contains("/tables/bronze_raw");
            if is_commit && counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 3 { then } else { Then::Pass }
        });
        let end = Instant::now() + Duration::from_secs(20);
        while lost.load(std::sync::atomic::Ordering::SeqCst) < 3 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.proxy.rule(|_| Then::Pass);
        self.found.totals.answers_lost += lost.load(std::sync::atomic::Ordering::SeqCst).min(3);
        self.ingest().wait_for_next("committed up to");
    }

    fn raise_zombie(&mut self) {
        let mut first = self.ingest.take().unwrap();
        first.wait_for_next("files_closed");
        first.signal(Signal::STOP);
        // Its connections end with the broker, so that the next one is given the partitions.
        self.world.stack.kill("pulsar");
        self.world.stack.start("pulsar");
        let mut second = self.start_ingest();
        second.wait_for("committed up to");
        first.signal(Signal::CONT);
        first.wait_for_any(&["another worker advanced", "committed up to"]);
        first.kill();
        self.found.totals.zombies += 1;
        self.ingest = Some(second);
    }

    /// I6: an ingest that is alone and has committed once is never told that another was faster. One that believes an
    /// answer instead of the table meets its own commit.
    fn check_fences(&mut self, said: &[String]) {
        let own = said.iter().skip_while(|line| !line.contains("committed up to"));
        if let Some(line) = own.into_iter().find(|line| line.contains("another worker advanced")) {
            self.found.violations.push(format!("I6: an ingest that was alone met a foreign commit: {line}"));
        }
    }

    /// I5: the subscription's cursors are never ahead of the table. Nobody ingests now, so cursors stand still.
    fn check_acknowledged(&mut self) {
        let topic = self.world.topic.to_string().replace("://", "/");
        let admin = self.world.stack.get("PULSAR_ADMIN_URL").trim_start_matches("http://").to_owned();
        let partitions = 0..PARTITIONS;
        let cursors: Vec<_> = partitions
            .map(|partition| {
                let path = format!("/admin/v2/{topic}-partition-{partition}/internalStats");
                let answer = get(&admin, &path);
                let body = &answer[answer.find('{').unwrap_or_else(|| panic!("{path}: {answer}"))..];
                let end = body.rfind('}').unwrap();
                let stats: serde_json::Value = serde_json::from_str(&body[..=end]).unwrap();
                let text = stats["cursors"]["rva-ingest"]["markDeletePosition"].as_str();
                text.unwrap_or_else(|| panic!("{path}: no cursor in {stats}")).to_owned()
            })
            .collect();
        let table = self.runtime.block_on(self.world.offsets());
        for (partition, cursor) in (0..).zip(cursors) {
            let (ledger, entry) = cursor.split_once(':').unwrap();
            // Before a ledger's first entry there is nothing that was acknowledged in it.
            let Ok(entry) = entry.parse::<u64>() else { continue };
            let cursor = Position { ledger: ledger.parse().unwrap(), entry, batch_index: -1 };
            let held = table.get(&partition.to_string());
            if held.is_none_or(|held| (held.ledger, held.entry) < (cursor.ledger, cursor.entry)) {
                let held = held.map_or_else(|| "nothing".to_owned(), |held| held.to_string());
                let text = format!("I5: partition {partition} is acknowledged up to {cursor}, the table holds {held}");
                self.found.violations.push(text);
            }
        }
    }

    /// The end: all that was sent is read, and compared.
    fn finish(mut self) -> Found {
        self.publisher.finish();
        let said = self.ingest.take().unwrap().kill();
        self.check_fences(&said);
        let drain: Vec<_> = ["--drain"].into_iter().chain(self.arguments.iter().copied()).collect();
        self.world.run(&drain);
        let (wanted, allowed) = self.publisher.keys();
        let rows = self.runtime.block_on(self.world.table());
        let found: BTreeSet<_> = rows.iter().cloned().collect();
        let totals = &mut self.found.totals;
        totals.sent = wanted.len() + found.difference(&wanted).filter(|key| allowed.contains(*key)).count();
        totals.rows = rows.len();
        totals.twice = rows.len() - found.len();
        totals.missing = wanted.difference(&found).count();
        totals.foreign = found.difference(&allowed).count();
        if (totals.twice, totals.missing, totals.foreign) != (0, 0, 0) {
            self.found.violations.push(format!("keys of topic {}: {:?}", self.world.topic, self.found.totals));
        }
        self.found
    }
}

const PARTITIONS: u32 = 4;

/// Strikes a deck in an order of its own.
async fn play(stack: &Stack, deck: &[(Blow, usize)], rng: StdRng, mutant: Option<&str>, end: Option<Instant>) -> Found {
    let proxy = Proxy::start(stack.get("ICEBERG_CATALOG_URI")).await.unwrap();
    let mut world = World::new(stack);
    world.set("ICEBERG_CATALOG_URI", &proxy.uri);
    let spool = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let runtime = tokio::runtime::Handle::current();
    let mut found = tokio::task::block_in_place(|| {
        world.run(&["--init"]);
        let mut arguments = STEP_PAUSE.to_vec();
        arguments.extend(mutant.into_iter().flat_map(|mutant| ["--mutant", mutant]));
        let mut round = Round {
            world: &world,
            proxy: &proxy,
            arguments,
            runtime,
            rng,
            ingest: None,
            publisher: Publisher::start(&world, spool.path()),
            found: Found::default(),
        };
        round.ingest = Some(round.start_ingest());
        let mut deck: Vec<_> = deck.iter().flat_map(|(blow, times)| std::iter::repeat_n(*blow, *times)).collect();
        deck.shuffle(&mut round.rng);
        for blow in deck {
            if end.is_some_and(|end| Instant::now() >= end) || !round.found.violations.is_empty() {
                break;
            }
            round.strike(blow);
        }
        round.finish()
    });
    found.totals.rounds = 1;
    found.totals.seconds = began.elapsed().as_secs();
    found
}

fn add(totals: &mut Totals, more: &Totals) {
    totals.rounds += more.rounds;
    totals.seconds += more.seconds;
    totals.zombies += more.zombies;
    totals.answers_lost += more.answers_lost;
    totals.sent += more.sent;
    totals.rows += more.rows;
    totals.twice += more.twice;
    totals.missing += more.missing;
    totals.foreign += more.foreign;
    for (victim, count) in &more.kills {
        *totals.kills.entry(victim.clone()).or_default() += count;
    }
}

/// A round has its own order, which doesn't hang on where an earlier run ended.
fn order(seed: u64, round: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(round))
}

#[tokio::test(flavor = "multi_thread")]
async fn torture() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    let seed = number("RVA_TORTURE_SEED").unwrap_or(1);
    let (wanted, minutes) = (number("RVA_TORTURE_KILLS"), number("RVA_TORTURE_MINUTES"));
    let wanted = wanted.unwrap_or(if minutes.is_some() { u64::MAX } else { 20 });
    let end = minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("RVA_TORTURE_STATE").map_or_else(|| folder.path().join("torture.json"), PathBuf::from);
    let mut all = load(&path);
    let mut is_first = true;
    while all.entry(seed).or_default().killed() < wanted && end.is_none_or(|end| Instant::now() < end) {
        if !std::mem::take(&mut is_first) {
            // A table that grows through all rounds would measure something else. Nobody else uses it: it is our turn.
            World::new(stack).drop_tables().await;
        }
        let totals = all.entry(seed).or_default();
        let found = play(stack, ROUND, order(seed, totals.rounds), None, end).await;
        add(totals, &found.totals);
        println!(
            "torture: RVA_TORTURE_SEED={seed}: {} kills: {}",
            totals.killed(),
            serde_json::to_string(totals).unwrap()
        );
        save(&path, &all);
        assert_eq!(found.violations, [] as [String; 0]);
    }
    assert!(all[&seed].sent > 0, "nothing was sent");
}

/// The torture proves itself: without one of the rules it fails.
async fn is_caught(mutant: &str, blow: Blow, invariant: &str) {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    for round in 0..4 {
        let found = play(stack, &[(blow, 4)], order(99, round), Some(mutant), None).await;
        if let Some(violation) = found.violations.first() {
            println!("mutant {mutant}: caught in round {round} by {violation}");
            assert!(found.violations.iter().any(|text| text.starts_with(invariant)), "{:?}", found.violations);
            return;
        }
    }
    panic!("{mutant} survived 16 times {blow:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_without_a_fence_is_caught() {
    is_caught("no-fence", Blow::Zombie, "keys").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_without_a_reload_is_caught() {
    is_caught("no-reload", Blow::Answers, "I6").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutant_that_acknowledges_first_is_caught() {
    is_caught("acknowledge-first", Blow::Ingest, "I5").await;
}
