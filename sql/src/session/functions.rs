//! Scalar functions of ours.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`arithmetic`] | `+`, `-` and `*` of whole numbers that fail where they would wrap around |
//! | [`quotient`] | division of DECIMALs that keeps its digits |
//! | [`float_key`] | floats as values that are equal, less or greater as SQL says |
//! | [`date_part`] | the parts of a time, with the seconds of a difference |
//! | [`same`] | a value that the optimizer does not know |
//! | [`limited`] | a check before functions that make as much as an event asks for |

pub(crate) mod arithmetic;
pub(crate) mod date_part;
pub(crate) mod float_key;
pub(crate) mod limited;
pub(crate) mod quotient;
pub(crate) mod same;
