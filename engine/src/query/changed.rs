//! The rows in which two commits of a view differ, with weights: the difference of their parts. Parts are immutable, so what both commits name
//! is not read.

use std::collections::BTreeSet;
use std::sync::Arc;

use alluvium_connectors::sink::parquet::{Manifest, Part};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, SessionContext};

use super::memory::QueryMemory;
use super::open_files::{self, OpenFiles};
use crate::error::Error;
use crate::layout::Layout;

/// The name of the column with the weights, the last one. No view is likely to have it.
const WEIGHT: &str = "$weight";

/// The parts in which two commits differ.
#[derive(Debug)]
pub struct ChangedParts<'m> {
    left: Vec<&'m Part>,
    came: Vec<&'m Part>,
}

impl<'m> ChangedParts<'m> {
    /// Compares two commits of one version of a view.
    #[must_use]
    pub fn of(before: &'m Manifest, after: &'m Manifest) -> ChangedParts<'m> {
        let names = |manifest: &'m Manifest| manifest.parts.iter().map(|part| part.file.as_str()).collect::<BTreeSet<_>>();
        let (old, new) = (names(before), names(after));
        ChangedParts {
            left: before.parts.iter().filter(|part| !new.contains(part.file.as_str())).collect(),
            came: after.parts.iter().filter(|part| !old.contains(part.file.as_str())).collect(),
        }
    }

    /// How many rows are read to find those that differ.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.left.iter().chain(&self.came).map(|part| part.rows).sum()
    }

    /// The rows that differ: those of the first commit with negative weights, those of the second with positive ones. The last column is the
    /// weight, a BIGINT that is not 0. The files are open when this returns.
    ///
    /// # Errors
    /// `NotFound` if the first commit is no longer kept; the disk fails.
    pub async fn stream(
        &self,
        layout: &Layout,
        view: &str,
        schema: &SchemaRef,
        memory: &QueryMemory,
    ) -> Result<SendableRecordBatchStream, Error> {
        let mut files = OpenFiles::default();
        for (name, parts) in [("left", &self.left), ("came", &self.came)] {
            files.add_parts(name, &layout.view(view), parts.iter().copied(), None)?;
        }
        let files = Arc::new(files);
        let context = super::session(false)?;
        context.register_object_store(&open_files::url(), Arc::clone(&files) as Arc<dyn datafusion::object_store::ObjectStore>);
        let came = weighted(&context, &files, "came", schema, 1).await?;
        let left = weighted(&context, &files, "left", schema, -1).await?;
        let columns = schema.fields().iter().map(|field| Expr::Column(Column::new_unqualified(field.name()))).collect();
        let weight = || Expr::Column(Column::new_unqualified(WEIGHT));
        let net = came.union(left)?.aggregate(columns, vec![sum(weight()).alias(WEIGHT)])?.filter(weight().not_eq(lit(0_i64)))?;
        super::run::stream(net, Some(memory)).await
    }
}

/// The rows of these files with a weight.
async fn weighted(
    context: &SessionContext,
    files: &OpenFiles,
    name: &str,
    schema: &SchemaRef,
    weight: i64,
) -> Result<DataFrame, Error> {
    let urls = files.urls_of(name);
    let table: Arc<dyn TableProvider> = if urls.is_empty() {
        Arc::new(EmptyTable::new(Arc::clone(schema)))
    } else {
        super::table(context, name, urls, Some(schema)).await?
    };
    let columns = schema.fields().iter().map(|field| Expr::Column(Column::new_unqualified(field.name())));
    Ok(context.read_table(table)?.select(columns.chain([lit(weight).alias(WEIGHT)]).collect::<Vec<_>>())?)
}
