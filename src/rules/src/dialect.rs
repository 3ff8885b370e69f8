//! The dialect of CEL that conditions are written in, made from the parsed expression.
//!
//! - Names that there are not, and calls and fields that no event could answer, are refused when the condition is
//!   compiled, not when an event comes.
//! - Numbers are doubles, literals too: JSON does not tell `51` from `51.0`, so `data.value / 2` may not either. `%`
//!   works on whole parts.
//! - `priority` compares in the order of priorities, `EventPriority.X` and `EventType.X` are the contract's names.
//! - Patterns of `matches` are literals, compiled once.

mod functions;
mod priorities;
mod verdict;

use crate::scope::{PATTERN, PRIORITIES, Pattern};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators as op,
};
use cel::common::types::{CelDouble, CelString};
use priorities::Nature;
use regex::RegexBuilder;
use tidecast_event::EventKind;

/// Most nodes of an expression.
const MAX_NODES: usize = 500;
/// Deepest nesting of an expression.
const MAX_DEPTH: usize = 64;
/// Deepest nesting of loops (`all`, `exists`, `map`, `filter`).
const MAX_LOOPS: usize = 2;
/// Bytes of a compiled pattern.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Names of CEL's types, which `type(x) == string` uses.
const TYPES: [&str; 11] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "optional"];

/// Functions whose results are whole numbers, made doubles like every other number.
const WHOLE: [&str; 13] = [
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "size",
    "uint",
];

/// What to write instead of `timestamp.year`.
const TIME_PARTS: &str = "a field of a time, whose parts are timestamp.getFullYear(), getMonth(), getDate(), \
                          getDayOfWeek(), getHours(), getMinutes() and getSeconds()";

const ORDERINGS: [&str; 4] = [op::LESS, op::LESS_EQUALS, op::GREATER, op::GREATER_EQUALS];
const EQUALITIES: [&str; 2] = [op::EQUALS, op::NOT_EQUALS];

const KINDS: [EventKind; 5] = [
    EventKind::ForecastGenerated,
    EventKind::AnomalyDetected,
    EventKind::SystemError,
    EventKind::WindowClosed,
    EventKind::ModelRetrained,
];

/// What the walk found out.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    pub patterns: Vec<Pattern>,
    pub nodes: usize,
    /// Elements of list literals, which loops run over too.
    pub elements: usize,
    pub loops: usize,
}

/// How the number at hand is wanted.
#[derive(Clone, Copy, PartialEq)]
enum Number {
    Double,
    /// For an index or a remainder.
    Whole,
}

/// What a value is known to be, whatever the event, or what a function asks for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Time,
    Map,
    Optional,
    /// The first part of a function's name.
    Namespace,
}

/// A name that a loop gives.
struct Bound {
    name: String,
    nature: Nature,
}

pub(crate) struct Walk<'a> {
    variables: &'a [&'a str],
    bound: Vec<Bound>,
    depth: usize,
    loops: usize,
    shape: Shape,
}

