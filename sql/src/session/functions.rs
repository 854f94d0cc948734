//! Our own scalar functions.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`arithmetic`] | `+`, `-` and `*` of whole numbers, which fail instead of wrapping around |
//! | [`quotient`] | division of DECIMALs that keeps its digits |
//! | [`float_key`] | float keys, which compare as SQL says |
//! | [`half_even`] | rounds floats as PostgreSQL does |
//! | [`intervals`] | lengths of INTERVALs |
//! | [`date_part`] | `date_part`, with the seconds of a difference of times |
//! | [`same`] | hides a value from the optimizer |
//! | [`single`] | the one row of a subquery that stands for a value |
//! | [`limited`] | a size check before functions whose result is as large as an event asks for |

pub(crate) mod arithmetic;
pub(crate) mod date_part;
pub(crate) mod float_key;
pub(crate) mod half_even;
pub(crate) mod intervals;
pub(crate) mod limited;
pub(crate) mod quotient;
pub(crate) mod same;
pub(crate) mod single;
