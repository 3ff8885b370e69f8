//! `[[models]]` and `POST /api/models`: the object of contract section 10.

use crate::error::{ConfigError, Fault, Origin};
use crate::kind::Kind;
use crate::model_order::{Order, order_of, seasonal_order_of};
use crate::series::{SeriesSpec, WindowSpec, is_name};
use crate::series_ref::{Regressor, SeriesRef};
use crate::table::{Key, Values};
use crate::written::{Node, Raw, quoted};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::fmt;

const MODEL_TYPES: &[&str] = &[
    "ARIMA",
    "SARIMA",
    "SARIMAX",
    "AutoARIMA",
    "ETS",
    "AutoETS",
    "Theta",
    "DynamicOptimizedTheta",
    "GARCH",
    "SeasonalNaive",
    "Ensemble",
    "External",
];

/// The longest season: a leap year of hours.
const MAX_SEASON: i64 = 8_784;
/// The longest history taken at once.
const MAX_HISTORY: usize = 200_000;

/// The table of a `[[models]]`.
pub(crate) const MODEL_KEYS: &[Key] = &[
    Key::new("model_id", Kind::Text, None, "its name; required"),
    Key::new("model_type", Kind::Choice(MODEL_TYPES), None, "its family; required"),
    Key::new("order", Kind::Json, None, "`[p, d, q]` of the ARIMA families, `[p, q]` of GARCH"),
    Key::new("seasonal_order", Kind::Json, None, "`[P, D, Q, m]` of SARIMA and SARIMAX"),
    Key::new(
        "season",
        Kind::Int { min: 1, max: MAX_SEASON },
        None,
        "windows in a season, for the other seasonal families",
    ),
    Key::new("series", Kind::Text, None, "`family:key`, or `family:*` for one model per key"),
    Key::new("field", Kind::Text, Some("event_count"), "`event_count` or `<value>.<statistic>`"),
    Key::new("history", Kind::Json, None, "observations to begin with, oldest first, null where missing"),
    Key::new("horizon", Kind::Int { min: 1, max: 1_000 }, Some("12"), "windows ahead"),
    Key::new(
        "level",
        Kind::Number { min: 0.01, max: 0.999 },
        Some("0.95"),
        "confidence level of the intervals",
    ),
    Key::new(
        "anomaly_threshold",
        Kind::Number { min: 0.0, max: 1.0 },
        Some("0.8"),
        "score from which on it is an anomaly",
    ),
    Key::new(
        "update_frequency_seconds",
        Kind::Number { min: 0.1, max: 604_800.0 },
        None,
        "forecast again that often, without a new window",
    ),
    Key::new(
        "exogenous",
        Kind::Texts,
        None,
        "regressors of SARIMAX, `family:key/field` each (in a template, key `*` is the model's own), joined by window",
    ),
    Key::new("metadata", Kind::Object, None, "carried along in every forecast"),
    Key::new("enabled", Kind::Flag, Some("true"), "whether it forecasts"),
];

/// The families of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs)] // the contract's names, said there
pub enum ModelType {
    #[serde(rename = "ARIMA")]
    Arima,
    #[serde(rename = "SARIMA")]
    Sarima,
    #[serde(rename = "SARIMAX")]
    Sarimax,
    #[serde(rename = "AutoARIMA")]
    AutoArima,
    #[serde(rename = "ETS")]
    Ets,
    #[serde(rename = "AutoETS")]
    AutoEts,
    Theta,
    DynamicOptimizedTheta,
    #[serde(rename = "GARCH")]
    Garch,
    SeasonalNaive,
    Ensemble,
    External,
}

impl ModelType {
    const ALL: [ModelType; 12] = [
        ModelType::Arima,
        ModelType::Sarima,
        ModelType::Sarimax,
        ModelType::AutoArima,
        ModelType::Ets,
        ModelType::AutoEts,
        ModelType::Theta,
        ModelType::DynamicOptimizedTheta,
        ModelType::Garch,
        ModelType::SeasonalNaive,
        ModelType::Ensemble,
        ModelType::External,
    ];

