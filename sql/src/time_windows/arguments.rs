//! Reads and validates a call of TUMBLE, HOP or SESSION.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, DataFusionError, Diagnostic, Result, ScalarValue, Span, TableReference};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Spanned, TableFactor,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

use super::relations::relation;
use crate::type_names::sql_types;

/// A valid call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) input: LogicalPlan,
    /// The qualifier of the windows' columns if the call has no name of its own.
    pub(super) name: Option<TableReference>,
    /// Of type [`Call::time_type`].
    pub(super) time: Expr,
    pub(super) time_type: DataType,
    pub(super) kind: Kind,
}

/// The kind of window. Lengths are in units of the time and above 0. Offsets may be negative.
#[derive(Debug)]
pub(super) enum Kind {
    /// Adjacent windows.
    Tumble { size: i64, offset: i64 },
    /// Adjacent windows, a number of months long.
    TumbleMonths { size: i32 },
    /// A window that starts at each slide.
    Hop { slide: i64, size: i64, offset: i64 },
    /// The same in months.
    HopMonths { slide: i32, size: i32 },
    /// A window that lasts until there are no rows for longer than the gap.
    Session { gap: i64, keys: Vec<Expr> },
}

/// The most windows that a row can be in.
const MOST_WINDOWS: i64 = 10_000;

/// A length of time.
#[derive(Debug, Clone, Copy)]
enum Length {
    Months(i32),
    Nanoseconds(i64),
}

/// Returns how to write the call, for messages.
fn usage(function: &str) -> &'static str {
    match function {
        "TUMBLE" => "write TUMBLE(source, time_column, INTERVAL '10 minutes')",
        "HOP" => "write HOP(source, time_column, INTERVAL '1 minute', INTERVAL '10 minutes'): the slide, then the size",
        _ => "write SESSION(source, time_column, INTERVAL '10 minutes' PARTITION BY key)",
    }
}

fn refused(message: String, help: &str, at: SqlSpan) -> DataFusionError {
    let diagnostic = Diagnostic::new_error(message.clone(), Span::try_from_sqlparser_span(at)).with_help(help, None);
    DataFusionError::Plan(message).with_diagnostic(diagnostic)
}

/// Reads and validates a call.
pub(super) fn read(
    function: &'static str,
    written: &ObjectName,
    arguments: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> Result<Call> {
    let at = written.span();
    let mut given = Vec::with_capacity(arguments.len());
    for argument in arguments {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => given.push(expression),
            other => {
                let message = format!("{function} cannot take the argument {other}");
                return Err(refused(message, usage(function), other.span()));
            }
        }
    }
    let (fewest, most) = match function {
        "TUMBLE" => (3, 4),
        "HOP" => (4, 5),
        _ => (3, usize::MAX),
    };
    if given.len() < fewest || given.len() > most {
        let message = format!("{function} takes {fewest} arguments, and {} are given", given.len());
        return Err(refused(message, usage(function), at));
    }
    let source = relation(given[0])
        .ok_or_else(|| refused(format!("{} is not a source or view", given[0]), usage(function), given[0].span()))?;
    let input = context.plan(source.clone())?;
    refuse_own_columns(function, &input, given[0].span())?;
    let (time, time_type, unit) = time(function, given[1], &input, context)?;
    let length = |index: usize, context: &mut dyn RelationPlannerContext| {
        length(function, given[index], context).map(|length| (length, given[index].span()))
    };
    let kind = match function {
        "TUMBLE" => match length(2, context)? {
            (Length::Months(_), _) if given.len() > 3 => {
                return Err(refused(
                    "windows of months have no offset".to_owned(),
                    "leave it out: they begin on the first of a month",
                    given[3].span(),
                ));
            }
            (Length::Months(size), _) => Kind::TumbleMonths { size },
            (size, at) => {
                Kind::Tumble { size: in_units(size, unit, at)?, offset: offset(function, given.get(3), unit, context)? }
            }
        },
        "HOP" => match (length(2, context)?, length(3, context)?) {
            ((Length::Months(slide), _), (Length::Months(size), at)) if given.len() == 4 => {
                refuse_many(size.into(), slide.into(), at)?;
                Kind::HopMonths { slide, size }
            }
            ((Length::Months(_), at), _) | (_, (Length::Months(_), at)) => {
                return Err(refused(
                    "months do not mix with shorter times in HOP".to_owned(),
                    "give slide and size both in months and no offset, or both in days or shorter",
                    at,
                ));
            }
            ((slide, slide_at), (size, size_at)) => {
                let (slide, size) = (in_units(slide, unit, slide_at)?, in_units(size, unit, size_at)?);
                refuse_many(size, slide, size_at)?;
                Kind::Hop { slide, size, offset: offset(function, given.get(4), unit, context)? }
            }
        },
        _ => {
            let (gap, at) = length(2, context)?;
            let keys = given[3..].iter().map(|key| context.sql_to_expr((*key).clone(), input.schema()));
            Kind::Session { gap: in_units(gap, unit, at)?, keys: keys.collect::<Result<_>>()? }
        }
    };
    let name = match source {
        TableFactor::Table { name, .. } => Some(context.object_name_to_table_reference(name)?),
        _ => None,
    };
    Ok(Call { input, name, time, time_type, kind })
}

