//! `send_alert`: a mail to people, through the one mail server of the settings.

use crate::{OrderError, StartError, json};
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{Error as SmtpError, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::ExposeSecret;
use std::time::{Duration, SystemTime};
use tidecast_config::{Smtp, SmtpSecurity};
use tidecast_event::OutputId;
use tidecast_rules::RuleEvent;

/// Connections to the server at once; what is more waits for one of them.
const CONNECTIONS: u32 = 4;
/// Most characters of a subject: mail programs show fewer.
const SUBJECT: usize = 200;

/// The way to the mail server.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// A whole exchange of several answers.
    patience: Duration,
}

impl Mail {
    /// Connects to nothing yet: a server that is away at start is one that is back later.
    pub fn new(smtp: &Smtp) -> Result<Mail, StartError> {
        let mailbox = |setting: &str, text: &str| {
            text.parse::<Mailbox>()
                .map_err(|error| StartError::Mail(format!("{setting}: {text:?} is {error}")))
        };
        let mut tls = TlsParameters::builder(smtp.host.clone());
        if let Some(file) = &smtp.cafile {
            let unread = |why: String| StartError::Mail(format!("smtp.cafile: {}: {why}", file.display()));
            let pem = std::fs::read(file).map_err(|error| unread(error.to_string()))?;
            tls = tls.add_root_certificate(
                Certificate::from_pem(&pem).map_err(|error| unread(error.to_string()))?,
            );
        }
        let tls = tls.build_rustls().map_err(|error| StartError::Mail(error.to_string()))?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
            .port(smtp.port)
            .timeout(Some(smtp.timeout))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS))
            .tls(match smtp.security {
                SmtpSecurity::StartTls => Tls::Required(tls),
                SmtpSecurity::Tls => Tls::Wrapper(tls),
                SmtpSecurity::None => Tls::None,
            });
        if let Some((user, password)) = &smtp.credentials {
            builder =
                builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
        }
        Ok(Mail {
            transport: builder.build(),
            from: mailbox("smtp.from", &smtp.from)?,
            to: smtp.to.iter().map(|to| mailbox("smtp.to", to)).collect::<Result<_, _>>()?,
            patience: smtp.timeout * 6,
        })
    }

    /// Sends the event to `to`, or to the recipients of the settings.
    pub async fn send(
        &self,
        to: &[String],
        subject: Option<&str>,
        rule: &str,
        event: &RuleEvent,
    ) -> Result<(), OrderError> {
        let to = match to {
            [] => self.to.clone(),
            named => named
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_, _>>()
                .map_err(|error| OrderError::Never(format!("action.to: {error}")))?,
        };
        if to.is_empty() {
            return Err(OrderError::Never(
                "nobody to write to: give the action `to`, or set smtp.to".to_owned(),
            ));
        }
        let message = self.message(&to, subject, rule, event)?;
        let Err(refused) = self.hand_over(message.envelope(), &message).await else { return Ok(()) };
        if to.len() == 1 || !matches!(refused, OrderError::Never(_)) {
            return Err(refused);
        }
        // One address that the server does not know keeps nobody else from being told.
        let (mut told, mut missed) = (0, Vec::new());
        for one in &to {
            let alone = Envelope::new(Some(self.from.email.clone()), vec![one.email.clone()])
                .map_err(|error| OrderError::Never(error.to_string()))?;
            match self.hand_over(&alone, &message).await {
                Ok(()) => told += 1,
                Err(error) => missed.push(format!("{}: {error}", one.email)),
            }
        }
        match told {
            0 => Err(refused),
            told => Err(OrderError::Never(format!("{told} of {} told; {}", to.len(), missed.join("; ")))),
        }
    }

    async fn hand_over(&self, envelope: &Envelope, message: &Message) -> Result<(), OrderError> {
        let bytes = message.formatted();
        let sent = tokio::time::timeout(self.patience, self.transport.send_raw(envelope, &bytes));
        match sent.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(judged(&error)),
            Err(_) => Err(OrderError::Later("the mail server did not answer in time".to_owned())),
        }
    }

    fn message(
        &self,
        to: &[Mailbox],
        subject: Option<&str>,
        rule: &str,
        event: &RuleEvent,
    ) -> Result<Message, OrderError> {
        let alert = event.alert(rule);
        let subject = match subject {
            Some(subject) => subject.to_owned(),
            None => format!("[{}] {rule}: {}", event.priority.as_str(), alert.message),
        };
        let line: String =
            subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT).collect();
        let whole = json(rule, event);
        // The same event of the same rule is the same mail, whoever sends it again: mail programs show it once.
        let id = OutputId::of(&[b"mail", whole.to_string().as_bytes(), line.as_bytes()]);
        let id = format!("<{id}@{}>", self.from.email.domain());
        let model = event.model_id.as_deref().unwrap_or("-");
        let body = format!(
            "{}\n\nRule:      {rule}\nEvent:     {}\nPriority:  {}\nModel:     {model}\nTime:      {}\n\n{:#}\n",
            alert.message,
            event.kind.as_str(),
            event.priority.as_str(),
            alert.timestamp,
            whole["data"],
        );
        // RFC 3834: nobody's absence notice answers it.
        let automatic =
            HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        to.iter()
            .cloned()
            .fold(Message::builder(), MessageBuilder::to)
            .from(self.from.clone())
            .subject(line)
            .date(SystemTime::now())
            .message_id(Some(id))
            .raw_header(automatic)
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(|error| OrderError::Never(format!("the mail could not be written: {error}")))
    }
}

/// What the server refused for good is not tried again; what it puts off, and a server that is not there, is.
fn judged(error: &SmtpError) -> OrderError {
    let why = match std::error::Error::source(error) {
        Some(source) => format!("the mail server: {error} ({source})"),
        None => format!("the mail server: {error}"),
    };
    // A login that is refused and a certificate that is not trusted stay so until somebody acts.
    match error.is_permanent() || error.is_tls() || error.is_client() {
        true => OrderError::Never(why),
        false => OrderError::Later(why),
    }
}
