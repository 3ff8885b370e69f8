//! Pages of what has a name.

use tidecast_ports::{Page, PageRequest};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 10_000;

/// The page that is asked for of what there is by these names, which are in order. Those without a view are left out.
pub(crate) fn page<T>(
    names: Vec<String>,
    request: &PageRequest,
    mut view: impl FnMut(&str) -> Option<T>,
) -> Page<T> {
    let limit = request.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let search = request.search.as_deref().unwrap_or("").to_lowercase();
    let mut items = Vec::new();
    let mut last: Option<String> = None;
    for name in names {
        if request.cursor.as_ref().is_some_and(|cursor| name <= *cursor)
            || !name.to_lowercase().contains(&search)
        {
            continue;
        }
        if items.len() == limit {
            return Page { items, next: last };
        }
        items.extend(view(&name));
        last = Some(name);
    }
    Page { items, next: None }
}
