//! The series of models: their aggregates come to who subscribes to the models.

use crate::live::index::Pattern;
use std::sync::Arc;
use tidecast_config::ModelSpec;

/// Series of one pattern, at most; each takes a place in the index of subscriptions.
const SERIES_MAX: usize = 1_000;

/// The series (`<series>:<key>`) of the models that `wanted` means, of those that are registered now. Of a template it is every
/// key's, or those that the pattern names, whenever they come.
pub(crate) fn series_of(registered: &[Arc<ModelSpec>], wanted: &Pattern) -> Vec<Pattern> {
    if *wanted == Pattern::all() {
        // It means every series by its own name.
        return Vec::new();
    }
    let of_model = |spec: &Arc<ModelSpec>| {
        let series = spec.series.as_ref()?;
        if !spec.is_template() {
            return wanted.matches(&spec.model_id).then(|| Pattern::Exact(series.to_string().into()));
        }
        let (stem, family) = (format!("{}/", spec.model_id), format!("{}:", series.family));
        let with = |key: &str| Arc::from(format!("{family}{key}"));
        match wanted {
            Pattern::Exact(id) => Some(Pattern::Exact(with(id.strip_prefix(&*stem)?))),
            Pattern::Prefix(prefix) if stem.starts_with(&**prefix) => Some(Pattern::Prefix(with(""))),
            Pattern::Prefix(prefix) => Some(Pattern::Prefix(with(prefix.strip_prefix(&*stem)?))),
        }
    };
    let mut found: Vec<Pattern> = Vec::new();
    for series in registered.iter().filter_map(of_model) {
        if found.len() < SERIES_MAX && !found.contains(&series) {
            found.push(series);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_model_a_template_and_what_it_makes() {
        let spec = |id: &str, series: &str| {
            let object =
                json!({"model_id": id, "model_type": "SeasonalNaive", "series": series, "season": 2});
            Arc::new(ModelSpec::from_json(&object).unwrap())
        };
        let external = json!({"model_id": "sales_far", "model_type": "External"});
        let registered = [
            spec("sales_1", "shop:north"),
            spec("sales_2", "shop:north"),
            spec("sales_by", "till:*"),
            Arc::new(ModelSpec::from_json(&external).unwrap()),
            spec("cost", "bills:a"),
        ];
        let found = |wanted: &str| {
            let found = series_of(&registered, &Pattern::parse(wanted));
            found.iter().map(Pattern::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found("sales_1"), ["shop:north"]);
        assert_eq!(found("sales_*"), ["shop:north", "till:*"], "each once");
        assert_eq!(found("sales_by/*"), ["till:*"]);
        assert_eq!(found("sales_by/7*"), ["till:7*"]);
        assert_eq!(found("sales_by/7"), ["till:7"]);
        for nothing in ["*", "sales_by", "sales_3", "sales_far", "till:*"] {
            assert_eq!(found(nothing), Vec::<String>::new(), "{nothing}");
        }
    }
}
