//! The reference of every setting (`docs/configuration.md`), made from the tables that read them.

use crate::keys::KEYS;
use crate::model::MODEL_KEYS;
use crate::rule::RULE_KEYS;
use crate::series::SERIES_KEYS;
use crate::table::Key;

const HEAD: &str = "# Configuration

One TOML file, then the environment, then the command line: what comes later wins. A variable is `STREAMING_`, the
section, `__` and the name in capitals (`STREAMING_KAFKA__ACKS=all`); lists and tables are JSON, everything else is
plain text. A `.env` file in the working directory is read like the environment, which wins over it. On the command
line, `--set kafka.acks=all`.

A setting that is unknown, of the wrong type or at odds with another stops the start with one message that names it,
where it was written, what was found and what is allowed. Secrets are never printed.

This page is made from the code that reads the settings: `UPDATE_REFERENCE=1 cargo test -p tidecast-config` writes it
anew.
";

/// The whole page, Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    let mut section = None;
    for key in KEYS.iter().filter(|key| !matches!(key.path, "series" | "models" | "rules")) {
        let (name, _) = key.path.split_once('.').unwrap_or(("", key.path));
        if section != Some(name) {
            section = Some(name);
            page.push_str(&match name {
                "" => "\n## Top level\n".to_owned(),
                name => format!("\n## `[{name}]`\n"),
            });
            heading(&mut page, true);
        }
        row(&mut page, key, key.path.rsplit('.').next().unwrap_or(key.path), true);
    }
    for (title, keys) in [("series", SERIES_KEYS), ("models", MODEL_KEYS), ("rules", RULE_KEYS)] {
        page.push_str(&format!("\n## `[[{title}]]`\n"));
        heading(&mut page, false);
        keys.iter().for_each(|key| row(&mut page, key, key.path, false));
    }
    page
}

fn heading(page: &mut String, variables: bool) {
    page.push_str(match variables {
        true => "\n| setting | default | allowed | what it is | also as |\n| --- | --- | --- | --- | --- |\n",
        false => "\n| setting | default | allowed | what it is |\n| --- | --- | --- | --- |\n",
    });
}

fn row(page: &mut String, key: &Key, name: &str, variables: bool) {
    let default = match key.default {
        None => String::new(),
        Some("") => "none".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let mut line = format!("| `{name}` | {default} | {} | {} |", key.kind.allowed(), key.doc);
    if variables {
        let also: Vec<String> = key.variables.iter().map(|variable| format!("`{variable}`")).collect();
        line.push_str(&format!(" {} |", also.join(", ")));
    }
    page.push_str(&line);
    page.push('\n');
}
