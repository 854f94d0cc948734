//! Why a query has no plan, and where in its statement.

use datafusion::common::DataFusionError;

/// Why a query has no plan.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// DataFusion says so.
    DataFusion(Box<DataFusionError>),
    /// It is not a function of the events, or cannot be kept.
    Refused { message: String, help: String, spot: Spot },
}

/// Where in a statement something stands.
#[derive(Debug, Clone)]
pub(crate) enum Spot {
    Call(String),
    Word(&'static str),
    /// A text in single quotes.
    Literal(String),
    /// A column of the outermost SELECT, by its name: the last of several.
    Output(String),
    Whole,
}

impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Refusal {
        Refusal::DataFusion(Box::new(error))
    }
}
