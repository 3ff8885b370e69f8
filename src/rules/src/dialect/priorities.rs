//! The order of priorities, which is not that of the alphabet.
//!
//! A priority is a text everywhere but at `<`, `<=`, `>` and `>=`. There, as soon as either side is seen to be a priority,
//! the ranks of both are compared: what an event brings is ranked when it comes, and is an error if it is no priority.

use super::{MAX_DEPTH, Walk, constant, double, wrap};
use crate::scope::{RANK, RANK_OF, priority_named, rank};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators as op,
};
use tidecast_event::Priority;

/// What can be said of a value before there is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Nature {
    /// A priority, or something that holds priorities.
    Priority,
    /// Certainly no priority.
    Other,
    Unknown,
}

impl Nature {
    /// Of a value that is one of two.
    fn either(self, other: Nature) -> Nature {
        match (self, other) {
            (Nature::Priority, _) | (_, Nature::Priority) => Nature::Priority,
            (Nature::Other, Nature::Other) => Nature::Other,
            _ => Nature::Unknown,
        }
    }
}

impl Walk<'_> {
    /// Makes an order comparison one of ranks if it is one of priorities.
    pub(super) fn order_priorities(&mut self, call: &mut CallExpr) -> Result<(), String> {
        if call.args.iter().all(|side| self.nature(side) != Nature::Priority) {
            return Ok(());
        }
        call.args.iter_mut().try_for_each(|side| self.rank(side))
    }

    /// Puts the rank in the place of the priority.
    fn rank(&mut self, node: &mut IdedExpr) -> Result<(), String> {
        if let Expr::Call(call) = &mut node.expr
            && call.func_name == op::CONDITIONAL
        {
            return call.args.iter_mut().skip(1).try_for_each(|branch| self.rank(branch));
        }
        if let Some(priority) = written(&node.expr)? {
            node.expr = Expr::Literal(double(rank(priority)));
            return Ok(());
        }
        match &node.expr {
            Expr::Ident(name) if name == "priority" && self.is_variable(name) => {
                node.expr = Expr::Ident(RANK.to_owned());
            }
            Expr::List(_) | Expr::Map(_) => return Err(no_priority()),
            _ if self.nature(node) == Nature::Other => return Err(no_priority()),
            _ => wrap(RANK_OF, node),
        }
        Ok(())
    }

    /// Seen before the depth is refused, so it has to keep within it.
    fn nature(&mut self, node: &IdedExpr) -> Nature {
        if self.depth > MAX_DEPTH {
            return Nature::Unknown;
        }
        self.depth += 1;
        let nature = self.seen(node);
        self.depth -= 1;
        nature
    }

    fn seen(&mut self, node: &IdedExpr) -> Nature {
        match &node.expr {
            Expr::Ident(name) => match self.bound.iter().rev().find(|bound| bound.name == *name) {
                Some(bound) => bound.nature,
                None if !self.variables.contains(&name.as_str()) => Nature::Unknown,
                None if name == "priority" => Nature::Priority,
                None => Nature::Other,
            },
            Expr::Literal(LiteralValue::String(_)) => match written(&node.expr) {
                Ok(None) => Nature::Other,
                // Plain texts are compared as texts: only beside a priority is this one.
                _ => Nature::Unknown,
            },
            Expr::Select(select) => match (constant(&node.expr), written(&node.expr)) {
                (_, Ok(Some(_))) => Nature::Priority,
                (Ok(Some(_)), _) => Nature::Other,
                _ => self.held([&*select.operand]),
            },
            Expr::List(list) => self.holder(list.elements.iter()),
            Expr::Map(map) => self.holder(map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some(&entry.value),
                EntryExpr::StructField(_) => None,
            })),
            Expr::Comprehension(comprehension) => self.looped(comprehension),
            Expr::Call(call) => self.returned(call),
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => Nature::Other,
        }
    }

    /// The nature of a call's result.
    fn returned(&mut self, call: &CallExpr) -> Nature {
        match (call.func_name.as_str(), &call.args[..]) {
            (op::CONDITIONAL, [_, left, right]) => self.nature(left).either(self.nature(right)),
            (op::INDEX | op::OPT_INDEX | op::OPT_SELECT, [operand, _]) => self.held([operand]),
            ("get", arguments) => self.held(call.target.as_deref().into_iter().chain(arguments.get(1))),
            ("dyn" | "of" | "value" | "orValue", arguments) => {
                self.held(call.target.as_deref().into_iter().chain(arguments))
            }
            // Two lists hold what both held; two texts make a third.
            (op::ADD, sides) => {
                let lists = |side: &&IdedExpr| matches!(side.expr, Expr::List(_) | Expr::Comprehension(_));
                self.held(sides.iter().filter(lists))
            }
            ("string", _) => Nature::Unknown,
            _ => Nature::Other,
        }
    }

    /// The nature of what comes out of a loop.
    fn looped(&mut self, comprehension: &ComprehensionExpr) -> Nature {
        let names = self.names(comprehension);
        let before = self.bound.len();
        self.bound.extend(names);
        let nature = self.nature(&comprehension.loop_step).either(self.nature(&comprehension.result));
        self.bound.truncate(before);
        nature
    }

    /// Of a list or a map, which is no priority itself.
    fn holder<'e>(&mut self, mut values: impl Iterator<Item = &'e IdedExpr>) -> Nature {
        match values.any(|value| self.nature(value) == Nature::Priority) {
            true => Nature::Priority,
            false => Nature::Other,
        }
    }

    /// Of what is taken out of one of these.
    pub(super) fn held<'e>(&mut self, holders: impl IntoIterator<Item = &'e IdedExpr>) -> Nature {
        match holders.into_iter().any(|holder| self.nature(holder) == Nature::Priority) {
            true => Nature::Priority,
            false => Nature::Unknown,
        }
    }
}

/// The priority that is written here, as `EventPriority.HIGH` or as `'HIGH'`.
fn written(expr: &Expr) -> Result<Option<Priority>, String> {
    let name = match expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        other => constant(other)?,
    };
    Ok(name.and_then(priority_named))
}

fn no_priority() -> String {
    "a comparison of a priority with something that is no priority, as priority, EventPriority.HIGH and 'HIGH' are"
        .into()
}
