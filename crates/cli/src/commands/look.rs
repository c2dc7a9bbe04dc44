//! `postrider trace`, `postrider messages` and `postrider lanes`.

use super::{ConfigFile, find_lane, find_message};
use crate::{
    failure::Failure,
    output::{Output, table},
};
use clap::Args;
use postrider_api::view::{self, MessageReport};
use postrider_message::{MessageStatus, NetworkName, ReasonCode, UnixMillis};
use postrider_store::{MAX_LOOK, MessageDetail, MessageFilter, SqliteStore, Store};
use std::collections::BTreeMap;

/// Shows all about one message.
#[derive(Debug, Args)]
pub struct Trace {
    /// The first digits of the message's id, its guid, or the transaction that sent it.
    message: String,
    #[command(flatten)]
    config: ConfigFile,
}

impl Trace {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let store = self.config.store().await?;
        let id = find_message(&store, &self.message).await?;
        let Some(detail) = store.message(id).await? else {
            return Err(Failure::Other(format!("message {id} is gone")));
        };
        let trace = view::Trace::new(detail, &store.conditions().await?);
        show(output, &trace.report, &trace.detail);
        output.document(&trace);
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
    /// Only those on this lane, named as for `pause`.
    #[arg(long)]
    lane: Option<String>,
    /// Only those that are not further for this reason, by its code.
    #[arg(long)]
    reason: Option<ReasonCode>,
    /// Only those that have not ended.
    #[arg(long)]
    open: bool,
    /// At most this many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..1000))]
    limit: u32,
    /// Only those older than the last page, which says what to give.
    #[arg(long)]
    after: Option<u64>,
    #[command(flatten)]
    config: ConfigFile,
}

fn status(text: &str) -> Result<MessageStatus, String> {
    MessageStatus::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
        let all: Vec<&str> = MessageStatus::ALL.iter().map(|s| s.as_str()).collect();
        format!("use one of {}", all.join(", "))
    })
}

impl Messages {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let store = self.config.store().await?;
        let list = self.list(&store).await?;
        let rows: Vec<Vec<String>> = list
            .messages
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
        if let Some(next) = list.next {
            output.line(&format!("there are more; see them with --after {next}"));
        }
        output.document(&list);
        Ok(())
    }

    async fn list(&self, store: &SqliteStore) -> Result<view::MessageList, Failure> {
        let lane = match &self.lane {
            Some(text) => Some(find_lane(store, text).await?.id()),
            None => None,
        };
        let limit = self.limit.min(MAX_LOOK - 1);
        let filter = MessageFilter {
            status: self.status,
            network: self.network.clone(),
            lane,
            reason: self.reason,
            open_only: self.open,
            include_gone: false,
            limit: limit + 1,
            after: self.after,
        };
        let conditions = store.conditions().await?;
        let rows = store.messages(filter).await?;
        Ok(view::MessageList::new(rows, limit, &conditions, UnixMillis::now()))
    }
}

/// Lists lanes, those with the most messages on their way first.
#[derive(Debug, Args)]
pub struct Lanes {
    /// At most this many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    config: ConfigFile,
}

impl Lanes {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let store = self.config.store().await?;
        let list = view::LaneReports::new(&store.lanes(self.limit).await?, UnixMillis::now());
        for lane in &list.lanes {
            for line in lane_lines(lane) {
                output.line(&line);
            }
        }
        if list.lanes.is_empty() {
            output.line("no lane is known yet: lanes appear with their first message");
        }
        if list.more > 0 {
            output.line(&format!("and {} more; see them with --limit", list.more));
        }
        output.document(&list);
        Ok(())
    }
}

fn lane_lines(lane: &view::LaneReport) -> Vec<String> {
    let joined = |counts: &BTreeMap<&str, u64>| {
        let parts: Vec<String> = counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
        parts.join(", ")
    };
    let paused = if lane.paused { "  (paused)" } else { "" };
    let mut lines = vec![
        format!("{}{paused}", lane.lane),
        format!("  backlog  {}", lane.backlog),
        format!("  messages {}", joined(&lane.messages)),
    ];
    if let Some(oldest) = &lane.oldest {
        let id: String = oldest.id.chars().take(12).collect();
        lines.push(format!("  oldest   {id}, for {:.0} s", oldest.age_seconds));
    }
    if !lane.reasons.is_empty() {
        lines.push(format!("  reasons  {}", joined(&lane.reasons)));
    }
    if let Some(tokens) = &lane.tokens {
        let view::TokensReport { debited, credited, in_flight, awaited, even, breaches } = tokens;
        let even = if *even { " (even)" } else { "" };
        let mut line = format!("  tokens   debited {debited}, credited {credited}, ");
        line += &format!("in flight {in_flight}, awaited {awaited}{even}");
        if *breaches > 0 {
            line += &format!("; BREACHED {breaches} times");
        }
        lines.push(line);
    }
    lines
}
