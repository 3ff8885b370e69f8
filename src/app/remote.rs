//! What REST calls of a running service do, from a shell: `replay` and `rules`.

use crate::cli::{Format, RemoteOptions, ReplayOptions, RulesCommand};
use crate::files::{open, shown};
use crate::print::{self, columns};
use anyhow::{Context, bail};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long a service may take to answer: a replay of many letters is one call.
const PATIENCE: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(10);
/// Rules asked for at once.
const PAGE: &str = "500";
/// Longest body read from a file.
const BODY_MAX: u64 = 16 << 20;

/// `tidecast replay`.
pub fn replay(options: &ReplayOptions) -> anyhow::Result<ExitCode> {
    let mut body = match (&options.reason, options.id.is_empty()) {
        (Some(reason), _) => json!({"reason": reason}),
        (None, false) => json!({"ids": options.id}),
        (None, true) => json!({"all": true}),
    };
    if let Some(file) = &options.payload {
        if options.id.len() != 1 {
            return Err(print::Usage("--payload is for a single --id".to_owned()).into());
        }
        body["payload"] = json_of(file)?;
    }
    let answer = Service::new(&options.remote)?.call(Method::POST, "/api/dlq/replay", &[], Some(&body))?;
    // Of many some may have gone before; who names letters wants these.
    if !options.id.is_empty() && answer["replayed"] == 0 {
        bail!(
            "no letter went back: none has that id any more, or it went back already. GET /api/dlq lists them"
        );
    }
    let rows = ["replayed", "skipped"].map(|name| vec![name.to_owned(), text(&answer[name])]);
    show(options.remote.format, &answer, &rows)
}

/// `tidecast rules …`.
pub fn rules(command: &RulesCommand) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::Test(options) => {
            let event = json_of(&options.event)?;
            let body = match (&options.rule, &options.name, &options.condition) {
                (Some(file), _, _) => json!({"rule": json_of(file)?, "event": event}),
                (_, Some(name), _) => json!({"rule": name, "event": event}),
                (_, _, condition) => json!({"condition": condition, "event": event}),
            };
            let answer =
                Service::new(&options.remote)?.call(Method::POST, "/api/rules/test", &[], Some(&body))?;
            let mut rows: Vec<Vec<String>> = ["matched", "condition"]
                .iter()
                .map(|name| vec![(*name).to_owned(), text(&answer[*name])])
                .collect();
            if !answer["error"].is_null() {
                rows.push(vec!["error".to_owned(), text(&answer["error"])]);
            }
            for action in answer["actions"].as_array().into_iter().flatten() {
                rows.push(vec!["action".to_owned(), text(action)]);
            }
            show(options.remote.format, &answer, &rows)
        }
        RulesCommand::List { remote } => {
            let service = Service::new(remote)?;
            let mut items: Vec<Value> = Vec::new();
            let mut cursor: Option<String> = None;
            loop {
                let mut query = vec![("limit", PAGE)];
                query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                let page = service.call(Method::GET, "/api/rules", &query, None)?;
                items.extend(page["items"].as_array().into_iter().flatten().cloned());
                let next = page["next"].as_str().map(str::to_owned);
                if next.is_none() || next == cursor {
                    break;
                }
                cursor = next;
            }
            let heads = ["name", "event_type", "enabled", "condition"];
            let mut rows = vec![heads.map(str::to_owned).to_vec()];
            rows.extend(items.iter().map(|rule| heads.iter().map(|name| text(&rule[*name])).collect()));
            show(remote.format, &Value::Array(items), &rows)
        }
    }
}

/// A value without the quotes of JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn show(format: Format, answer: &Value, rows: &[Vec<String>]) -> anyhow::Result<ExitCode> {
    let mut out = print::out();
    match format {
        Format::Json => writeln!(out, "{answer}")?,
        Format::Table => columns(&mut out, rows)?,
        Format::Csv => {
            for row in rows {
                let cells: Vec<_> = row.iter().map(|cell| crate::files::csv::quoted(cell)).collect();
                writeln!(out, "{}", cells.join(","))?;
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn json_of(file: &Path) -> anyhow::Result<Value> {
    let mut body = Vec::new();
    open(file)?
        .take(BODY_MAX)
        .read_to_end(&mut body)
        .with_context(|| format!("{} cannot be read", shown(file)))?;
    serde_json::from_slice(&body).with_context(|| format!("{} is no JSON", shown(file)))
}

/// A running service.
struct Service {
    base: Url,
    token: Option<String>,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Service {
    fn new(options: &RemoteOptions) -> anyhow::Result<Service> {
        let wrong =
            |why: &str| print::Usage(format!("--url {:?}: {why}, e.g. http://localhost:8000", options.url));
        let base = Url::parse(&options.url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("an address begins with http:// or https://").into());
        }
        // The provider is named once for a process; a second time says so and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client cannot be set up")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let token = options.token.clone().filter(|token| !token.is_empty());
        Ok(Service { base, token, client, runtime })
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, text) = self
            .runtime
            .block_on(async {
                let answer = request.send().await?;
                Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
            })
            .map_err(|error| anyhow::Error::new(error.without_url()))
            .with_context(|| {
                format!("{} does not answer: is it running there? --url names another", self.base)
            })?;
        let answer: Option<Value> = serde_json::from_str(&text).ok();
        if !status.is_success() {
            bail!("{}", refusal(status, answer.as_ref(), self.token.is_some()));
        }
        answer.with_context(|| {
            format!("{} answers something else than JSON: is it Tidecast's app listener?", self.base)
        })
    }
}

/// A problem document in one line.
fn refusal(status: StatusCode, problem: Option<&Value>, with_token: bool) -> String {
    let part = |name: &str| problem.and_then(|p| p[name].as_str()).filter(|text| !text.is_empty());
    let title = part("title").or(status.canonical_reason()).unwrap_or("refused");
    let mut line = format!("{} {title}", status.as_u16());
    if let Some(field) = part("field") {
        line += &format!(": {field}");
    }
    if let Some(detail) = part("detail") {
        line += &format!(": {}", detail.replace(['\n', '\r'], " "));
    }
    if status == StatusCode::UNAUTHORIZED && !with_token {
        line += ": give --token or TIDECAST_TOKEN";
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_one_line() {
        let problem = json!({"title": "Unprocessable Content", "status": 422, "detail": "two\nlines", "field": "rule.name"});
        let line = refusal(StatusCode::UNPROCESSABLE_ENTITY, Some(&problem), false);
        assert_eq!(line, "422 Unprocessable Content: rule.name: two lines");
        let line = refusal(StatusCode::UNAUTHORIZED, None, false);
        assert_eq!(line, "401 Unauthorized: give --token or TIDECAST_TOKEN");
    }

    #[test]
    fn an_address_that_is_none_is_wrong_usage() {
        for url in ["localhost:8000", "ftp://x", "http://"] {
            let options = RemoteOptions { url: url.into(), token: None, format: Format::Json };
            assert!(Service::new(&options).err().unwrap().is::<print::Usage>(), "{url}");
        }
    }
}