fn refuse_own_columns(function: &str, input: &LogicalPlan, at: SqlSpan) -> Result<()> {
    for name in ["window_start", "window_end"] {
        if input.schema().fields().iter().any(|field| field.name() == name) {
            return Err(refused(
                format!("{function} gives a column {name}, and what it reads has one already"),
                "read a view or a subquery without that column, or with another name for it",
                at,
            ));
        }
    }
    Ok(())
}

/// Returns the time of a row, its type and its unit.
fn time(
    function: &str,
    argument: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<(Expr, DataType, TimeUnit)> {
    let written = match argument {
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("descriptor") => match &call.args {
            FunctionArguments::List(list) => match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] => column,
                _ => return Err(refused("DESCRIPTOR names one column".to_owned(), usage(function), argument.span())),
            },
            _ => argument,
        },
        _ => argument,
    };
    let time = context.sql_to_expr(written.clone(), input.schema())?;
    match time.get_type(input.schema().as_ref())? {
        DataType::Timestamp(unit, zone) => Ok((time, DataType::Timestamp(unit, zone), unit)),
        DataType::Date32 | DataType::Date64 => {
            let moment = DataType::Timestamp(TimeUnit::Microsecond, None);
            Ok((cast(time, moment.clone()), moment, TimeUnit::Microsecond))
        }
        other => {
            let help = match other {
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                    format!("give a column of type TIMESTAMP or DATE, or CAST({written} AS TIMESTAMP)")
                }
                _ if other.is_integer() => {
                    format!("give a column of type TIMESTAMP or DATE, or to_timestamp_millis({written}) or the like")
                }
                _ => "give a column of type TIMESTAMP or DATE".to_owned(),
            };
            Err(refused(
                format!("the time of {function} cannot be {written}, which is {}", sql_types(&other.to_string())),
                &help,
                written.span(),
            ))
        }
    }
}

/// Reads a length of time, which must be above 0.
fn length(function: &str, argument: &SqlExpr, context: &mut dyn RelationPlannerContext) -> Result<Length> {
    let length = interval(function, argument, context)?;
    match length {
        Length::Months(length) if length > 0 => {}
        Length::Nanoseconds(length) if length > 0 => {}
        _ => {
            return Err(refused(
                format!("{function} cannot take {argument}: it is not above 0"),
                usage(function),
                argument.span(),
            ));
        }
    }
    Ok(length)
}

fn interval(function: &str, argument: &SqlExpr, context: &mut dyn RelationPlannerContext) -> Result<Length> {
    let wrong = |what: &str| refused(format!("{function} cannot take {argument}: {what}"), usage(function), argument.span());
    if !matches!(argument, SqlExpr::Interval(_)) {
        return Err(wrong("a length of time is an INTERVAL"));
    }
    let (months, days, nanoseconds) = match context.sql_to_expr(argument.clone(), &DFSchema::empty())? {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) => (value.months, value.days, value.nanoseconds),
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => (0, value.days, i64::from(value.milliseconds) * 1_000_000),
        Expr::Literal(ScalarValue::IntervalYearMonth(Some(months)), _) => (months, 0, 0),
        _ => return Err(wrong("it is not a constant")),
    };
    if months != 0 {
        return if days == 0 && nanoseconds == 0 {
            Ok(Length::Months(months))
        } else {
            Err(wrong("months differ in length, so they do not mix with days or shorter times"))
        };
    }
    let total = i64::from(days).checked_mul(86_400_000_000_000).and_then(|of_days| of_days.checked_add(nanoseconds));
    total.map(Length::Nanoseconds).ok_or_else(|| wrong("it is too long"))
}

fn offset(function: &str, argument: Option<&&SqlExpr>, unit: TimeUnit, context: &mut dyn RelationPlannerContext) -> Result<i64> {
    match argument {
        Some(argument) => in_units(interval(function, argument, context)?, unit, argument.span()),
        None => Ok(0),
    }
}

/// Converts a length to units of the time.
fn in_units(length: Length, unit: TimeUnit, at: SqlSpan) -> Result<i64> {
    let (nanoseconds, name) = match unit {
        TimeUnit::Second => (1_000_000_000, "seconds"),
        TimeUnit::Millisecond => (1_000_000, "milliseconds"),
        TimeUnit::Microsecond => (1_000, "microseconds"),
        TimeUnit::Nanosecond => (1, "nanoseconds"),
    };
    match length {
        Length::Nanoseconds(length) if length % nanoseconds == 0 => Ok(length / nanoseconds),
        Length::Nanoseconds(_) => Err(refused(
            format!("the time has whole {name} only, and this length has parts of them"),
            "give a longer one, or cast the time in a view: arrow_cast(time_column, 'Timestamp(Nanosecond, None)')",
            at,
        )),
        Length::Months(_) => Err(refused(
            "a length in months is not known here: months differ".to_owned(),
            "give it in days or shorter: INTERVAL '30 days'",
            at,
        )),
    }
}

fn refuse_many(size: i64, slide: i64, at: SqlSpan) -> Result<()> {
    if size / slide < MOST_WINDOWS {
        return Ok(());
    }
    Err(refused(
        format!("each row would be in {} windows", size / slide),
        "give a longer slide: a row may be in at most 10,000 windows",
        at,
    ))
}
