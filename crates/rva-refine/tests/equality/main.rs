//! Gold equals its defining SQL, however bronze grew.
#![allow(clippy::unwrap_used, reason = "a world that can't be built is a failed test")]

mod backups;
mod bad_input;
mod why;
mod world;

use rva_refine::Stepped;
use tempfile::tempdir;
use world::{Bronze, Random, T0, assert_equal, draw, film, open, refine, shape, sql};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn every_table_equals_its_definition_after_each_step_in_any_order_of_the_data() {
    block_on(async {
        let folder = tempdir().unwrap();
        let lake = open(folder.path()).await;
        let mut random = Random(7);
        // Two shops and three cameras; one is offline at first and sends its spool later; a run comes before the one it
        // followed.
        let mut parts = Vec::new();
        for (store, camera, run, start) in [
            ("a", "door", "run-1", T0),
            ("a", "till", "run-2", T0 + 120_000_000),
            ("b/é", "door", "run-3", T0),
            ("a", "door", "run-4", T0 + 300_000_000),
            ("a", "door", "run-0", T0 - 3_600_000_000),
        ] {
            let rows = film(&mut random, store, camera, run, start, 500.0);
            parts.extend(rows.chunks(120).map(<[_]>::to_vec).collect::<Vec<_>>());
        }
        for at in (1..parts.len()).rev() {
            parts.swap(at, random.below(at as u64 + 1) as usize);
        }
        let mut bronze = Bronze::of(&lake);
        let mut job = refine(&lake).await;
        assert_eq!(job.step().await.unwrap(), Stepped::Idle, "nothing is there");
        let mut compared = 0;
        // Shapes drawn before the first frame, moved within the data, and drawn later for the past.
        let line = |name: &str, points: &str, from: i64, to: Option<i64>| shape("door", name, "line", points, from, to);
        let first = line("middle", "[[0.5,0.05],[0.45,0.95]]", 0, None);
        let zone = |name: &str, points: &str, from: i64, to: Option<i64>| shape("door", name, "zone", points, from, to);
        let shelf = "[[0.2,0.3],[0.7,0.3],[0.7,0.95],[0.45,0.5],[0.2,0.95]]";
        draw(&lake, vec![first.clone(), zone("shelf", shelf, 0, None)]).await;
        for (at, rows) in parts.into_iter().enumerate() {
            bronze.append(rows).await;
            if at % 7 == 3 {
                // Another process goes on.
                job = refine(&lake).await;
            }
            if at == 5 {
                let moved = T0 + 200_000_000;
                draw(
                    &lake,
                    vec![
                        line("middle", "[[0.5,0.05],[0.45,0.95]]", 0, Some(moved)),
                        line("middle", "[[0.3,0.05],[0.35,0.95]]", moved, None),
                        line("past", "[[0.1,0.6],[0.9,0.7]]", T0 - 4_000_000_000, None),
                        zone("shelf", shelf, 0, Some(moved)),
                        zone("shelf", "[[0.3,0.3],[0.9,0.3],[0.9,1],[0.3,1]]", moved, None),
                        zone("yesterday", "[[0,0],[1,0],[1,1],[0,1]]", T0 - 4_000_000_000, Some(moved)),
                    ],
                )
                .await;
            }
            if at % 4 == 0 {
                job.drain().await.unwrap();
                assert_eq!(job.step().await.unwrap(), Stepped::Idle, "nothing new is no commit");
                compared += assert_equal(&lake, &format!("part {at}")).await;
            }
        }
        job.drain().await.unwrap();
        compared += assert_equal(&lake, "the end").await;
        println!("compared {compared} rows of gold, {:?}", job.counters);
        let crossed = sql(&lake, "SELECT DISTINCT line FROM gold_line_crossings").await;
        assert!(!crossed.is_empty(), "nobody crossed a line: the test shows nothing of them");
        for name in ["shelf", "yesterday"] {
            let visits = sql(&lake, &format!("SELECT 1 FROM gold_zone_visits WHERE zone = '{name}'")).await;
            assert!(!visits.is_empty(), "nobody was in {name}: the test shows nothing of it");
        }
        let rejects = sql(&lake, "SELECT DISTINCT reason FROM silver_rejects").await;
        assert!(rejects.len() >= 2, "{rejects:?}");
    });
}
