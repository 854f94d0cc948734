//! Why a query has no plan, and where in its statement the cause is.

use datafusion::common::DataFusionError;

/// Why a query has no plan.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// DataFusion rejects it.
    DataFusion(Box<DataFusionError>),
    /// It is not a function of the events, or cannot be maintained.
    Refused { message: String, help: String, spot: Spot },
}

/// A place in a statement.
#[derive(Debug, Clone)]
pub(crate) enum Spot {
    Call(String),
    Word(&'static str),
    /// A text in single quotes.
    Literal(String),
    /// A column of the outermost SELECT, by name. If several have this name, the last one.
    Output(String),
    /// A column, by its name and that of its relation.
    Column(String),
    Whole,
}

impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Refusal {
        Refusal::DataFusion(Box::new(error))
    }
}
