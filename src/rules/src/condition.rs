//! A condition: compiled once, evaluated for every event, with a bound on what that may cost.

use crate::dialect::{Shape, Walk, too_deep};
use crate::scope::{Names, PATTERN_TYPE, Pattern, RANK_OF, Scope, priority_named, rank};
use cel::common::ast::IdedExpr;
use cel::common::types::{self, CelBool, CelDouble, CelString};
use cel::common::value::CowVal;
use cel::{Context, Env, ExecutionError, Value};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Longest source, in bytes.
const MAX_SOURCE: usize = 4_096;
/// Deepest nesting that the parser follows.
const MAX_PARSER_DEPTH: u16 = 48;
/// Most steps of one evaluation: a fraction of a second at the very worst, microseconds as a rule.
const MAX_STEPS: usize = 2_000_000;

/// Variables of a rule's condition.
pub const RULE_VARIABLES: [&str; 6] = ["data", "model_id", "priority", "event_type", "timestamp", "metadata"];
/// Variables of a series' `where`.
pub const FILTER_VARIABLES: [&str; 5] = ["type", "source", "data", "metadata", "timestamp"];

/// Why a condition cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found}")]
pub struct ConditionError {
    /// What was found, with its place where the parser knows it.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

/// Why a condition had no answer for an event. It counts as false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluationError(pub String);

/// A compiled condition.
pub struct Condition {
    source: String,
    expression: IdedExpr,
    shape: Shape,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.source)
    }
}

impl Condition {
    /// Compiles a source over these variables.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Condition, ConditionError> {
        let refuse = |found: String| ConditionError {
            found,
            allowed: format!("a CEL expression over {} that is true or false", variables.join(", ")),
        };
        if source.trim().is_empty() {
            return Err(refuse("an empty condition".into()));
        }
        if source.len() > MAX_SOURCE {
            return Err(refuse(format!("{} characters, more than {MAX_SOURCE}", source.len())));
        }
        let parser = environment().parser().max_recursion_depth(MAX_PARSER_DEPTH);
        let mut expression = parser.parse(source).map_err(|errors| {
            refuse(match errors.errors.first() {
                // The parser says it in the words of its insides.
                Some(error) if error.msg.contains("Recursion limit") => too_deep(MAX_PARSER_DEPTH.into()),
                Some(error) => {
                    let what = error.msg.lines().next().unwrap_or_default();
                    format!("no CEL at line {}, column {} ({what})", error.pos.0, error.pos.1)
                }
                None => "no CEL".into(),
            })
        })?;
        let shape = Walk::run(variables, &mut expression).map_err(refuse)?;
        Ok(Condition { source: source.to_owned(), expression, shape })
    }

    /// The source.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn expression(&self) -> &IdedExpr {
        &self.expression
    }

    /// Whether the condition holds. An error stands for false, and for one more evaluation error in the count.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        self.bounded(scope.values)?;
        let names = Names { scope, patterns: &self.shape.patterns };
        let mut context = Context::with_env(Arc::clone(environment()));
        context.set_variable_resolver(&names);
        let value = Value::resolve_val(&self.expression, &context).map_err(|error| explain(&error))?;
        match value.downcast_ref::<CelBool>() {
            Some(answer) => Ok(*answer.inner()),
            None => Err(EvaluationError(format!("a {} instead of true or false", value.get_type().name()))),
        }
    }

    /// Each level of loops runs over at most every value of the event and of the source.
    fn bounded(&self, values: usize) -> Result<(), EvaluationError> {
        let over = values.saturating_add(self.shape.elements).max(1);
        let mut steps = self.shape.nodes;
        for _ in 0..self.shape.loops {
            steps = steps.saturating_mul(over);
        }
        if steps > MAX_STEPS {
            return Err(EvaluationError(format!(
                "loops over {values} values would take more than {MAX_STEPS} steps"
            )));
        }
        Ok(())
    }
}

/// The error's words. Values of the event stay out of them: they go to logs and pages.
fn explain(error: &ExecutionError) -> EvaluationError {
    EvaluationError(match error {
        ExecutionError::NoSuchKey(key) => format!("no field {key}"),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::UndeclaredReference(name) => format!("the name {name} stands for nothing"),
        ExecutionError::UnexpectedType { got, want } => format!("a {got} where a {want} is wanted"),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            format!("{operator} of values that have none")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".into(),
        ExecutionError::IndexOutOfBounds(_) => "an index past the end".into(),
        ExecutionError::ValuesNotComparable(..) => "values that do not compare".into(),
        ExecutionError::FunctionError { function, .. } if function == RANK_OF => {
            "a comparison of a priority with something that is no priority".into()
        }
        ExecutionError::FunctionError { function, .. } => format!("{function} failed"),
        _ => "it has no value".into(),
    })
}

/// One environment for all: building it takes longer than evaluating a thousand conditions.
fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut env = Env::stdlib();
        let declared = env
            .add_member_overload("get", "map_get", types::MAP_TYPE, vec![types::STRING_TYPE], get)
            .and_then(|()| {
                let arguments = vec![types::STRING_TYPE, types::DYN_TYPE];
                env.add_member_overload("get", "map_get_or", types::MAP_TYPE, arguments, get)
            })
            .and_then(|()| {
                let arguments = vec![PATTERN_TYPE.to_owned()];
                env.add_member_overload("matches", "matches_pattern", types::STRING_TYPE, arguments, matches)
            })
            .and_then(|()| {
                let arguments = vec![types::STRING_TYPE, PATTERN_TYPE.to_owned()];
                env.add_overload("matches", "matches_pattern_of", arguments, matches)
            })
            .and_then(|()| env.add_overload(RANK_OF, "rank_of", vec![types::DYN_TYPE], rank_of));
        declared.expect("these signatures are in no standard library of CEL");
        Arc::new(env)
    })
}

/// `map.get(key)` and `map.get(key, default)`, as in Python: null, or the default, where there is no such key.
fn get<'b, 'v>(mut arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let default = if arguments.len() == 3 { arguments.pop() } else { None };
    let key = arguments.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let found = match arguments.pop() {
        Some(CowVal::Borrowed(map)) => map.as_indexer().map(|map| map.get(key.as_ref())),
        Some(CowVal::Owned(map)) => map.into_indexer().map(|map| map.steal(key.as_ref()).map(CowVal::Owned)),
        None => None,
    };
    match found.ok_or_else(ExecutionError::missing_argument_or_target)? {
        Err(ExecutionError::NoSuchKey(_)) => Ok(default.unwrap_or_else(|| CowVal::owned(types::CelNull))),
        other => other,
    }
}

fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = arguments.first().and_then(|text| text.downcast_ref::<CelString<'_>>());
    let pattern = arguments.get(1).and_then(|pattern| pattern.downcast_ref::<Pattern>());
    match (text, pattern) {
        (Some(text), Some(pattern)) => Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner())))),
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}

/// The rank of a priority that an event brings.
fn rank_of<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = arguments.first().and_then(|text| text.downcast_ref::<CelString<'_>>());
    match text.and_then(|text| priority_named(text.inner())) {
        Some(priority) => Ok(CowVal::owned(CelDouble::from(rank(priority)))),
        None => Err(ExecutionError::function_error(RANK_OF, "no priority")),
    }
}
