//! Makes inputs from others.

use fastrand::Rng;

/// Bytes that formats trip over.
const ODD: [&[u8]; 14] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc3\x28",
    b"\xf0\x9f\x98\x80",
    b"\\u0000",
    b"\"",
    b"%00",
    b"-1",
    b"9223372036854775808",
    b"1e999",
    b"\xe2\x80\xae",
];

/// An input: one of the corpus with a few changes, seldom two joined, more seldom nothing but noise.
pub(crate) fn input(corpus: &[Vec<u8>], words: &[&str], random: &mut Rng, bytes_max: usize) -> Vec<u8> {
    let mut bytes = match random.u32(..100) {
        0 => (0..random.usize(..200)).map(|_| random.u8(..)).collect(),
        1..10 => {
            let (a, b) = (pick(corpus, random), pick(corpus, random));
            let (cut_a, cut_b) = (random.usize(..=a.len()), random.usize(..=b.len()));
            [&a[..cut_a], &b[cut_b..]].concat()
        }
        _ => pick(corpus, random).clone(),
    };
    for _ in 0..=random.usize(..6) {
        change(&mut bytes, words, random);
    }
    bytes.truncate(bytes_max);
    bytes
}

fn pick<'a>(corpus: &'a [Vec<u8>], random: &mut Rng) -> &'a Vec<u8> {
    &corpus[random.usize(..corpus.len())]
}

fn change(bytes: &mut Vec<u8>, words: &[&str], random: &mut Rng) {
    let at = random.usize(..=bytes.len());
    let end = (at + random.usize(..32)).min(bytes.len());
    match random.u32(..8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.u32(..8),
        1 if at < bytes.len() => bytes[at] = random.u8(..),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let part = bytes[at..end].to_vec();
            let times = if random.u32(..20) == 0 { random.usize(..300) } else { 1 };
            bytes.splice(at..at, part.repeat(times));
        }
        5 => drop(bytes.splice(at..at, ODD[random.usize(..ODD.len())].iter().copied())),
        _ if !words.is_empty() => {
            let word = words[random.usize(..words.len())].bytes();
            bytes.splice(at..if random.bool() { at } else { end }, word);
        }
        _ => bytes.push(random.u8(..)),
    }
}
