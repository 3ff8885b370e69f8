//! Conditions on `type` and `source` alone, taken out of their expression and answered by comparing texts.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators as op};

/// One of the two texts that every event has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field {
    Kind,
    Source,
}

/// What is asked of a text.
#[derive(Debug, PartialEq)]
pub(crate) enum Test {
    In(Vec<String>),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
}

/// A condition that cannot fail: both texts are always there.
#[derive(Debug, PartialEq)]
pub(crate) enum Simple {
    Constant(bool),
    Text(Field, Test),
    Not(Box<Simple>),
    And(Box<Simple>, Box<Simple>),
    Or(Box<Simple>, Box<Simple>),
}

impl Simple {
    /// The expression in this form, if it has it.
    pub fn of(node: &IdedExpr) -> Option<Simple> {
        let call = match &node.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => return Some(Simple::Constant(*value.inner())),
            Expr::Call(call) => call,
            _ => return None,
        };
        let both = |make: fn(Box<Simple>, Box<Simple>) -> Simple| {
            let [a, b] = &call.args[..] else { return None };
            Some(make(Box::new(Simple::of(a)?), Box::new(Simple::of(b)?)))
        };
        match (call.func_name.as_str(), &call.target, &call.args[..]) {
            (op::LOGICAL_AND, None, _) => both(Simple::And),
            (op::LOGICAL_OR, None, _) => both(Simple::Or),
            (op::LOGICAL_NOT, None, [one]) => Some(Simple::Not(Box::new(Simple::of(one)?))),
            (op::EQUALS, None, [a, b]) => equals(a, b),
            (op::NOT_EQUALS, None, [a, b]) => Some(Simple::Not(Box::new(equals(a, b)?))),
            (op::IN, None, [name, list]) => {
                let Expr::List(list) = &list.expr else { return None };
                let texts = list.elements.iter().map(text).collect::<Option<Vec<_>>>()?;
                Some(Simple::Text(field(name)?, Test::In(texts)))
            }
            (name, Some(target), [argument]) => {
                let test = match name {
                    "startsWith" => Test::StartsWith,
                    "endsWith" => Test::EndsWith,
                    "contains" => Test::Contains,
                    _ => return None,
                };
                Some(Simple::Text(field(target)?, test(text(argument)?)))
            }
            _ => None,
        }
    }

    pub fn evaluate(&self, kind: &str, source: &str) -> bool {
        match self {
            Simple::Constant(value) => *value,
            Simple::Text(field, test) => {
                let text = match field {
                    Field::Kind => kind,
                    Field::Source => source,
                };
                match test {
                    Test::In(texts) => texts.iter().any(|known| known == text),
                    Test::StartsWith(start) => text.starts_with(start.as_str()),
                    Test::EndsWith(end) => text.ends_with(end.as_str()),
                    Test::Contains(part) => text.contains(part.as_str()),
                }
            }
            Simple::Not(one) => !one.evaluate(kind, source),
            Simple::And(a, b) => a.evaluate(kind, source) && b.evaluate(kind, source),
            Simple::Or(a, b) => a.evaluate(kind, source) || b.evaluate(kind, source),
        }
    }
}

fn equals(a: &IdedExpr, b: &IdedExpr) -> Option<Simple> {
    let (field, text) = match (field(a), field(b)) {
        (Some(field), None) => (field, text(b)?),
        (None, Some(field)) => (field, text(a)?),
        _ => return None,
    };
    Some(Simple::Text(field, Test::In(vec![text])))
}

fn field(node: &IdedExpr) -> Option<Field> {
    match &node.expr {
        Expr::Ident(name) if name == "type" => Some(Field::Kind),
        Expr::Ident(name) if name == "source" => Some(Field::Source),
        _ => None,
    }
}

fn text(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}
