//! Webhooks and Slack's incoming webhooks: one JSON POST each, without redirects and without a proxy.

use crate::resolve::{NotPublic, Reach, Resolver};
use crate::{OrderError, StartError, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tidecast_event::Priority;
use tidecast_rules::{HiddenText, HiddenUrl, RuleEvent};

/// The client.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    reach: Arc<Reach>,
}

impl Http {
    /// A client that reaches only these addresses.
    pub fn new(reach: Reach) -> Result<Self, StartError> {
        let reach = Arc::new(reach);
        // Another part of the process may have chosen the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Resolver(reach.clone())))
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("tidecast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| StartError::Client(error.to_string()))?;
        Ok(Http { client, reach })
    }

    /// Posts the event.
    pub async fn webhook(
        &self,
        url: &HiddenUrl,
        headers: &[(String, HiddenText)],
        timeout: Duration,
        rule: &str,
        event: &RuleEvent,
    ) -> Result<(), OrderError> {
        self.post(url, headers, timeout, json(rule, event)).await
    }

    /// Posts a message in the shape of Slack's incoming webhooks.
    pub async fn slack(
        &self,
        url: &HiddenUrl,
        channel: Option<&str>,
        timeout: Duration,
        rule: &str,
        event: &RuleEvent,
    ) -> Result<(), OrderError> {
        let alert = event.alert(rule);
        let mut body = serde_json::json!({
            "text": escaped(&format!("{}: {}", alert.rule, alert.message)),
            "attachments": [{
                "color": color(event.priority),
                "fields": [
                    {"title": "Event", "value": event.kind.as_str(), "short": true},
                    {"title": "Priority", "value": event.priority.as_str(), "short": true},
                    {"title": "Model", "value": escaped(event.model_id.as_deref().unwrap_or("-")), "short": true},
                    {"title": "Time", "value": alert.timestamp, "short": true},
                ],
                "ts": event.timestamp.0.div_euclid(1_000_000),
            }],
        });
        if let Some(channel) = channel {
            body["channel"] = channel.into();
        }
        self.post(url, &[], timeout, body).await
    }

    async fn post(
        &self,
        url: &HiddenUrl,
        headers: &[(String, HiddenText)],
        timeout: Duration,
        body: serde_json::Value,
    ) -> Result<(), OrderError> {
        self.refuse_private(url)?;
        let mut request = self.client.post(url.expose()).timeout(timeout);
        for (name, value) in headers {
            request = request.header(name, value.expose());
        }
        // Behind them: a content type that the rule names stays the only one.
        let request = request.json(&body);
        // The error's own words may hold the address, which is a secret.
        let response = request.send().await.map_err(|error| {
            let causes =
                std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
            if causes.into_iter().any(|cause| cause.is::<NotPublic>()) {
                return not_public(url);
            }
            let why = if error.is_timeout() { "no answer in time" } else { "no connection" };
            OrderError::Later(format!("{url}: {why}"))
        })?;
        let status = response.status();
        match status.as_u16() {
            200..=299 => Ok(()),
            408 | 425 | 429 | 500..=599 => Err(OrderError::Later(format!("{url} answered {status}"))),
            300..=399 => {
                Err(OrderError::Never(format!("{url} answered {status}: redirects are not followed")))
            }
            _ => Err(OrderError::Never(format!("{url} answered {status}"))),
        }
    }

    /// Names are judged by the resolver; an address written out does not pass there.
    fn refuse_private(&self, url: &HiddenUrl) -> Result<(), OrderError> {
        let parsed = reqwest::Url::parse(url.expose())
            .map_err(|_| OrderError::Never(format!("{url} is no address")))?;
        let host = parsed.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) if !self.reach.allows(host, address) => Err(not_public(url)),
            _ => Ok(()),
        }
    }
}

fn not_public(url: &HiddenUrl) -> OrderError {
    OrderError::Never(format!(
        "{url} is a private address that is not in webhook_hosts, so webhooks do not reach it"
    ))
}

/// As Slack asks for text: what it would take for a link, or for a call to a whole channel, is shown as it stands.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn color(priority: Priority) -> &'static str {
    match priority {
        Priority::Critical => "#b00020",
        Priority::High => "#d9730d",
        Priority::Medium => "#2f6f9f",
        Priority::Low => "#808080",
    }
}
