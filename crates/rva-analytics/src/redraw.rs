//! Works out a camera's rows of `rva.zones` when somebody draws other shapes.
//!
//! A change closes the old row and opens a new one, from now on: what was judged before stays as it was. A shape that
//! says from when it is valid takes the place of what stood there since then, so the past is judged again.

use crate::{Shape, ZoneDefinition};
use rva_types::{CameraId, StoreId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A shape as somebody wants it from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The shape's name, unique among the shapes of a camera.
    pub name: Arc<str>,
    /// The polygon or line.
    pub shape: Shape,
    /// The first moment at which it is valid, in microseconds since 1970; `None`: now, or since when it is as it is.
    pub valid_from_us: Option<i64>,
}

/// Returns the rows of one camera after a change, in order of name and time. The same rows come back where `wanted` is
/// what they say already.
///
/// `rows` are those of the camera alone, `now_us` is the moment of the change in microseconds since 1970. A shape that
/// isn't wanted any more ends now; one that was never valid before now is gone.
pub fn redraw(
    rows: &[ZoneDefinition],
    store: &StoreId,
    camera: &CameraId,
    wanted: &[Drawn],
    now_us: i64,
) -> Vec<ZoneDefinition> {
    let mut names: BTreeMap<&Arc<str>, Vec<ZoneDefinition>> = BTreeMap::new();
    for row in rows {
        names.entry(&row.name).or_default().push(row.clone());
    }
    let all: BTreeSet<&Arc<str>> = names.keys().copied().chain(wanted.iter().map(|drawn| &drawn.name)).collect();
    let mut redrawn = Vec::new();
    for name in all {
        let mut old = names.remove(name).unwrap_or_default();
        old.sort_by_key(|row| row.valid_from_us);
        let Some(drawn) = wanted.iter().find(|drawn| drawn.name == *name) else {
            redrawn.extend(cut(old, now_us));
            continue;
        };
        if is_drawn(&old, drawn, now_us) {
            redrawn.extend(old);
            continue;
        }
        let from_us = drawn.valid_from_us.unwrap_or(now_us);
        // Of the same shape another beginning is a correction, not a change.
        let is_moved = |row: &ZoneDefinition| {
            drawn.valid_from_us.is_some() && row.valid_to_us.is_none() && is_same(&row.shape, &drawn.shape)
        };
        redrawn.extend(cut(old.into_iter().filter(|row| !is_moved(row)).collect(), from_us));
        redrawn.push(ZoneDefinition {
            store: store.clone(),
            camera: camera.clone(),
            name: Arc::clone(name),
            shape: drawn.shape.clone(),
            valid_from_us: from_us,
            valid_to_us: None,
        });
    }
    redrawn
}

/// Returns whether rows of one name, in order of time, say what is wanted already.
fn is_drawn(rows: &[ZoneDefinition], drawn: &Drawn, now_us: i64) -> bool {
    let Some((last, before)) = rows.split_last() else { return false };
    let starts = match drawn.valid_from_us {
        Some(from_us) => last.valid_from_us == from_us,
        None => last.valid_from_us <= now_us,
    };
    let is_alone = before.iter().all(|row| row.valid_to_us.is_some_and(|end| end <= last.valid_from_us));
    starts && is_alone && last.valid_to_us.is_none() && is_same(&last.shape, &drawn.shape)
}

/// Returns whether two shapes are written the same: a text that is read, written and read again is the same shape.
fn is_same(one: &Shape, other: &Shape) -> bool {
    let written = |shape: &Shape| (shape.kind(), shape.points());
    let (one, other) = (written(one), written(other));
    one == other
        || Shape::parse(one.0, &one.1).is_ok_and(|one| Shape::parse(other.0, &other.1).is_ok_and(|other| one == other))
}

