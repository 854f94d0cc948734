//! Arithmetic of whole numbers that fails if the result does not fit its type. The row is then set aside, with the reason.
//! DataFusion 55.2 wraps around.

use std::sync::{Arc, LazyLock};

use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// Returns the function of an operator. `None` if the operator cannot wrap around.
pub(crate) fn checked(operator: Operator) -> Option<Arc<ScalarUDF>> {
    function(operator, false)
}

/// As [`checked`], and computes from right to left.
pub(crate) fn checked_from_right(operator: Operator) -> Option<Arc<ScalarUDF>> {
    function(operator, true)
}

fn function(operator: Operator, from_right: bool) -> Option<Arc<ScalarUDF>> {
    const OPERATORS: [Operator; 3] = [Operator::Plus, Operator::Minus, Operator::Multiply];
    static FUNCTIONS: LazyLock<[[Arc<ScalarUDF>; 3]; 2]> = LazyLock::new(|| {
        let of = |operator, from_right| Arc::new(ScalarUDF::new_from_impl(Checked::of(operator, from_right)));
        [OPERATORS.map(|operator| of(operator, false)), OPERATORS.map(|operator| of(operator, true))]
    });
    let index = OPERATORS.iter().position(|other| *other == operator)?;
    Some(Arc::clone(&FUNCTIONS[usize::from(from_right)][index]))
}

/// Checks whether a function is one of these.
pub(crate) fn is_checked(function: &ScalarUDF) -> bool {
    function.inner().is::<Checked>()
}

/// Takes two sides, or more sides of one type, and computes from left to right or from right to left.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: Operator,
    from_right: bool,
    signature: Signature,
}

impl Checked {
    fn of(operator: Operator, from_right: bool) -> Checked {
        Checked { operator, from_right, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            _ => "checked_multiply",
        }
    }

    fn display_name(&self, arguments: &[Expr]) -> Result<String> {
        let Some((_, later)) = arguments.split_first() else { return internal_err!("an operator has two sides") };
        if self.from_right {
            let sides: Vec<String> = arguments.iter().map(enclosed).collect();
            return Ok(sides.join(&format!(" {} (", self.operator)) + &")".repeat(later.len()));
        }
        // Written like the nested calls that it stands for.
        let mut name = "(".repeat(later.len().saturating_sub(1));
        for (index, argument) in arguments.iter().enumerate() {
            match index {
                0 => {}
                1 => name.push_str(&format!(" {} ", self.operator)),
                _ => name.push_str(&format!(") {} ", self.operator)),
            }
            name.push_str(&enclosed(argument));
        }
        Ok(name)
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let mut name = String::new();
        write_schema_name(&mut name, arguments, self.operator)?;
        Ok(name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = arguments else {
            let result = self.return_type(arguments)?;
            return Ok(vec![result; arguments.len()]);
        };
        let (left, right) = BinaryTypeCoercer::new(left, &self.operator, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let Some((first, later)) = arguments.split_first() else { return internal_err!("an operator has two sides") };
        later.iter().try_fold(first.clone(), |left, right| BinaryTypeCoercer::new(&left, &self.operator, right).get_result_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut sides = args.args;
        let compute = |left: &ColumnarValue, right: &ColumnarValue| match self.operator {
            Operator::Plus => apply(left, right, add),
            Operator::Minus => apply(left, right, sub),
            _ => apply(left, right, mul),
        };
        if self.from_right {
            let Some(last) = sides.pop() else { return internal_err!("an operator has two sides") };
            return sides.iter().rev().try_fold(last, |right, left| compute(left, &right));
        }
        let mut sides = sides.into_iter();
        let Some(first) = sides.next() else { return internal_err!("an operator has two sides") };
        sides.try_fold(first, |left, right| compute(&left, &right))
    }
}

/// Appends the name of a call, and of the calls in it, to one text. A text for each call would take time quadratic in the depth.
fn write_schema_name(name: &mut String, sides: &[Expr], operator: Operator) -> Result<()> {
    for (index, side) in sides.iter().enumerate() {
        if index > 0 {
            name.push_str(&format!(" {operator} "));
        }
        match side {
            Expr::ScalarFunction(call) if is_checked(&call.func) => {
                let operator = call.func.inner().downcast_ref::<Checked>().map_or(operator, |checked| checked.operator);
                write_schema_name(name, &call.args, operator)?;
            }
            side => name.push_str(&side.schema_name().to_string()),
        }
    }
    Ok(())
}

/// Returns the text of a side, in parentheses if it is an operation itself.
pub(super) fn enclosed(side: &Expr) -> String {
    match side {
        Expr::ScalarFunction(call)
            if matches!(call.func.name(), "checked_add" | "checked_subtract" | "checked_multiply" | "quotient") =>
        {
            format!("({side})")
        }
        Expr::BinaryExpr(_) => format!("({side})"),
        _ => side.to_string(),
    }
}

/// Returns the text of an operation in infix notation.
pub(super) fn infix(sides: impl Iterator<Item = String>, operator: Operator) -> String {
    sides.collect::<Vec<_>>().join(&format!(" {operator} "))
}
