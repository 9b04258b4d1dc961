//! The search for files that may hold keys, by the bounds that the manifests have of them; no file is read for it.
//!
//! Many files and many runs aren't compared each with each: files of the same runs and cameras, as the commits of a store
//! write them one after another, are looked at together, and their bounds of frame indexes are searched as a sorted list.

use crate::files::{FileEntry, Span};
use ahash::{HashMap, HashMapExt};
use std::sync::Arc;

/// Frame indexes of one run and camera that are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece<'a> {
    pub run: &'a str,
    pub camera: &'a str,
    pub first: i64,
    pub last: i64,
}

/// The answer of the bounds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The files that may hold any frame of a piece.
    pub files: Vec<Arc<FileEntry>>,
    /// For each piece the first and the last frame index between which none but those files may hold keys of its run and
    /// camera.
    pub free: Vec<(i64, i64)>,
}

/// A file by its bounds of frame indexes.
#[derive(Debug)]
struct Frames<'a> {
    low: i64,
    high: i64,
    file: &'a Arc<FileEntry>,
    is_found: bool,
}

/// Files of the same runs and cameras, in the order of their frame indexes.
#[derive(Debug)]
struct Group<'a> {
    files: Vec<Frames<'a>>,
    low: i64,
    high: i64,
    /// Whether a file that begins later ends later, too, as those of commits after each other do.
    is_sorted: bool,
}

impl<'a> Group<'a> {
    fn of(mut files: Vec<Frames<'a>>) -> Self {
        files.sort_unstable_by_key(|file| (file.low, file.high));
        let low = files.first().map_or(i64::MAX, |file| file.low);
        let high = files.iter().map(|file| file.high).max().unwrap_or(i64::MIN);
        let is_sorted = files.is_sorted_by_key(|file| file.high);
        Self { files, low, high, is_sorted }
    }

    /// Marks the files that may hold one of the frame indexes, and narrows `free` to where the others don't reach.
    fn look(&mut self, first: i64, last: i64, free: &mut (i64, i64)) {
        if self.high < first {
            free.0 = free.0.max(self.high.saturating_add(1));
        } else if last < self.low {
            free.1 = free.1.min(self.low.saturating_sub(1));
        } else if self.is_sorted {
            let behind = self.files.partition_point(|file| file.low <= last);
            let before = self.files[..behind].partition_point(|file| file.high < first);
            if let Some(file) = before.checked_sub(1).and_then(|at| self.files.get(at)) {
                free.0 = free.0.max(file.high.saturating_add(1));
            }
            if let Some(file) = self.files.get(behind) {
                free.1 = free.1.min(file.low.saturating_sub(1));
            }
            self.files[before..behind].iter_mut().for_each(|file| file.is_found = true);
        } else {
            for file in &mut self.files {
                if file.high < first {
                    free.0 = free.0.max(file.high.saturating_add(1));
                } else if last < file.low {
                    free.1 = free.1.min(file.low.saturating_sub(1));
                } else {
                    file.is_found = true;
                }
            }
        }
    }
}

/// Returns the places of those of sorted texts that a span leaves room for.
fn within<'t, T>(sorted: &[T], span: &Span, text: impl Fn(&T) -> &'t str) -> std::ops::Range<usize> {
    match span {
        Span::Text(low, high) => {
            let begin = sorted.partition_point(|value| text(value) < &**low);
            let end = sorted.partition_point(|value| text(value) <= &**high);
            // Bounds that another engine turned round leave room for nothing.
            begin..end.max(begin)
        }
        Span::Number(..) | Span::Unknown => 0..sorted.len(),
    }
}

/// An order of the pieces.
struct Order {
    /// The pieces in this order.
    sorted: Vec<usize>,
    /// The place of each piece in it.
    places: Vec<usize>,
}

impl Order {
    fn of<K: Ord>(count: usize, key: impl Fn(usize) -> K) -> Self {
        let mut sorted: Vec<usize> = (0..count).collect();
        sorted.sort_unstable_by_key(|at| key(*at));
        let mut places = vec![0; count];
        for (place, at) in sorted.iter().enumerate() {
            places[*at] = place;
        }
        Self { sorted, places }
    }
}

