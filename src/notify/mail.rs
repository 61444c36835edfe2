//! Delivery by mail, over SMTP or by a command such as sendmail.

use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as LettreTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::command;
use crate::domain::notify::channel::{Mail, Mailer, Smtp, SmtpTls};
use crate::domain::notify::notice::{Notice, NoticeContent};
use crate::domain::notify::run_news::RunMoment;
use crate::port::SendError;
use crate::present::notice;

/// The time limit of each answer of the server.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a mail. `id` makes the unique part of a Message-ID from the key of a notice.
pub(super) async fn send(
    mail: &Mail,
    notice: &Notice,
    id: &(dyn Fn(&str) -> String + Sync),
) -> Result<(), SendError> {
    let message = message(mail, notice, id).map_err(SendError::Refused)?;
    match &mail.by {
        Mailer::Sendmail(script) => command::run(script, Vec::new(), &message.formatted()).await,
        Mailer::Smtp(smtp) => {
            let server = format!("{}:{}", smtp.host, smtp.port);
            let transport = transport(smtp).map_err(|why| SendError::Down(format!("{server}: {why}")))?;
            transport.send(message).await.map(drop).map_err(|error| failed(&server, smtp, &error))
        }
    }
}

/// A server that refuses this mail may accept another one; all other errors affect every mail.
fn failed(server: &str, smtp: &Smtp, error: &lettre::transport::smtp::Error) -> SendError {
    let said = in_full(error);
    let why = format!("{server}: {said}{}", hint(smtp, &said));
    if error.is_permanent() { SendError::Refused(why) } else { SendError::Down(why) }
}

/// What to try, where the encryption of the connection is at fault.
fn hint(smtp: &Smtp, said: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match smtp.tls {
        SmtpTls::Starttls if has(&["STARTTLS is not supported"]) => {
            "; try: tls = \"tls\" with port 465, or tls = \"none\" for a server on this machine"
        }
        SmtpTls::Starttls | SmtpTls::Tls if has(&["UnknownIssuer", "self-signed", "self signed"]) => {
            "; try: ca = \"FILE\" with the certificate of the authority that signed the server's"
        }
        SmtpTls::Starttls | SmtpTls::Tls if has(&["NotValidForName"]) => {
            "; try: `smtp` with the name that is in the server's certificate"
        }
        SmtpTls::Tls
            if has(&["corrupt message", "InvalidContentType", "record overflow", "wrong version"]) =>
        {
            "; the server does not begin with TLS; try: tls = \"starttls\""
        }
        SmtpTls::Starttls | SmtpTls::Tls | SmtpTls::None => "",
    }
}

fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        if !text.contains(&inner.to_string()) {
            text += &format!(": {inner}");
        }
        source = inner.source();
    }
    text
}

fn transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let tls = match smtp.tls {
        SmtpTls::None => LettreTls::None,
        SmtpTls::Starttls => LettreTls::Required(parameters(smtp)?),
        SmtpTls::Tls => LettreTls::Wrapper(parameters(smtp)?),
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port)
        .tls(tls)
        .timeout(Some(TIMEOUT));
    let builder = match &smtp.login {
        Some((user, password)) => {
            builder.credentials(Credentials::new(user.clone(), password.expose().to_string()))
        }
        None => builder,
    };
    Ok(builder.build())
}

fn parameters(smtp: &Smtp) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(smtp.host.clone());
    if let Some(path) = &smtp.ca {
        let failed =
            |error: &dyn std::fmt::Display| format!("{}: {error}; try: another `ca`", path.display());
        let pem = std::fs::read(path).map_err(|error| failed(&error))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| failed(&error))?);
    }
    builder.build().map_err(|error| in_full(&error))
}

/// The mail: all messages about an incident are one thread, and autoresponders do not answer.
fn message(mail: &Mail, notice: &Notice, id: &(dyn Fn(&str) -> String + Sync)) -> Result<Message, String> {
    let mailbox = |text: &String| {
        text.parse::<Mailbox>().map_err(|error| format!("{text}: {error}; try: `mail` in rollcall.toml"))
    };
    let from = mailbox(&mail.from)?;
    let domain = from.email.domain().to_string();
    let message_id = |key: &str| format!("<{}@{domain}>", id(key));
    let mut builder = Message::builder()
        .from(from)
        .subject(notice::subject(notice))
        .date(SystemTime::from(notice.at))
        .message_id(Some(message_id(&notice.key)))
        .header(ContentType::TEXT_PLAIN)
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".into(),
        ));
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    if let NoticeContent::Incident(about) = &notice.what
        && !about.first
    {
        let first = message_id(&about.first_key());
        builder = builder.in_reply_to(first.clone()).references(first);
    }
    // The first message about a run may have gone to no recipient: mail clients join those that name the same one.
    if let NoticeContent::Run(news) = &notice.what
        && news.moment != RunMoment::Started
    {
        let first = message_id(&news.thread());
        builder = builder.in_reply_to(first.clone()).references(first);
    }
    builder.body(notice::text(notice)).map_err(|error| error.to_string())
}
