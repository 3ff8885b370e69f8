//! The page that documents every setting is the one the code writes.

use std::path::Path;

#[test]
fn the_committed_page_is_the_one_the_code_writes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = tidecast_config::reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/configuration.md is old: UPDATE_REFERENCE=1 cargo test -p tidecast-config"
    );
}

#[test]
fn the_defaults_in_the_page_are_the_ones_in_use() {
    let page = tidecast_config::reference();
    for line in [
        "| `linger_ms` | `10` |",
        "| `name` |  | a text that is not empty | the family",
        "`KAFKA_DEFAULT_TOPIC`",
    ] {
        assert!(page.contains(line), "{line}");
    }
}
