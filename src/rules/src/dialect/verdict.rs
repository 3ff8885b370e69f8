//! Whether an expression can be true or false at all, whatever the event.

use super::{TYPES, Walk};
use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators as op};

/// Calls whose results are numbers, texts or times.
const NO_VERDICTS: [&str; 10] = [
    op::ADD,
    op::SUBSTRACT,
    op::MULTIPLY,
    op::DIVIDE,
    op::MODULO,
    op::NEGATE,
    "double",
    "duration",
    "string",
    "timestamp",
];

impl Walk<'_> {
    /// Refuses an expression, already rewritten, that is a number, a text or the like for every event.
    pub(super) fn verdict(&self, node: &IdedExpr) -> Result<(), String> {
        let is_no_verdict = |what: &str| Err(format!("{what}, which is neither true nor false"));
        match &node.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => Ok(()),
            Expr::Literal(LiteralValue::String(_)) => is_no_verdict("a text alone"),
            Expr::Literal(_) => is_no_verdict("a value alone"),
            Expr::List(_) | Expr::Map(_) => is_no_verdict("a list or a map alone"),
            Expr::Ident(name) if self.is_variable(name) || TYPES.contains(&name.as_str()) => {
                is_no_verdict(&format!("{name} alone"))
            }
            Expr::Call(call) => match call.func_name.as_str() {
                op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT => {
                    call.args.iter().try_for_each(|argument| self.verdict(argument))
                }
                op::CONDITIONAL => call.args.iter().skip(1).try_for_each(|argument| self.verdict(argument)),
                name if NO_VERDICTS.contains(&name) => is_no_verdict("the result of a calculation"),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