    /// The contract's name.
    pub fn as_str(self) -> &'static str {
        MODEL_TYPES[self as usize]
    }

    /// Reads the contract's name, in any case.
    pub fn parse(name: &str) -> Option<ModelType> {
        ModelType::ALL.into_iter().find(|model| model.as_str().eq_ignore_ascii_case(name))
    }

    /// A seasonal order has to be given.
    pub fn is_seasonal_arima(self) -> bool {
        matches!(self, ModelType::Sarima | ModelType::Sarimax)
    }

    /// Takes `season`: SARIMA and SARIMAX have it in their seasonal order instead, ARIMA and GARCH have none.
    pub fn takes_season(self) -> bool {
        !matches!(
            self,
            ModelType::Arima
                | ModelType::Sarima
                | ModelType::Sarimax
                | ModelType::Garch
                | ModelType::External
        )
    }
}

impl fmt::Display for ModelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A model as registered. Serialises to the contract's object; deserialising checks it as [`ModelSpec::from_json`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Json")]
pub struct ModelSpec {
    /// Its name.
    pub model_id: String,
    /// Its family.
    pub model_type: ModelType,
    /// `[p, d, q]`, or `[p, q]` of GARCH; present for ARIMA, SARIMA, SARIMAX and GARCH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// `[P, D, Q, m]`; present for SARIMA and SARIMAX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seasonal_order: Option<[usize; 4]>,
    /// Windows in a season.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub season: Option<usize>,
    /// What it forecasts; absent only for External.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<SeriesRef>,
    /// `event_count` or `<value>.<statistic>`.
    pub field: String,
    /// Observations to begin with, `None` where missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Option<f64>>,
    /// Windows ahead.
    pub horizon: usize,
    /// Confidence level of the intervals, in (0, 1).
    pub level: f64,
    /// Score from which on an observation is an anomaly, in [0, 1].
    pub anomaly_threshold: f64,
    /// Forecast again that often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_frequency_seconds: Option<f64>,
    /// Regressors of SARIMAX.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exogenous: Vec<Regressor>,
    /// Carried along in every forecast.
    pub metadata: Map<String, Json>,
    /// Whether it forecasts.
    pub enabled: bool,
}

impl TryFrom<Json> for ModelSpec {
    type Error = Fault;

    fn try_from(json: Json) -> Result<Self, Fault> {
        ModelSpec::from_json(&json)
    }
}

impl ModelSpec {
    /// Reads and checks the object of a REST body or a record, by itself; see [`ModelSpec::check_series`].
    pub fn from_json(json: &Json) -> Result<Self, Fault> {
        ModelSpec::read(&Node::from_json(json, &Origin::Request)).map_err(Fault::from)
    }

    /// An External model of this name: what an unknown `model_id` in `POST /api/forecasts` becomes.
    pub fn external(model_id: &str) -> Result<Self, Fault> {
        let object = serde_json::json!({"model_id": model_id, "model_type": "External"});
        ModelSpec::from_json(&object)
    }

    /// One model per key of its family.
    pub fn is_template(&self) -> bool {
        self.series.as_ref().is_some_and(SeriesRef::is_template)
    }

    /// The template's model for a key: `<model_id>/<key>`.
    pub fn instance(&self, key: &str) -> ModelSpec {
        let bind = |series: &SeriesRef| series.bind(key);
        ModelSpec {
            model_id: format!("{}/{key}", self.model_id),
            series: self.series.as_ref().map(bind),
            exogenous: self.exogenous.iter().map(|regressor| regressor.bind(key)).collect(),
            ..self.clone()
        }
    }

