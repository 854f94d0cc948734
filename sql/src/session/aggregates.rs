//! Aggregates that replace DataFusion's under the same names. Each leaves to DataFusion's function what that one gets right.
//!
//! | module | what it corrects |
//! | --- | --- |
//! | [`extremes`] | `min` and `max` over NaN and over zeros of both signs |
//! | [`sums`] | `sum` and `avg` over a moving frame that a NaN or an infinity has left |
//! | [`sliding`] | sums over a moving frame, computed only from the values in it |
//! | [`percentile`] | the interpolation of `percentile_cont` |
//! | [`last`] | `last_value` over tied rows |
//! | [`gathered`] | `array_agg` and `string_agg` over tied rows; several orders of `string_agg` in one SELECT |

mod extremes;
mod forward;
mod gathered;
mod last;
mod percentile;
mod sliding;
mod sums;

use std::sync::Arc;

use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::first_last::last_value_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::functions_aggregate::string_agg::string_agg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::AggregateUDF;

/// `array_agg`.
pub(super) fn array_agg() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(gathered::Gathered::of(array_agg_udaf())))
}

/// Returns the functions, each of which replaces DataFusion's of the same name.
pub(super) fn functions() -> Vec<AggregateUDF> {
    vec![
        AggregateUDF::new_from_impl(extremes::Extreme::of(min_udaf())),
        AggregateUDF::new_from_impl(extremes::Extreme::of(max_udaf())),
        AggregateUDF::new_from_impl(sums::Sum::of(sum_udaf())),
        AggregateUDF::new_from_impl(sums::Average::of(avg_udaf())),
        AggregateUDF::new_from_impl(percentile::Interpolated::of(percentile_cont_udaf())),
        AggregateUDF::new_from_impl(last::Last::of(last_value_udaf())),
        Arc::unwrap_or_clone(array_agg()),
        AggregateUDF::new_from_impl(gathered::Gathered::of(string_agg_udaf())),
    ]
}
