//! Changes of files behind real catalogs: whoever was overtaken is fenced, a lost answer is decided by the table, and
//! another engine reads what stands there.

use crate::common::at;
use crate::engine::Engine;
use crate::hours::{manifests, planned, put, rows};
use crate::{options_of, rest, s3};
use iceberg::TableIdent;
use rva_lake::{CommitOutcome, HourByCam, Lake, LakeErrorKind, LakeOptions, RestOptions};
use rva_stack::Stack;
use rva_stack::proxy::{Proxy, Then};
use rva_testkit::lake::race;
use serde_json::json;

const TABLE: &str = "rva.gold_hour_by_cam";

/// The tests behind Apache's catalog have one table, which nobody else writes.
static TABLE_IS_OURS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn patient(stack: &Stack) -> LakeOptions {
    let mut options = options_of("refine", s3(stack));
    options.retry.attempts_max = 6;
    options
}

/// Opens the lake, and the table anew.
async fn anew(rest: &RestOptions, options: LakeOptions) -> Lake {
    let lake = Lake::open_rest(rest, options).await.unwrap();
    let ident = TableIdent::from_strs(["rva", "gold_hour_by_cam"]).unwrap();
    if lake.catalog().table_exists(&ident).await.unwrap() {
        lake.catalog().drop_table(&ident).await.unwrap();
    }
    lake
}

/// The same for every catalog.
async fn files_are_replaced(lake: &Lake) {
    let mut table = lake.refined::<HourByCam>().await.unwrap();
    put(&mut *table, &[1, 2, 30], 1).await;
    put(&mut *table, &[2], 2).await;
    assert_eq!(rows(lake).await, [(1, 1), (2, 2), (30, 1)]);
    let resume = table.resume_point().await.unwrap();
    assert_eq!((resume.sequence, resume.offsets), (2, at(&[("in", 2)])));
    let summary = lake.tables().await.unwrap().into_iter().find(|table| table.name == TABLE).unwrap();
    assert_eq!((summary.rows, summary.files), (3, 2), "totals follow what went and what came");

    // Two that planned on one table: the slower is fenced, whether it appends or replaces.
    let mut other = lake.refined::<HourByCam>().await.unwrap();
    for (first, second) in [([7], [1]), ([1], [8])] {
        let (view, change) = planned(&mut *table, &first, 5).await;
        let (view_two, change_two) = planned(&mut *other, &second, 6).await;
        assert!(matches!(table.commit(&view, &change).await.unwrap(), CommitOutcome::Committed { .. }));
        assert!(matches!(other.commit(&view_two, &change_two).await.unwrap(), CommitOutcome::Fenced(_)));
        put(&mut *other, &second, 6).await;
    }
    assert_eq!(rows(lake).await, [(1, 5), (2, 2), (7, 5), (8, 6), (30, 1)]);

    // A hot hour and new ones, until manifests are merged.
    for count in 0..22 {
        put(&mut *table, &[3, 100 + count], count).await;
    }
    let few = manifests(lake).await;
    assert!(few < 24, "found {few} manifests after 28 commits, wanted them merged");
    let hot = [(1, 5), (2, 2), (3, 21), (7, 5), (8, 6), (30, 1)];
    let wanted: Vec<_> = hot.into_iter().chain((0..22).map(|count| (100 + count, count))).collect();
    assert_eq!(rows(lake).await, wanted);
}

/// Three at once on one table, each with an hour of its own: every commit lands once.
async fn many_lose_nothing(rest: &RestOptions, options: impl Fn() -> LakeOptions) {
    let before = rows(&Lake::open_rest(rest, options()).await.unwrap()).await;
    let mut workers = Vec::new();
    for worker in 0..3 {
        let lake = Lake::open_rest(rest, options()).await.unwrap();
        workers.push((1000 + worker, lake.refined::<HourByCam>().await.unwrap()));
    }
    race(workers, 3, async |(hour, table), round| {
        let (view, change) = planned(&mut **table, &[*hour], round).await;
        table.commit(&view, &change).await
    })
    .await;
    let lake = Lake::open_rest(rest, options()).await.unwrap();
    let ours = (0..3).map(|worker| (1000 + worker, 2));
    assert_eq!(rows(&lake).await, before.into_iter().chain(ours).collect::<Vec<_>>());
}