    /// Checks the model against the families of series that there are.
    pub fn check_series(&self, series: &[SeriesSpec]) -> Result<(), Fault> {
        let mut own = None;
        if let Some(wanted) = &self.series {
            let family = family(series, wanted, "series")?;
            check_field(family, &self.field, "field")?;
            own = Some(family);
        }
        for (index, regressor) in self.exogenous.iter().enumerate() {
            let setting = format!("exogenous[{index}]");
            let family = family(series, &regressor.series, &setting)?;
            check_field(family, &regressor.field, &setting)?;
            own.map_or(Ok(()), |own| check_join(own, family, &setting))?;
        }
        Ok(())
    }

    pub(crate) fn read(node: &Node) -> Result<ModelSpec, ConfigError> {
        let values = Values::of_object(MODEL_KEYS, node)?;
        let model_id = values.required_text("model_id", &node.origin)?;
        if !is_name(&model_id, 500) {
            let allowed = "up to 500 characters without * and control characters, neither . nor ..";
            return Err(values.refuse("model_id", quoted(&model_id), allowed));
        }
        let model_type =
            values.opt_text("model_type").and_then(|name| ModelType::parse(&name)).ok_or_else(|| {
                ConfigError::new("model_type", &node.origin, "nothing", Kind::Choice(MODEL_TYPES).allowed())
            })?;
        let season = values.opt_int("season").and_then(|season| usize::try_from(season).ok());
        if season.is_some() && !model_type.takes_season() {
            let allowed = match model_type.is_seasonal_arima() {
                true => "seasonal_order = [P, D, Q, m]",
                false => "no season",
            };
            return Err(values.refuse("season", format!("a season of {model_type}"), allowed));
        }
        Ok(ModelSpec {
            order: order_of(&values, node, model_type)?,
            seasonal_order: seasonal_order_of(&values, node, model_type)?,
            season,
            series: series_of(&values, node, model_type)?,
            field: field_of(&values)?,
            history: history_of(&values)?,
            horizon: values.int("horizon"),
            level: values.number("level").unwrap_or(0.95),
            anomaly_threshold: values.number("anomaly_threshold").unwrap_or(0.8),
            update_frequency_seconds: values.number("update_frequency_seconds"),
            exogenous: exogenous_of(&values, model_type)?,
            metadata: match values.node("metadata").and_then(Node::to_json) {
                Some(Json::Object(map)) => map,
                _ => Map::new(),
            },
            enabled: values.flag("enabled"),
            model_id,
            model_type,
        })
    }
}

fn series_of(values: &Values, node: &Node, model_type: ModelType) -> Result<Option<SeriesRef>, ConfigError> {
    const ALLOWED: &str = "family:key, or family:* for one model per key";
    match values.opt_text("series") {
        Some(text) => match SeriesRef::parse(&text) {
            Some(series) => Ok(Some(series)),
            None => Err(values.refuse("series", quoted(&text), ALLOWED)),
        },
        None if model_type == ModelType::External => Ok(None),
        None => Err(ConfigError::new("series", &node.origin, "nothing", ALLOWED)),
    }
}

/// The statistics of an aggregate's value.
const STATISTICS: [&str; 9] = ["count", "sum", "avg", "min", "max", "std", "p50", "p95", "p99"];

pub(crate) fn is_field(field: &str) -> bool {
    field == "event_count"
        || field
            .rsplit_once('.')
            .is_some_and(|(value, statistic)| !value.is_empty() && STATISTICS.contains(&statistic))
}

fn field_of(values: &Values) -> Result<String, ConfigError> {
    let field = values.text("field");
    match is_field(&field) {
        true => Ok(field),
        false => {
            let allowed = format!("event_count or <value>.<one of {}>", STATISTICS.join(", "));
            Err(values.refuse("field", quoted(&field), allowed))
        }
    }
}