/// Finds the files that may hold keys of the pieces.
pub(crate) fn search<'a>(files: impl Iterator<Item = &'a Arc<FileEntry>>, pieces: &[Piece<'_>]) -> Found {
    let mut found = Found { files: Vec::new(), free: vec![(i64::MIN, i64::MAX); pieces.len()] };
    let by_run = Order::of(pieces.len(), |at| pieces[at]);
    let by_camera = Order::of(pieces.len(), |at| pieces[at].camera);
    let (Some(first), Some(last)) = (by_run.sorted.first(), by_run.sorted.last()) else { return found };
    let (first_run, last_run) = (pieces[*first].run, pieces[*last].run);

    let mut groups: HashMap<(&Span, &Span), Vec<Frames<'a>>> = HashMap::new();
    for file in files {
        let (runs, of_cameras, frames) = match &file.spans[..] {
            [runs, of_cameras, frames] => (runs, of_cameras, frames),
            _ => (&Span::Unknown, &Span::Unknown, &Span::Unknown),
        };
        if let Span::Text(low, high) = runs
            && (last_run < &**low || &**high < first_run)
        {
            continue;
        }
        let (low, high) = match frames {
            Span::Number(low, high) => (*low, *high),
            Span::Text(..) | Span::Unknown => (i64::MIN, i64::MAX),
        };
        if low <= high {
            groups.entry((runs, of_cameras)).or_default().push(Frames { low, high, file, is_found: false });
        }
    }
    for ((runs, of_cameras), files) in groups {
        let of_runs = within(&by_run.sorted, runs, |at| pieces[*at].run);
        let of_cameras = within(&by_camera.sorted, of_cameras, |at| pieces[*at].camera);
        if of_runs.is_empty() || of_cameras.is_empty() {
            continue;
        }
        let mut group = Group::of(files);
        // The fewer of the two are gone through: a store's runs began at any time, but its cameras have names alike.
        let (fewer, others, range) = match of_runs.len() < of_cameras.len() {
            true => (&by_run.sorted[of_runs], &by_camera, of_cameras),
            false => (&by_camera.sorted[of_cameras], &by_run, of_runs),
        };
        for at in fewer {
            if range.contains(&others.places[*at]) {
                group.look(pieces[*at].first, pieces[*at].last, &mut found.free[*at]);
            }
        }
        found.files.extend(group.files.into_iter().filter(|file| file.is_found).map(|found| Arc::clone(found.file)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 6] = ["a", "b", "b\0", "bb", "c", "\u{10ffff}"];
    const FRAMES: [i64; 9] = [i64::MIN, -70_000, -1, 0, 7, 65_535, 65_536, 200_000, i64::MAX];

    fn file(runs: Span, cameras: Span, frames: Span) -> Arc<FileEntry> {
        Arc::new(FileEntry { path: "x".into(), size: 1, spans: vec![runs, cameras, frames] })
    }

    fn text() -> impl Strategy<Value = Span> {
        // Also bounds that are turned round, and none.
        prop_oneof![
            9 => (0..NAMES.len(), 0..NAMES.len()).prop_map(|(low, high)| Span::Text(NAMES[low].into(), NAMES[high].into())),
            1 => Just(Span::Unknown),
        ]
    }

    fn number() -> impl Strategy<Value = Span> {
        prop_oneof![
            9 => (0..FRAMES.len(), 0..FRAMES.len()).prop_map(|(low, high)| Span::Number(FRAMES[low], FRAMES[high])),
            1 => Just(Span::Unknown),
        ]
    }

    fn piece() -> impl Strategy<Value = Piece<'static>> {
        (0..NAMES.len(), 0..NAMES.len(), 0..FRAMES.len(), 0..FRAMES.len()).prop_map(|(run, camera, one, other)| Piece {
            run: NAMES[run],
            camera: NAMES[camera],
            first: FRAMES[one.min(other)],
            last: FRAMES[one.max(other)],
        })
    }

    fn may_hold(file: &FileEntry, piece: &Piece<'_>, first: i64, last: i64) -> bool {
        let [runs, cameras, frames] = &file.spans[..] else { return true };
        let is_turned = matches!(frames, Span::Number(low, high) if high < low);
        let names = runs.may_hold_text(piece.run) && cameras.may_hold_text(piece.camera);
        names && !is_turned && frames.may_hold_any(first, last)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]
        /// Each file beside each piece, as the bounds say it one by one.
        #[test]
        fn what_is_found_is_what_the_bounds_of_each_file_allow(
            files in proptest::collection::vec((text(), text(), number()), 0..9),
            pieces in proptest::collection::vec(piece(), 0..6),
        ) {
            let files: Vec<_> = files.into_iter().map(|(runs, cameras, frames)| file(runs, cameras, frames)).collect();
            let found = search(files.iter(), &pieces);
            for file in &files {
                let allowed = pieces.iter().any(|piece| may_hold(file, piece, piece.first, piece.last));
                prop_assert_eq!(found.files.iter().any(|found| Arc::ptr_eq(found, file)), allowed);
            }
            for (piece, (first, last)) in pieces.iter().zip(&found.free) {
                prop_assert!(*first <= piece.first && piece.last <= *last, "a piece is in what is free around it");
                for file in files.iter().filter(|file| !may_hold(file, piece, piece.first, piece.last)) {
                    prop_assert!(!may_hold(file, piece, *first, *last), "{file:?} reaches into {first}..={last} of {piece:?}");
                }
                // As wide as can be: right outside of it, a file may hold keys.
                let reaches = |frame: i64| files.iter().any(|file| may_hold(file, piece, frame, frame));
                prop_assert!(*first == i64::MIN || reaches(*first - 1));
                prop_assert!(*last == i64::MAX || reaches(*last + 1));
            }
        }
    }

    #[test]
    fn twenty_thousand_files_and_twenty_thousand_cameras_are_not_compared_each_with_each() {
        let name = |number: i64| format!("{number:05}");
        let names: Vec<String> = (0..20_000).map(name).collect();
        let files: Vec<_> = names
            .iter()
            .flat_map(|name| {
                let text = Span::Text(name.as_str().into(), name.as_str().into());
                (0..10).map(move |at| file(text.clone(), text.clone(), Span::Number(at, at)))
            })
            .collect();
        let pieces: Vec<_> = names.iter().map(|name| Piece { run: name, camera: name, first: 10, last: 20 }).collect();
        let began = std::time::Instant::now();
        let found = search(files.iter(), &pieces);
        assert!(found.files.is_empty());
        assert!(found.free.iter().all(|free| *free == (10, i64::MAX)));
        // Each with each is 4,000,000,000 comparisons: minutes.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}
