//! Fuzzing on stable Rust: inputs are made from a checked-in corpus by a seeded generator, until a budget of time is used up.
//!
//! A target is a test of `tests/`: it gives [`fuzz`] a name, words that its format knows, and a function that panics where
//! something is wrong. Each file of `corpus/NAME/` is tried first, so what was found once stays found. An input that fails is
//! made smaller while it fails, stored there as `found-CRC`, and named with the seed.
//!
//! `RVA_FUZZ_SECONDS` and `RVA_FUZZ_INPUTS` are the budget of each target (5 s and 20,000 where they aren't set), whichever is used up
//! first. Without `RVA_FUZZ_SEED` the seed is always the same, so that a test that passes passes again; `make fuzz` gives another one.

mod mutate;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Longest input, in bytes.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// A single input that takes longer has found something.
const INPUT_TIME_MAX: Duration = Duration::from_secs(5);

/// Tries of making a found input smaller.
const SHRINKS_MAX: usize = 2_000;

/// Something that reads foreign bytes.
pub struct Target {
    /// Its folder below `corpus/`.
    pub name: &'static str,
    /// What its format is made of; put into inputs here and there.
    pub words: &'static [&'static str],
    /// Reads an input. A panic is a finding; wrong input that is refused is none.
    pub read: fn(&[u8]),
}

/// Feeds a target until its time is used up, and prints how many inputs that were.
///
/// # Panics
/// An input failed; names its file and the seed.
pub fn fuzz(target: &Target) {
    let budget = Duration::from_secs(variable("RVA_FUZZ_SECONDS").unwrap_or(5));
    let inputs_max = variable("RVA_FUZZ_INPUTS").unwrap_or(20_000);
    let seed = variable("RVA_FUZZ_SEED").unwrap_or(1);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    println!("fuzz {}: seed {seed}", target.name);
    let mut corpus = corpus(&folder);
    assert!(!corpus.is_empty(), "found no corpus in {}, wanted at least one input", folder.display());
    for input in &corpus {
        check(target, input, seed, &folder);
    }
    let (began, mut random) = (Instant::now(), fastrand::Rng::with_seed(seed));
    let (mut inputs, mut slowest, kept) = (corpus.len() as u64, Duration::ZERO, corpus.len());
    while began.elapsed() < budget && inputs < inputs_max {
        let input = mutate::input(&corpus, target.words, &mut random, INPUT_BYTES_MAX);
        slowest = slowest.max(check(target, &input, seed, &folder));
        inputs += 1;
        // Some inputs become the beginnings of others, so that changes add up.
        if random.u32(..1000) == 0 {
            match corpus.len() < kept + 200 {
                true => corpus.push(input),
                false => corpus[kept + random.usize(..200)] = input,
            }
        }
    }
    println!(
        "fuzz {}: {inputs} inputs in {:.1} s, none failed, the slowest took {:.1} ms (seed {seed}, corpus {kept})",
        target.name,
        began.elapsed().as_secs_f64(),
        slowest.as_secs_f64() * 1000.0
    );
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("found {name}={text}, wanted a whole number")))
}

fn corpus(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

/// How long an input took.
fn check(target: &Target, input: &[u8], seed: u64, folder: &std::path::Path) -> Duration {
    let began = Instant::now();
    if !fails(target, input) {
        return began.elapsed();
    }
    let small = shrink(target, input);
    let path = folder.join(format!("found-{:08x}", crc32c::crc32c(&small)));
    let stored = fs::write(&path, &small).map_or_else(|error| error.to_string(), |()| path.display().to_string());
    let shown = String::from_utf8_lossy(&small[..small.len().min(300)]).escape_debug().to_string();
    panic!("fuzz {}: an input of {} bytes failed (seed {seed}), stored in {stored}: {shown}", target.name, small.len());
}

fn fails(target: &Target, input: &[u8]) -> bool {
    let began = Instant::now();
    catch_unwind(AssertUnwindSafe(|| (target.read)(input))).is_err() || began.elapsed() > INPUT_TIME_MAX
}

/// The smallest input found that still fails: halves, quarters, … and single bytes are left out.
fn shrink(target: &Target, input: &[u8]) -> Vec<u8> {
    let (mut small, mut tries) = (input.to_vec(), 0);
    let mut length = small.len().div_ceil(2).max(1);
    loop {
        let (mut at, mut is_smaller) = (0, false);
        while at < small.len() && tries < SHRINKS_MAX {
            let mut shorter = small.clone();
            shorter.drain(at..(at + length).min(small.len()));
            tries += 1;
            if fails(target, &shorter) {
                (small, is_smaller) = (shorter, true);
            } else {
                at += length;
            }
        }
        match (length, is_smaller) {
            _ if tries >= SHRINKS_MAX => return small,
            (1, false) => return small,
            (1, true) => {}
            _ => length = length.div_ceil(2),
        }
    }
}
