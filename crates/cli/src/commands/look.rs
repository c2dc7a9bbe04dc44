//! `postrider trace` and `postrider messages`.

use super::ConfigFile;
use crate::{
    failure::Failure,
    output::{Output, table},
    stages::MessageReport,
};
use clap::Args;
use postrider_message::{MessageStatus, NetworkName, Outcome, UnixMillis};
use postrider_store::{Found, MessageDetail, MessageFilter, SqliteStore, Store};
use serde::Serialize;

/// Shows all about one message.
#[derive(Debug, Args)]
pub struct Trace {
    /// The first digits of the message's id, its guid, or the transaction that sent it.
    message: String,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Serialize)]
struct TraceDocument<'a> {
    #[serde(flatten)]
    report: MessageReport,
    detail: &'a MessageDetail,
}

impl Trace {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let store = self.config.store().await?;
        let id = match store.find(&self.message).await? {
            Found::One(id) => id,
            Found::None => {
                let text = format!("no message begins with `{}`", self.message);
                return Err(Failure::Other(text));
            }
            Found::Many(ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                let text = format!("`{}` fits several messages:\n{}", self.message, ids.join("\n"));
                return Err(Failure::Other(text));
            }
        };
        let Some(detail) = store.message(id).await? else {
            return Err(Failure::Other(format!("message {id} is gone")));
        };
        let conditions = store.conditions().await?;
        let standing = detail.row.standing.clone().under(&conditions);
        let report = MessageReport::new(&detail, &standing);
        show(output, &report, &detail);
        output.document(&TraceDocument { report, detail: &detail });
        Ok(())
    }
}

fn show(output: &Output, report: &MessageReport, detail: &MessageDetail) {
    output.line(&format!("message  {}", report.id));
    output.line(&format!("lane     {}", report.lane));
    output.line(&format!("nonce    {}", report.nonce));
    if let Some(reference) = detail.row.reference {
        output.line(&format!("guid     {reference}"));
    }
    let outcome = report.outcome.map(|o| format!(", {o}")).unwrap_or_default();
    output.line(&format!("status   {}{outcome}", report.status));
    if let Some(reason) = &report.reason {
        output.line(&format!("reason   {reason}"));
    }
    if let Some(remedy) = report.remedy {
        output.line(&format!("remedy   {remedy}"));
    }
    output.line("");
    for stage in &report.stages {
        output.line(&format!("{:>9.1} s  {:<10} {}", stage.seconds, stage.name, stage.detail));
    }
    if !detail.duties.is_empty() {
        output.line("");
    }
    for duty in &detail.duties {
        let reason = duty.state.reason().map(|r| format!(": {r}")).unwrap_or_default();
        let (kind, state) = (duty.kind, duty.state.as_str());
        output.line(&format!(
            "duty     {kind} on {} by {}: {state}{reason}",
            duty.network, duty.worker
        ));
    }
    for sent in &detail.transactions {
        let (state, hash) = (sent.state, sent.hash);
        output.line(&format!("sent     {} in {hash} on {}: {state}", sent.purpose, sent.network));
    }
}

/// Lists messages, the newest first.
#[derive(Debug, Args)]
pub struct Messages {
    /// Only those with this status.
    #[arg(long, value_parser = status)]
    status: Option<MessageStatus>,
    /// Only those from or to this network.
    #[arg(long)]
    network: Option<NetworkName>,
    /// Only those that have not ended.
    #[arg(long)]
    open: bool,
    /// At most this many.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    config: ConfigFile,
}

fn status(text: &str) -> Result<MessageStatus, String> {
    MessageStatus::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
        let all: Vec<&str> = MessageStatus::ALL.iter().map(|s| s.as_str()).collect();
        format!("use one of {}", all.join(", "))
    })
}

/// A message in the list, for programs.
#[derive(Serialize)]
struct Listed {
    id: String,
    lane: String,
    nonce: u64,
    status: &'static str,
    outcome: Option<&'static str>,
    reason: Option<String>,
    age_seconds: f64,
}

impl Messages {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let store = self.config.store().await?;
        let listed = list(&store, &self).await?;
        let rows: Vec<Vec<String>> = listed
            .iter()
            .map(|m| {
                vec![
                    m.id.chars().take(12).collect(),
                    m.status.to_owned(),
                    m.outcome.unwrap_or("-").to_owned(),
                    m.nonce.to_string(),
                    format!("{:.0} s", m.age_seconds),
                    m.lane.clone(),
                    m.reason.clone().unwrap_or_default(),
                ]
            })
            .collect();
        let head = ["message", "status", "outcome", "nonce", "age", "lane", "reason"];
        for line in table(&head, &rows) {
            output.line(&line);
        }
        output.document(&serde_json::json!({ "messages": listed }));
        Ok(())
    }
}

async fn list(store: &SqliteStore, wanted: &Messages) -> Result<Vec<Listed>, Failure> {
    let filter = MessageFilter {
        status: wanted.status,
        network: wanted.network.clone(),
        open_only: wanted.open,
        limit: wanted.limit,
        ..MessageFilter::default()
    };
    let conditions = store.conditions().await?;
    let now = UnixMillis::now();
    let rows = store.messages(filter).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let standing = row.standing.under(&conditions);
            Listed {
                id: row.id.to_string(),
                lane: row.lane.to_string(),
                nonce: row.nonce.0,
                status: standing.status.as_str(),
                outcome: standing.outcome.map(Outcome::as_str),
                reason: standing.reason.map(|r| r.to_string()),
                age_seconds: now.seconds_since(row.learnt_at),
            }
        })
        .collect())
}
