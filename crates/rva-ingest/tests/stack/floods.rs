//! The floods of `tests/floods.rs` from a real Pulsar, with 1 and 3 partitions. The whole of them: `make floods`.

use crate::{
    cgroup::MemoryGroup,
    flood::{self, Flood},
    world::World,
};
use rva_bus::EventSink;
use std::time::{Duration, Instant};

const LIMIT_FULL: u64 = 512 << 20;

const LIMIT_SMALL: u64 = 192 << 20;

const PATIENCE: Duration = Duration::from_secs(3600);

async fn survive(world: &World<'_>, flood: &Flood, group: &MemoryGroup, limit: u64) {
    world.run(&["--init"]);
    let mut sink = world.sink().await;
    for message in flood.messages(&world.name) {
        sink.send(message).await.unwrap();
    }
    sink.flush().await.unwrap();
    let began = Instant::now();
    let mut command = world.command_in(group);
    let ended = group.wait(command.arg("--drain").spawn().unwrap(), PATIENCE);
    println!(
        "flood {:?} of Pulsar, topic {}: {} messages, exit {:?} after {:.0} s, at most {} of {} MiB, {} MiB resident",
        flood.name,
        world.topic,
        flood.count,
        ended.code,
        began.elapsed().as_secs_f64(),
        ended.group_mib,
        limit >> 20,
        ended.resident_mib
    );
    assert_eq!((ended.code, ended.killed), (Some(0), 0), "{}: {ended:?}", flood.name);
    let keys = world.table().await;
    flood.check(&world.name, &world.lake().await, keys, &world.topic.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_in_little_memory_gets_through_every_flood_of_a_topic() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let limit = if flood::is_full() { LIMIT_FULL } else { LIMIT_SMALL };
    for partitions in [1, 3] {
        for flood in flood::floods() {
            let group = match MemoryGroup::of(limit) {
                Ok(group) => group,
                Err(reason) => {
                    println!("skipped: no memory cgroup can be made ({reason})");
                    return;
                }
            };
            let mut world = World::new(stack);
            world.set("PULSAR_PARTITIONS", partitions.to_string());
            world.set("RUST_LOG", "warn");
            // Many small commits would measure the catalog.
            world.set("RVA_INGEST_COMMIT_INTERVAL", "10s");
            survive(&world, &flood, &group, limit).await;
        }
    }
}