/// Ends rows at a moment; those that begin then or later go.
fn cut(mut rows: Vec<ZoneDefinition>, at_us: i64) -> Vec<ZoneDefinition> {
    rows.retain(|row| row.valid_from_us < at_us);
    for row in &mut rows {
        row.valid_to_us = Some(row.valid_to_us.map_or(at_us, |end| end.min(at_us)));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 100;
    const LEFT: &str = "[[0.1,0.1],[0.4,0.1],[0.4,0.9]]";
    const RIGHT: &str = "[[0.6,0.1],[0.9,0.1],[0.9,0.9]]";

    fn ids() -> (StoreId, CameraId) {
        (StoreId::parse("s").unwrap(), CameraId::parse("c").unwrap())
    }

    fn row(name: &str, points: &str, from: i64, to: Option<i64>) -> ZoneDefinition {
        let (store, camera) = ids();
        let shape = Shape::parse("zone", points).unwrap();
        ZoneDefinition { store, camera, name: name.into(), shape, valid_from_us: from, valid_to_us: to }
    }

    fn drawn(name: &str, points: &str, from: Option<i64>) -> Drawn {
        Drawn { name: name.into(), shape: Shape::parse("zone", points).unwrap(), valid_from_us: from }
    }

    /// Redraws, and sees that the same drawing changes nothing any more, now and later.
    fn change(rows: &[ZoneDefinition], wanted: &[Drawn]) -> Vec<ZoneDefinition> {
        let (store, camera) = ids();
        let redrawn = redraw(rows, &store, &camera, wanted, NOW);
        for later in [NOW, NOW + 50] {
            assert_eq!(redraw(&redrawn, &store, &camera, wanted, later), redrawn, "the same drawing again");
        }
        redrawn
    }

    #[test]
    fn what_is_drawn_first_is_valid_from_now_on_or_from_when_it_says() {
        assert_eq!(change(&[], &[drawn("till", LEFT, None)]), [row("till", LEFT, NOW, None)]);
        assert_eq!(change(&[], &[drawn("till", LEFT, Some(7))]), [row("till", LEFT, 7, None)]);
        assert_eq!(change(&[], &[drawn("till", LEFT, Some(700))]), [row("till", LEFT, 700, None)]);
    }

    #[test]
    fn what_moves_closes_the_old_row_and_opens_a_new_one() {
        let old = [row("till", LEFT, 10, None)];
        let moved = change(&old, &[drawn("till", RIGHT, None)]);
        assert_eq!(moved, [row("till", LEFT, 10, Some(NOW)), row("till", RIGHT, NOW, None)]);
        // Back to where it was: as it is again, not as if it had never moved.
        let back = change(&moved, &[drawn("till", LEFT, Some(150))]);
        let wanted =
            [row("till", LEFT, 10, Some(NOW)), row("till", RIGHT, NOW, Some(150)), row("till", LEFT, 150, None)];
        assert_eq!(back, wanted);
        let line = Drawn { shape: Shape::parse("line", "[[0.1,0.1],[0.2,0.9]]").unwrap(), ..drawn("till", LEFT, None) };
        let turned = change(&old, std::slice::from_ref(&line));
        assert_eq!(turned[0], row("till", LEFT, 10, Some(NOW)));
        assert_eq!((&turned[1].shape, turned[1].valid_from_us, turned.len()), (&line.shape, NOW, 2));
    }

    #[test]
    fn what_is_removed_or_renamed_ends_now_and_keeps_its_past() {
        let old = [row("shelf", RIGHT, 20, Some(60)), row("till", LEFT, 10, None)];
        let closed = [row("shelf", RIGHT, 20, Some(60)), row("till", LEFT, 10, Some(NOW))];
        assert_eq!(change(&old, &[]), closed);
        let renamed = change(&old, &[drawn("desk", LEFT, None)]);
        assert_eq!(renamed, [vec![row("desk", LEFT, NOW, None)], closed.to_vec()].concat());
        assert_eq!(change(&[row("till", LEFT, 400, None)], &[]), [], "it was never valid");
    }

    #[test]
    fn a_shape_that_says_since_when_takes_the_place_of_what_stood_there() {
        let old = [row("till", LEFT, 10, Some(30)), row("till", RIGHT, 30, Some(60)), row("till", LEFT, 60, None)];
        let past = change(&old, &[drawn("till", RIGHT, Some(20))]);
        assert_eq!(past, [row("till", LEFT, 10, Some(20)), row("till", RIGHT, 20, None)]);
        let all = change(&old, &[drawn("till", RIGHT, Some(0))]);
        assert_eq!(all, [row("till", RIGHT, 0, None)]);
    }

    #[test]
    fn another_beginning_of_the_same_shape_is_a_correction() {
        let old = [row("till", RIGHT, 5, Some(10)), row("till", LEFT, 10, None)];
        let later = change(&old, &[drawn("till", LEFT, Some(50))]);
        assert_eq!(later, [row("till", RIGHT, 5, Some(10)), row("till", LEFT, 50, None)]);
        let earlier = change(&old, &[drawn("till", LEFT, Some(7))]);
        assert_eq!(earlier, [row("till", RIGHT, 5, Some(7)), row("till", LEFT, 7, None)]);
        assert_eq!(change(&old, &[drawn("till", LEFT, None)]), old, "a beginning that isn't said stays");
    }

    #[test]
    fn a_zone_that_comes_again_has_two_rows_with_a_gap() {
        let again = change(&[row("till", LEFT, 10, Some(40))], &[drawn("till", LEFT, None)]);
        assert_eq!(again, [row("till", LEFT, 10, Some(40)), row("till", LEFT, NOW, None)]);
    }
}