impl<'a> Walk<'a> {
    /// Rewrites the expression in place; the error is a sentence for whoever wrote it.
    pub fn run(variables: &'a [&'a str], expr: &mut IdedExpr) -> Result<Shape, String> {
        let mut walk = Walk { variables, bound: Vec::new(), depth: 0, loops: 0, shape: Shape::default() };
        walk.visit(expr, Number::Double)?;
        walk.verdict(expr)?;
        Ok(walk.shape)
    }

    fn visit(&mut self, node: &mut IdedExpr, number: Number) -> Result<(), String> {
        self.shape.nodes += 1;
        self.depth += 1;
        if self.shape.nodes > MAX_NODES {
            return Err(format!("an expression of more than {MAX_NODES} parts"));
        }
        if self.depth > MAX_DEPTH {
            return Err(too_deep(MAX_DEPTH));
        }
        self.node(node, number)?;
        self.depth -= 1;
        Ok(())
    }

    fn node(&mut self, node: &mut IdedExpr, number: Number) -> Result<(), String> {
        if let Some(name) = constant(&node.expr)? {
            node.expr = text(name);
            return Ok(());
        }
        match &mut node.expr {
            Expr::Unspecified => Err("an empty expression".into()),
            Expr::Struct(_) => Err("a structure, which conditions have none of".into()),
            Expr::Literal(literal) => {
                if number == Number::Double {
                    match literal {
                        LiteralValue::Int(value) => *literal = double(*value.inner() as f64),
                        LiteralValue::UInt(value) => *literal = double(*value.inner() as f64),
                        _ => {}
                    }
                }
                Ok(())
            }
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                self.has_fields(&select.operand)?;
                self.visit(&mut select.operand, Number::Double)
            }
            Expr::List(list) => {
                self.shape.elements += list.elements.len();
                list.elements.iter_mut().try_for_each(|element| self.visit(element, Number::Double))
            }
            Expr::Map(map) => {
                self.shape.elements += map.entries.len();
                map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                    // Keys cannot be doubles.
                    EntryExpr::MapEntry(entry) => {
                        self.visit(&mut entry.key, Number::Whole)?;
                        self.visit(&mut entry.value, Number::Double)
                    }
                    EntryExpr::StructField(_) => Err("a structure, which conditions have none of".into()),
                })
            }
            Expr::Comprehension(comprehension) => {
                // Before the visit makes texts of the constants that tell what the names stand for.
                let names = self.names(comprehension);
                self.visit(&mut comprehension.iter_range, Number::Double)?;
                self.visit(&mut comprehension.accu_init, Number::Double)?;
                self.loops += 1;
                self.shape.loops = self.shape.loops.max(self.loops);
                if self.loops > MAX_LOOPS {
                    return Err(format!("loops nested deeper than {MAX_LOOPS}"));
                }
                let before = self.bound.len();
                self.bound.extend(names);
                self.visit(&mut comprehension.loop_cond, Number::Double)?;
                self.visit(&mut comprehension.loop_step, Number::Double)?;
                self.visit(&mut comprehension.result, Number::Double)?;
                self.bound.truncate(before);
                self.loops -= 1;
                Ok(())
            }
            Expr::Call(_) => self.call(node, number),
        }
    }

    /// The names that a loop gives.
    fn names(&mut self, comprehension: &ComprehensionExpr) -> Vec<Bound> {
        let element = self.held([&comprehension.iter_range]);
        let start = self.held([&comprehension.accu_init]);
        let named = |name: &String, nature| Bound { name: name.clone(), nature };
        let elements = [Some(&comprehension.iter_var), comprehension.iter_var2.as_ref()];
        let elements = elements.into_iter().flatten().map(|name| named(name, element));
        elements.chain([named(&comprehension.accu_var, start)]).collect()
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound.name == name)
    }

    /// Whether the name is one of the event's.
    fn is_variable(&self, name: &str) -> bool {
        self.variables.contains(&name) && !self.is_bound(name)
    }

    fn kind(&self, node: &IdedExpr) -> Option<Kind> {
        match &node.expr {
            Expr::Ident(name) if self.is_variable(name) => match name.as_str() {
                "timestamp" => Some(Kind::Time),
                "data" | "metadata" => Some(Kind::Map),
                "event_type" | "type" | "model_id" | "source" | "priority" => Some(Kind::Text),
                _ => None,
            },
            Expr::Literal(LiteralValue::String(_)) => Some(Kind::Text),
            Expr::Call(call) if call.func_name == "timestamp" && call.target.is_none() => Some(Kind::Time),
            _ => None,
        }
    }

    /// Refuses what is asked for a field that it cannot have.
    fn has_fields(&self, node: &IdedExpr) -> Result<(), String> {
        match self.kind(node) {
            Some(Kind::Time) => Err(TIME_PARTS.into()),
            Some(Kind::Text) => Err("a field of a text, which has none".into()),
            _ => Ok(()),
        }
    }

    fn name(&self, name: &str) -> Result<(), String> {
        let known = self.is_bound(name)
            || self.variables.contains(&name)
            || TYPES.contains(&name)
            || name.starts_with('@');
        match (known, name) {
            (true, _) => Ok(()),
            (false, "True" | "False" | "None") => {
                Err(format!("{name}, which CEL writes {}", name.to_lowercase().replace("none", "null")))
            }
            (false, _) => Err(format!("the name {name}, which stands for nothing")),
        }
    }

    fn call(&mut self, node: &mut IdedExpr, number: Number) -> Result<(), String> {
        let Expr::Call(call) = &mut node.expr else { return Ok(()) };
        // Names have no signs, operators have: `_+_`, `@in`.
        let is_operator = call.func_name.contains(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
        if !is_operator {
            let subject = call.target.as_deref().or(call.args.first());
            functions::callable(call, subject.and_then(|subject| self.kind(subject)))?;
        }
        let is_ordering = ORDERINGS.contains(&call.func_name.as_str());
        if is_ordering {
            self.order_priorities(call)?;
        }
        if is_ordering || EQUALITIES.contains(&call.func_name.as_str()) {
            self.comparable(call)?;
        }
        if call.func_name == "matches" {
            self.pattern(call)?;
        }
        if let Some(target) = &mut call.target {
            // `optional.of(x)`: the target is part of the function's name.
            self.visit(target, Number::Double)?;
        }
        match call.func_name.as_str() {
            name @ (op::INDEX | op::OPT_INDEX) => {
                // `x[?y]` and `x.?y` are nothing where there is nothing.
                if let (op::INDEX, Some(holder)) = (name, call.args.first()) {
                    self.has_fields(holder)?;
                }
                for (index, argument) in call.args.iter_mut().enumerate() {
                    self.visit(argument, if index == 1 { Number::Whole } else { Number::Double })?;
                }
            }
            op::MODULO => {
                for argument in &mut call.args {
                    self.visit(argument, Number::Whole)?;
                    if !is_whole(&argument.expr) {
                        wrap("int", argument);
                    }
                }
                if number == Number::Double {
                    wrap("double", node);
                }
            }
            "timestamp" => {
                call.args.iter_mut().try_for_each(|argument| self.visit(argument, Number::Whole))?
            }
            name => {
                let whole = WHOLE.contains(&name);
                call.args.iter_mut().try_for_each(|argument| self.visit(argument, Number::Double))?;
                if whole && number == Number::Double {
                    wrap("double", node);
                }
            }
        }
        Ok(())
    }

    /// A variable whose kind is known and a literal of another kind: no event would ever have an answer, or always the same.
    fn comparable(&self, call: &CallExpr) -> Result<(), String> {
        let [left, right] = &call.args[..] else { return Ok(()) };
        for (variable, other) in [(left, right), (right, left)] {
            let (Expr::Ident(name), Expr::Literal(literal)) = (&variable.expr, &other.expr) else { continue };
            if TYPES.contains(&name.as_str()) && !self.is_variable(name) && !self.is_bound(name) {
                return Err(format!("a comparison of {name}, which is a type of CEL here, with a value"));
            }
            let (fits, wanted) = match self.kind(variable) {
                Some(Kind::Time) => (false, "time, as timestamp('2026-01-31T08:00:00Z') is"),
                Some(Kind::Text) => (matches!(literal, LiteralValue::String(_)), "text"),
                _ => continue,
            };
            if !fits && !matches!(literal, LiteralValue::Null) {
                return Err(format!("a comparison of {name} with something that is no {wanted}"));
            }
        }
        Ok(())
    }

    /// Puts the compiled pattern in the place of its text.
    fn pattern(&mut self, call: &mut CallExpr) -> Result<(), String> {
        let pattern = call.args.last_mut().ok_or("matches without a pattern")?;
        let Expr::Literal(LiteralValue::String(source)) = &pattern.expr else {
            return Err("a pattern of matches that is not a literal text".into());
        };
        let regex =
            RegexBuilder::new(source.inner()).size_limit(MAX_PATTERN_BYTES).build().map_err(|error| {
                format!("a pattern of matches that is none ({})", last_line(&error.to_string()))
            })?;
        pattern.expr = Expr::Ident(format!("{PATTERN}{}", self.shape.patterns.len()));
        self.shape.patterns.push(Pattern(regex));
        Ok(())
    }
}