#[tokio::test]
async fn files_are_replaced_behind_apaches_catalog_and_another_engine_reads_them() {
    let Some(stack) = rva_stack::stack() else { return };
    let Some(engine) = Engine::find() else { return };
    let _ours = TABLE_IS_OURS.lock().await;
    let _turn = stack.shared().await;
    let lake = anew(&rest(stack), patient(stack)).await;
    files_are_replaced(&lake).await;
    many_lose_nothing(&rest(stack), || patient(stack)).await;
    let counts: Vec<i64> = rows(&lake).await.into_iter().map(|(_, count)| count).collect();
    let sorted = |mut counts: Vec<i64>| {
        counts.sort_unstable();
        counts
    };
    let does = |arguments: &[&str]| engine.does_at(&rest(stack).uri, stack.environment(), arguments);
    assert_eq!(does(&["rows", TABLE, "detection_count"]), json!(sorted(counts)));
    // What it takes away, and what a change planned before does not bring back.
    let mut table = lake.refined::<HourByCam>().await.unwrap();
    let (view, change) = planned(&mut *table, &[4], 99).await;
    does(&["delete", TABLE, "store_id == 'a'"]);
    assert!(matches!(table.commit(&view, &change).await.unwrap(), CommitOutcome::Fenced(_)));
    put(&mut *table, &[4], 99).await;
    assert_eq!(does(&["rows", TABLE, "detection_count"]), json!([99]));
}

#[tokio::test]
async fn files_are_replaced_behind_nessie() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let environment = stack.optional("nessie");
    let rest =
        RestOptions { warehouse: Some("lakehouse".into()), ..RestOptions::new(&environment["NESSIE_CATALOG_URI"]) };
    let lake = anew(&rest, patient(stack)).await;
    files_are_replaced(&lake).await;
    many_lose_nothing(&rest, || patient(stack)).await;
}

fn is_commit(head: &str) -> bool {
    head.starts_with("POST ") && head.contains("/namespaces/rva/tables/gold_hour_by_cam ")
}

#[tokio::test]
async fn whatever_the_catalog_answers_to_a_change_the_table_decides() {
    let Some(stack) = rva_stack::stack() else { return };
    let _ours = TABLE_IS_OURS.lock().await;
    let _turn = stack.shared().await;
    let proxy = Proxy::start(&rest(stack).uri).await.unwrap();
    let behind = RestOptions::new(&proxy.uri);
    let lake = anew(&behind, patient(stack)).await;
    let mut table = lake.refined::<HourByCam>().await.unwrap();
    put(&mut *table, &[1, 2], 1).await;
    for (count, then) in (2..).zip([Then::Fail, Then::DoAndFail, Then::DoAndBreak]) {
        let left = std::sync::atomic::AtomicUsize::new(2);
        proxy.rule(move |head| {
            let is_hit = is_commit(head)
                && left
                    .fetch_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok();
            if is_hit { then } else { Then::Pass }
        });
        put(&mut *table, &[2, 1 + count], count).await;
        let resume = table.resume_point().await.unwrap();
        assert_eq!(resume.sequence, count as u64, "each change landed once");
    }
    assert_eq!(rows(&lake).await, [(1, 1), (2, 4), (3, 2), (4, 3), (5, 4)]);

    // A catalog that does it and says nothing until it is asked again: the change is known by the reload.
    proxy.rule(|head| if is_commit(head) { Then::DoAndBreak } else { Then::Pass });
    put(&mut *table, &[9], 9).await;
    // One that never does it: an error that may pass, nothing is lost, and it lands once it does.
    proxy.rule(|head| if is_commit(head) { Then::Fail } else { Then::Pass });
    let (view, change) = planned(&mut *table, &[9], 10).await;
    let error = table.commit(&view, &change).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("500"), "{error}");
    proxy.rule(|_| Then::Pass);
    assert!(matches!(table.commit(&view, &change).await.unwrap(), CommitOutcome::Committed { .. }));
    assert_eq!(rows(&lake).await, [(1, 1), (2, 4), (3, 2), (4, 3), (5, 4), (9, 10)]);
}
