//! The bounds of a query: a pool of memory, a folder to spill to, and joins that can.

use super::{SqlOptions, pool::HoldersPool};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{ExprSchemable, Join, LogicalPlan, cast};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// The number of consumers whose shares stand in the error where memory is exhausted.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// The rows of a batch where memory is short.
const SPILLING_ROWS: usize = 1024;

/// The partitions of a plan where memory is short: each of their sorts has a share of it, so as few as there can be. With
/// one, the planner makes every join one by hashing, whatever it is told to prefer.
const SPILLING_PARTITIONS: usize = 2;

/// The memory below which nothing is set aside for what the engine doesn't count: with less it can't even sort what it
/// spills.
const COUNTED_MIN: usize = 64 << 20;

/// Returns the memory that the engine may count for itself: half of what a query may have. The rest is for what it doesn't
/// count: groups that are copied while they are sorted to be spilled, batches on their way, pages of files. At four million
/// rows 415 MiB were held beyond 512 that were counted.
fn counted_bytes(options: &SqlOptions) -> usize {
    (options.memory_max_bytes / 2).max(options.memory_max_bytes.min(COUNTED_MIN))
}

/// Makes a pool that shares its memory among those that hold some, and a folder for what doesn't fit.
pub(super) fn runtime(options: &SqlOptions) -> Result<Arc<RuntimeEnv>> {
    let mode = match &options.spill_dir {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(options.spill_max_bytes);
    let pool = TrackConsumersPool::new(HoldersPool::new(counted_bytes(options)), CONSUMERS_NAMED);
    RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk).build_arc()
}

/// Bounds the memory that sorts keep aside to merge what they spilled: no more than there is.
pub(super) fn bounded(mut config: SessionConfig, options: &SqlOptions) -> SessionConfig {
    let execution = &mut config.options_mut().execution;
    execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(counted_bytes(options) / 32);
    config
}

type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Runs a plan. A join by hashing holds one side in memory, whatever its size: if that doesn't fit and nothing was
/// answered yet, the plan is run again with joins that sort both sides, which can spill.
pub(super) async fn run(context: &SessionContext, plan: LogicalPlan) -> Result<(SchemaRef, Batches)> {
    let spilling = spilling(context);
    let stream = context.execute_logical_plan(plan.clone()).await?.execute_stream().await?;
    let schema = stream.schema();
    let answer = async move {
        let mut stream = stream;
        let answer: Batches = match stream.next().await {
            Some(Err(error)) if is_exhausted(&error) => {
                tracing::debug!(%error, "the query is run again with joins that spill");
                drop(stream);
                let mut stream = run_spilling(&spilling, plan).await?;
                let first = match stream.next().await {
                    // A key that no sort can compare: then there is no way but more memory.
                    Some(Err(other)) if matches!(other.find_root(), DataFusionError::NotImplemented(_)) => Err(error),
                    Some(first) => first,
                    None => return Ok(stream),
                };
                stream::once(std::future::ready(first)).chain(stream).boxed()
            }
            Some(first) => stream::once(std::future::ready(first)).chain(stream).boxed(),
            None => stream::empty().boxed(),
        };
        Ok::<_, DataFusionError>(answer)
    };
    Ok((schema, stream::once(answer).try_flatten().boxed()))
}

/// Runs a plan in a session whose joins sort both sides.
async fn run_spilling(spilling: &SessionContext, plan: LogicalPlan) -> Result<Batches> {
    let state = spilling.state();
    let plan = with_plain_moments(state.optimize(&plan)?)?;
    let plan = state.query_planner().create_physical_plan(&plan, &state).await?;
    Ok(execute_stream(plan, spilling.task_ctx())?.boxed())
}

/// Returns the plan with joins by the numbers behind moments: a join that sorts can't compare those that have a time zone.
fn with_plain_moments(plan: LogicalPlan) -> Result<LogicalPlan> {
    let of_join = |mut join: Join| {
        let mut is_changed = false;
        for (left, right) in &mut join.on {
            let kinds = (left.get_type(join.left.schema())?, right.get_type(join.right.schema())?);
            if kinds.0 == kinds.1 && matches!(kinds.0, DataType::Timestamp(_, Some(_))) {
                *left = cast(left.clone(), DataType::Int64);
                *right = cast(right.clone(), DataType::Int64);
                is_changed = true;
            }
        }
        Ok(Transformed::new_transformed(LogicalPlan::Join(join), is_changed))
    };
    let changed = plan.transform_up(|node| match node {
        LogicalPlan::Join(join) => of_join(join),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(changed.data)
}

/// Returns the same session with joins that spill: few partitions, and rows that are sorted come in small pieces.
fn spilling(context: &SessionContext) -> SessionContext {
    let mut state = context.state();
    let options = state.config_mut().options_mut();
    options.optimizer.prefer_hash_join = false;
    options.execution.target_partitions = SPILLING_PARTITIONS;
    options.execution.batch_size = SPILLING_ROWS;
    SessionContext::new_with_state(state)
}

fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}
