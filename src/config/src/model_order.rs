//! Orders of the ARIMA and GARCH families.

use crate::error::ConfigError;
use crate::model::ModelType;
use crate::table::Values;
use crate::written::{Node, Raw};
use serde::{Serialize, Serializer};

/// The order of a model without its season.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `[p, d, q]` of ARIMA, SARIMA and SARIMAX.
    Arima {
        /// Autoregressive terms.
        p: usize,
        /// Differences.
        d: usize,
        /// Moving-average terms.
        q: usize,
    },
    /// `[p, q]` of GARCH.
    Garch {
        /// Lags of the squared errors.
        p: usize,
        /// Lags of the variance.
        q: usize,
    },
}

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Order::Arima { p, d, q } => [p, d, q].serialize(serializer),
            Order::Garch { p, q } => [p, q].serialize(serializer),
        }
    }
}

/// Upper bounds of `p`, `d`, `q`: past them a fit is a search in the dark that takes minutes.
const ARIMA_MOST: [usize; 3] = [24, 3, 24];
const GARCH_MOST: [usize; 2] = [10, 10];
const SEASONAL_MOST: [usize; 4] = [4, 2, 4, 8_784];

pub(crate) fn order_of(values: &Values, node: &Node, model: ModelType) -> Result<Option<Order>, ConfigError> {
    let given = values.node("order");
    let takes = match model {
        ModelType::Arima | ModelType::Sarima | ModelType::Sarimax => "[p, d, q], such as [1, 1, 1]",
        ModelType::Garch => "[p, q], such as [1, 1]",
        _ => {
            return match given {
                Some(_) => Err(values.refuse(
                    "order",
                    format!("an order of {model}"),
                    "no order: this family takes none",
                )),
                None => Ok(None),
            };
        }
    };
    match (model, given) {
        (ModelType::Garch, None) => Ok(Some(Order::Garch { p: 1, q: 1 })),
        (ModelType::Garch, Some(given)) => {
            let [p, q] = numbers("order", given, takes, GARCH_MOST)?;
            if p == 0 {
                return Err(ConfigError::new("order[0]", &given.origin, "0", "a whole number from 1 to 10"));
            }
            Ok(Some(Order::Garch { p, q }))
        }
        (_, Some(given)) => {
            let [p, d, q] = numbers("order", given, takes, ARIMA_MOST)?;
            Ok(Some(Order::Arima { p, d, q }))
        }
        (_, None) => Err(ConfigError::new("order", &node.origin, "nothing", takes)),
    }
}

pub(crate) fn seasonal_order_of(
    values: &Values,
    node: &Node,
    model: ModelType,
) -> Result<Option<[usize; 4]>, ConfigError> {
    const TAKES: &str = "[P, D, Q, m], such as [1, 1, 1, 12]";
    match (values.node("seasonal_order"), model.is_seasonal_arima()) {
        (Some(given), true) => {
            let order = numbers("seasonal_order", given, TAKES, SEASONAL_MOST)?;
            // "No season" as others write it.
            if model == ModelType::Sarimax && order[..3] == [0, 0, 0] && order[3] < 2 {
                return Ok(None);
            }
            if order[3] < 2 {
                let found = order[3].to_string();
                return Err(ConfigError::new(
                    "seasonal_order[3]",
                    &given.origin,
                    found,
                    "a season of 2 windows or more",
                ));
            }
            Ok(Some(order))
        }
        (Some(_), false) => Err(values.refuse(
            "seasonal_order",
            format!("a seasonal order of {model}"),
            "model_type SARIMA or SARIMAX",
        )),
        // SARIMAX with regressors alone is an ARIMA with regressors.
        (None, true) if model == ModelType::Sarimax => Ok(None),
        (None, true) => Err(ConfigError::new("seasonal_order", &node.origin, "nothing", TAKES)),
        (None, false) => Ok(None),
    }
}

fn numbers<const N: usize>(
    setting: &str,
    node: &Node,
    takes: &str,
    most: [usize; N],
) -> Result<[usize; N], ConfigError> {
    let parsed = node.parsed();
    let items = match parsed.as_ref().map(|node| &node.raw) {
        Some(Raw::List(items)) if items.len() == N => items,
        Some(Raw::List(items)) => {
            return Err(ConfigError::new(setting, &node.origin, format!("{} numbers", items.len()), takes));
        }
        _ => return Err(ConfigError::new(setting, &node.origin, node.outline(), takes)),
    };
    let mut out = [0; N];
    for (index, item) in items.iter().enumerate() {
        out[index] = match item.raw {
            Raw::Int(value) => usize::try_from(value).ok().filter(|value| *value <= most[index]),
            _ => None,
        }
        .ok_or_else(|| {
            let allowed = format!("a whole number from 0 to {}", most[index]);
            ConfigError::new(format!("{setting}[{index}]"), &item.origin, item.raw.to_string(), allowed)
        })?;
    }
    Ok(out)
}
