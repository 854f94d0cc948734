//! Runs planned queries. Those of a server run on threads of their own: a join that computes for long without a row holds neither the servers
//! nor their clocks. A command that runs one query runs it where it is.
//!
//! A query is stopped when its stream is dropped, at the next point at which it yields.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use alluvium_sql::{THREAD_STACK, deep};
use datafusion::arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::memory::{QueryMemory, worded};
use crate::error::Error;

/// Enough that queries which do not yield leave some to others. They wait for work most of the time.
const THREADS: usize = 32;

/// The threads of all queries of the process. They are made once: a runtime may not be dropped where others run.
fn threads() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Result<Runtime, std::io::Error>> = OnceLock::new();
    let make = || {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("query")
            .thread_stack_size(THREAD_STACK)
            .enable_all()
            .build()
    };
    let made = RUNTIME.get_or_init(make).as_ref();
    made.map_err(|error| Error::unavailable(format!("starting threads: {error}"), "see the limits of this user (ulimit -a)"))
}

/// A query that runs, and what it has produced.
struct Running {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Running {
    /// The next rows. A panic is an error, and no end.
    async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        if let Some(batch) = self.batches.recv().await {
            return Some(batch);
        }
        let ended = self.task.take()?.await;
        ended.err().map(|error| Err(DataFusionError::Internal(format!("the query ended: {error}"))))
    }
}

/// Polls a future that plans a query with enough stack for the deepest statement.
pub(super) async fn planned_deep<T>(planning: impl Future<Output = T>) -> T {
    let mut planning = pin!(planning);
    poll_fn(|context| deep(|| planning.as_mut().poll(context))).await
}

/// Runs a query on the threads that ask, for a command that runs one query and nothing beside it.
///
/// # Errors
/// The plan cannot run.
pub async fn stream_here(frame: DataFrame) -> Result<SendableRecordBatchStream, Error> {
    Ok(frame.execute_stream().await?)
}

/// Runs a query on the threads of queries and returns its rows as they are produced, one batch ahead of the reader. A served query takes its
/// memory from `memory`.
///
/// # Errors
/// The plan cannot run.
pub async fn stream(frame: DataFrame, memory: Option<&QueryMemory>) -> Result<SendableRecordBatchStream, Error> {
    let context = frame.task_ctx();
    let context = Arc::new(match memory {
        Some(memory) => memory.bound(context)?,
        None => context,
    });
    let plan = planned_deep(frame.create_physical_plan()).await?;
    // DataFusion's scans yield after some batches, but a join may make very many batches of what it has read.
    let plan = plan.transform_up(|node| {
        let joins = node.children().len() > 1;
        Ok(if joins { Transformed::yes(Arc::new(CooperativeExec::new(node)) as _) } else { Transformed::no(node) })
    })?;
    let (plan, schema) = (Arc::clone(&plan.data), plan.data.schema());
    let (sender, batches) = mpsc::channel(1);
    let task = threads()?.spawn(async move {
        let mut rows = match execute_stream(plan, context) {
            Ok(rows) => rows,
            Err(error) => {
                let _ = sender.send(Err(worded(error))).await;
                return;
            }
        };
        while let Some(batch) = rows.next().await {
            if sender.send(batch.map_err(worded)).await.is_err() {
                return;
            }
        }
    });
    let running = Running { batches, task: Some(task) };
    let rows = futures::stream::unfold(running, async |mut running| Some((running.next().await?, running))).fuse();
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}