fn history_of(values: &Values) -> Result<Vec<Option<f64>>, ConfigError> {
    let Some(node) = values.node("history").and_then(Node::parsed) else { return Ok(Vec::new()) };
    let found = node.outline();
    let allowed = format!("a list of up to {MAX_HISTORY} numbers, null where one is missing");
    let items = match node.raw {
        Raw::List(items) if items.len() <= MAX_HISTORY => items,
        Raw::List(items) => return Err(values.refuse("history", format!("{} values", items.len()), allowed)),
        _ => return Err(values.refuse("history", found, allowed)),
    };
    let number = |(index, item): (usize, &Node)| match item.raw {
        Raw::Null => Ok(None),
        Raw::Int(value) => Ok(Some(value as f64)),
        Raw::Float(value) => Ok(Some(value)),
        ref other => Err(ConfigError::new(
            format!("history[{index}]"),
            &item.origin,
            other.to_string(),
            "a number or null",
        )),
    };
    items.iter().enumerate().map(number).collect()
}

fn exogenous_of(values: &Values, model_type: ModelType) -> Result<Vec<Regressor>, ConfigError> {
    let texts = values.texts("exogenous");
    if !texts.is_empty() && model_type != ModelType::Sarimax {
        return Err(values.refuse(
            "exogenous",
            format!("regressors of {model_type}"),
            "model_type SARIMAX, or none",
        ));
    }
    let regressor = |(index, text): (usize, &String)| {
        Regressor::parse(text).ok_or_else(|| {
            let (origin, allowed) =
                (values.origin("exogenous"), "family:key/field, such as weather:JFK/temp.avg");
            ConfigError::new(format!("exogenous[{index}]"), &origin, quoted(text), allowed)
        })
    };
    texts.iter().enumerate().map(regressor).collect()
}

fn family<'a>(series: &'a [SeriesSpec], wanted: &SeriesRef, setting: &str) -> Result<&'a SeriesSpec, Fault> {
    series.iter().find(|spec| spec.name == wanted.family).ok_or_else(|| {
        let known: Vec<&str> = series.iter().map(|spec| spec.name.as_str()).collect();
        let found = format!("a series of the family {}, which there is not", quoted(&wanted.family));
        Fault::new(setting, found, format!("one of {}", known.join(", ")))
    })
}

/// Windows are joined by their start, when the model's own closes: both have to be cut alike, and the other's to be closed
/// by then.
fn check_join(own: &SeriesSpec, other: &SeriesSpec, setting: &str) -> Result<(), Fault> {
    if own.window != other.window {
        let found = format!("series {}, whose windows are others than those of {}", other.name, own.name);
        return Err(Fault::new(setting, found, "a series with the same window"));
    }
    if matches!(own.window, WindowSpec::Session { .. }) {
        let found = format!("series {} in sessions, which begin anywhere", other.name);
        return Err(Fault::new(setting, found, "series in tumbling or hopping windows"));
    }
    if other.lateness > own.lateness {
        let found = format!("series {}, whose windows close later than those of {}", other.name, own.name);
        return Err(Fault::new(setting, found, "a series whose lateness is no longer"));
    }
    Ok(())
}

fn check_field(family: &SeriesSpec, field: &str, setting: &str) -> Result<(), Fault> {
    let Some((value, statistic)) = field.rsplit_once('.') else { return Ok(()) };
    if let Some(values) = family.values.as_ref().filter(|values| !values.iter().any(|known| known == value)) {
        let allowed = match values.is_empty() {
            true => "event_count".to_owned(),
            false => format!("event_count, or a statistic of {}", values.join(", ")),
        };
        return Err(Fault::new(
            setting,
            format!("{}, not a value of series {}", quoted(value), family.name),
            allowed,
        ));
    }
    if !family.percentiles && statistic.starts_with('p') {
        let found = format!("{} of a series with percentiles = false", quoted(statistic));
        return Err(Fault::new(setting, found, "count, sum, avg, min, max or std"));
    }
    Ok(())
}
