//! Arithmetic of whole numbers that fails where the result has no place in its type: the row is then set aside, with the reason. DataFusion
//! 55.2 wraps around.

use std::sync::{Arc, LazyLock};

use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// The function of an operator; none where the operator cannot wrap around.
pub(crate) fn checked(operator: Operator) -> Option<Arc<ScalarUDF>> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        [Operator::Plus, Operator::Minus, Operator::Multiply]
            .map(|operator| Arc::new(ScalarUDF::new_from_impl(Checked::of(operator))))
    });
    let index = match operator {
        Operator::Plus => 0,
        Operator::Minus => 1,
        Operator::Multiply => 2,
        _ => return None,
    };
    Some(Arc::clone(&FUNCTIONS[index]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: Operator,
    signature: Signature,
}

impl Checked {
    fn of(operator: Operator) -> Checked {
        Checked { operator, signature: Signature::user_defined(Volatility::Immutable) }
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
        Ok(infix(arguments.iter().map(enclosed), self.operator))
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(infix(arguments.iter().map(|argument| argument.schema_name().to_string()), self.operator))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = arguments else { return internal_err!("an operator has two sides") };
        let (left, right) = BinaryTypeCoercer::new(left, &self.operator, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [left, right] = arguments else { return internal_err!("an operator has two sides") };
        BinaryTypeCoercer::new(left, &self.operator, right).get_result_type()
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
        let [left, right] = args.args.as_slice() else { return internal_err!("an operator has two sides") };
        match self.operator {
            Operator::Plus => apply(left, right, add),
            Operator::Minus => apply(left, right, sub),
            _ => apply(left, right, mul),
        }
    }
}

/// A side of an operation, in parentheses where it is an operation itself.
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

/// An operation as it is written.
pub(super) fn infix(sides: impl Iterator<Item = String>, operator: Operator) -> String {
    sides.collect::<Vec<_>>().join(&format!(" {operator} "))
}
