//! The memory that served queries share. A query for which too little is left fails alone: the views go on, and so do the other queries.
//!
//! What counts is what DataFusion's operators reserve: sorts, aggregates, and the built sides of joins. Window functions and UNNEST reserve
//! nothing. Nothing spills.

use std::sync::Arc;

use alluvium_sql::{Cause, cause};
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, UnboundedMemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;

use crate::error::Error;

/// The memory that all served queries of a process share.
#[derive(Debug, Clone)]
pub struct QueryMemory {
    pool: Arc<dyn MemoryPool>,
}

impl QueryMemory {
    /// Allows so many bytes; any number with `None`.
    #[must_use]
    pub fn new(bytes: Option<u64>) -> QueryMemory {
        let pool: Arc<dyn MemoryPool> = match bytes {
            Some(bytes) => Arc::new(GreedyMemoryPool::new(usize::try_from(bytes).unwrap_or(usize::MAX))),
            None => Arc::new(UnboundedMemoryPool::default()),
        };
        QueryMemory { pool }
    }

    /// Has a query take its memory from here.
    ///
    /// # Errors
    /// DataFusion makes no environment.
    pub(super) fn bound(&self, query: TaskContext) -> Result<TaskContext, Error> {
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        // What the query reads stays registered.
        let builder = RuntimeEnvBuilder::from_runtime_env(&query.runtime_env());
        let bounded = builder.with_memory_pool(Arc::clone(&self.pool)).with_disk_manager_builder(disk).build_arc()?;
        Ok(query.with_runtime(bounded))
    }
}

/// Says what bounds the memory of a query, if that is what an error is about.
pub(super) fn worded(error: DataFusionError) -> DataFusionError {
    if cause(&error) != Cause::Resources {
        return error;
    }
    let words =
        "the query needs more memory than is left of `query_memory`, which all served queries share: ask for less, or raise it";
    DataFusionError::ResourcesExhausted(words.to_owned())
}
