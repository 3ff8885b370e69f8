//! The functions of the dialect, and how each is called.

use super::Kind;
use cel::common::ast::{CallExpr, Expr};
use std::ops::RangeInclusive;

/// One function, with numbers of arguments.
struct Function {
    name: &'static str,
    /// As `x.name(…)`.
    method: Option<RangeInclusive<usize>>,
    /// As `name(…)`.
    plain: Option<usize>,
    /// What it is a function of, where only one kind will do.
    of: Option<Kind>,
    /// The form to show to whoever wrote another.
    form: &'static str,
}

const fn plain(name: &'static str, form: &'static str) -> Function {
    Function { name, method: None, plain: Some(1), of: None, form }
}

const fn method(
    name: &'static str,
    arguments: RangeInclusive<usize>,
    of: Option<Kind>,
    form: &'static str,
) -> Function {
    Function { name, method: Some(arguments), plain: None, of, form }
}

/// Of a time, with the name of a time zone or without.
const fn part(name: &'static str, form: &'static str) -> Function {
    method(name, 0..=1, Some(Kind::Time), form)
}

const FUNCTIONS: [Function; 31] = [
    plain("bool", "bool(data.x)"),
    plain("bytes", "bytes(data.x)"),
    method("contains", 1..=1, Some(Kind::Text), "data.x.contains('a')"),
    plain("double", "double(data.x)"),
    plain("duration", "duration('90s')"),
    plain("dyn", "dyn(data.x)"),
    method("endsWith", 1..=1, Some(Kind::Text), "data.x.endsWith('a')"),
    method("get", 1..=2, Some(Kind::Map), "data.get('x', 0)"),
    part("getDate", "timestamp.getDate()"),
    part("getDayOfMonth", "timestamp.getDayOfMonth()"),
    part("getDayOfWeek", "timestamp.getDayOfWeek()"),
    part("getDayOfYear", "timestamp.getDayOfYear()"),
    part("getFullYear", "timestamp.getFullYear()"),
    part("getHours", "timestamp.getHours()"),
    part("getMilliseconds", "timestamp.getMilliseconds()"),
    part("getMinutes", "timestamp.getMinutes()"),
    part("getMonth", "timestamp.getMonth()"),
    part("getSeconds", "timestamp.getSeconds()"),
    plain("int", "int(data.x)"),
    Function {
        name: "matches",
        method: Some(1..=1),
        plain: Some(2),
        of: Some(Kind::Text),
        form: "data.x.matches('^a')",
    },
    Function { name: "size", method: Some(0..=0), plain: Some(1), of: None, form: "size(data.x)" },
    method("startsWith", 1..=1, Some(Kind::Text), "data.x.startsWith('a')"),
    plain("string", "string(data.x)"),
    plain("timestamp", "timestamp('2026-01-31T08:00:00Z')"),
    plain("type", "type(data.x)"),
    plain("uint", "uint(data.x)"),
    method("hasValue", 0..=0, Some(Kind::Optional), "data.?x.hasValue()"),
    method("of", 1..=1, Some(Kind::Namespace), "optional.of(data.x)"),
    method("none", 0..=0, Some(Kind::Namespace), "optional.none()"),
    method("orValue", 1..=1, Some(Kind::Optional), "data.?x.orValue(0)"),
    method("value", 0..=0, Some(Kind::Optional), "data.?x.value()"),
];

/// Refuses a call that no function takes, whatever the event. `subject` is the kind of what it is called on, if known.
pub(super) fn callable(call: &CallExpr, subject: Option<Kind>) -> Result<(), String> {
    let Some(function) = FUNCTIONS.iter().find(|function| function.name == call.func_name) else {
        return Err(format!("the function {}, which there is not", call.func_name));
    };
    let counted = match call.target {
        Some(_) => function.method.as_ref().is_some_and(|count| count.contains(&call.args.len())),
        None => function.plain == Some(call.args.len()),
    };
    let of_kind = match (function.of, subject) {
        (Some(Kind::Namespace), _) => is_optional(call),
        (Some(wanted), Some(kind)) => wanted == kind,
        _ => true,
    };
    match counted && of_kind {
        true => Ok(()),
        false => Err(format!("the function {} not called as in {}", function.name, function.form)),
    }
}

/// `optional.of(x)`: what looks like a target is part of the function's name.
fn is_optional(call: &CallExpr) -> bool {
    call.target.as_ref().is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "optional"))
}