/// How a condition is refused that is nested deeper than this.
pub(crate) fn too_deep(levels: usize) -> String {
    format!(
        "a condition nested deeper than {levels} levels, which has to be written with fewer, or as several conditions"
    )
}

fn last_line(text: &str) -> &str {
    text.lines().next_back().unwrap_or_default().trim()
}

fn double(value: f64) -> LiteralValue {
    LiteralValue::Double(CelDouble::from(value))
}

fn text(name: &'static str) -> Expr {
    Expr::Literal(LiteralValue::String(CelString::from(name)))
}

fn wrap(function: &str, node: &mut IdedExpr) {
    let inner = IdedExpr { id: node.id, expr: std::mem::take(&mut node.expr) };
    node.expr = Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args: vec![inner] });
}

fn is_whole(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(LiteralValue::Int(_)) => true,
        Expr::Call(call) => {
            call.func_name == op::MODULO
                || (WHOLE.contains(&call.func_name.as_str()) && call.func_name != "uint")
        }
        _ => false,
    }
}

/// `EventPriority.CRITICAL` and `EventType.SYSTEM_ERROR` as their texts.
fn constant(expr: &Expr) -> Result<Option<&'static str>, String> {
    let Expr::Select(select) = expr else { return Ok(None) };
    let Expr::Ident(family) = &select.operand.expr else { return Ok(None) };
    let names: Vec<&'static str> = match family.as_str() {
        "EventPriority" => PRIORITIES.iter().map(|priority| priority.as_str()).collect(),
        "EventType" => KINDS.iter().map(|kind| kind.as_str()).collect(),
        _ => return Ok(None),
    };
    match names.iter().find(|name| **name == select.field) {
        Some(name) => Ok(Some(name)),
        None => Err(format!("{family}.{}, which is none of {}", select.field, names.join(", "))),
    }
}
