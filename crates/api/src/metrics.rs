//! Metrics in Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Labels are the words used
//! everywhere; none of them comes from a message but lanes of tokens, which the store bounds, and clients, of
//! which so many are watched at most, so there are only as many as the configuration and the closed lists allow.

use postrider_message::{NetworkName, Reason, Sums, UnixMillis};
use postrider_node::{Context, standing::NetworkStanding};
use postrider_store::{Result, Tally};
use std::fmt::{Display, Write};

/// The content type of the answer.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is counted, now.
pub(crate) async fn metrics(context: &Context) -> Result<String> {
    let tally = context.store.tally().await?;
    let conditions = context.store.conditions().await?;
    let mut text = Text::default();
    text.family("postrider_build_info", "gauge", "The release that runs.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    counted(&mut text, &tally);
    let standings = context.standings();
    networks(&mut text, &standings, &conditions);
    upstreams(&mut text, &standings);
    Ok(text.done)
}

fn counted(text: &mut Text, tally: &Tally) {
    text.family("postrider_messages", "gauge", "Messages by status.");
    for (status, n) in &tally.messages {
        text.sample(&[("status", status.as_str())], n);
    }
    text.family("postrider_messages_pending", "gauge", "Messages not at an end, by reason.");
    for (reason, n) in &tally.reasons {
        text.sample(&[("reason", reason.as_str())], n);
    }
    text.family("postrider_messages_held", "gauge", "Messages that an operator holds back.");
    text.sample(&[], tally.held_messages);
    supplies(text, tally);
    text.family("postrider_lanes_paused", "gauge", "Lanes that an operator paused.");
    text.sample(&[], tally.paused_lanes);
    text.family("postrider_duties", "gauge", "Duties not at an end.");
    for duty in &tally.duties {
        let labels = [
            ("kind", duty.kind.as_str()),
            ("network", duty.network.as_str()),
            ("state", duty.state.as_str()),
            ("reason", duty.reason.as_str()),
        ];
        text.sample(&labels, duty.count);
    }
    let help = "Transactions signed and not final.";
    text.family("postrider_transactions_in_flight", "gauge", help);
    for (network, state, n) in &tally.transactions {
        text.sample(&[("network", network.as_str()), ("state", state.as_str())], n);
    }
    text.family("postrider_alarms_total", "counter", "Alarms ever stored.");
    for (kind, network, n) in &tally.alarms {
        text.sample(&[("kind", kind.as_str()), ("network", network.as_str())], n);
    }
}

/// Lanes between token contracts that the configuration names; the store bounds how many.
fn supplies(text: &mut Text, tally: &Tally) {
    text.family("postrider_lane_tokens", "gauge", "Tokens that a lane moved, in whole tokens.");
    for (lane, supply) in &tally.supplies {
        let Sums { debited, credited, in_flight, awaited } = supply.sums;
        for (what, units) in [
            ("debited", debited),
            ("credited", credited),
            ("in_flight", in_flight),
            ("awaited", awaited),
        ] {
            let lane = lane.to_string();
            text.sample(&[("lane", &lane), ("what", what)], supply.decimals.show(units));
        }
    }
    text.family("postrider_lane_breaches", "gauge", "Credits that no debit covers.");
    for (lane, supply) in &tally.supplies {
        text.sample(&[("lane", &lane.to_string())], supply.breaches);
    }
}

fn networks(
    text: &mut Text,
    standings: &[NetworkStanding<'_>],
    conditions: &[(NetworkName, Reason)],
) {
    let all: Vec<_> = standings.iter().map(|n| (n.name.as_str(), n.progress)).collect();
    text.family("postrider_follower_height", "gauge", "The newest block that was proven.");
    for (name, progress) in &all {
        text.sample(&[("network", name)], progress.durable);
    }
    text.family("postrider_network_height", "gauge", "The newest block that was told of.");
    for (name, progress) in &all {
        text.sample(&[("network", name)], progress.head.max(progress.hinted));
    }
    let help = "Blocks told of and not proven, those not final among them.";
    text.family("postrider_follower_lag_blocks", "gauge", help);
    for (name, progress) in &all {
        let newest = progress.head.max(progress.hinted).0;
        text.sample(&[("network", name)], newest.saturating_sub(progress.durable.0));
    }
    let help = "1 if every final block was read, 0 if not.";
    text.family("postrider_follower_caught_up", "gauge", help);
    for (name, progress) in &all {
        text.sample(&[("network", name)], u8::from(progress.caught_up && !progress.stopped));
    }
    text.family("postrider_network_condition", "gauge", "1 for a network that does not go on.");
    for (network, reason) in conditions {
        text.sample(&[("network", network.as_str()), ("reason", reason.code())], 1);
    }
    let help = "What a paying account held when it was last asked for, in the smallest unit.";
    text.family("postrider_wallet_balance", "gauge", help);
    for network in standings {
        for wallet in &network.wallets {
            let labels = [("network", network.name.as_str()), ("address", wallet.address.as_str())];
            text.sample(&labels, wallet.balance);
        }
    }
    clients(text, standings);
    in_vain(text, standings);
}

/// Light clients: how long they can still be led on, and whether they can at all.
fn clients(text: &mut Text, standings: &[NetworkStanding<'_>]) {
    let all = standings.iter().flat_map(|n| n.clients.iter().map(|client| (n.name, client)));
    let all: Vec<_> =
        all.map(|(network, client)| (network, client.id.to_string(), client)).collect();
    let help = "Seconds until a light client cannot be led on any more, negative after that.";
    text.family("postrider_client_expires_seconds", "gauge", help);
    let now = UnixMillis::now();
    for (network, id, client) in &all {
        let Some(expires) = client.expires else { continue };
        let left = (i128::from(expires.0) - i128::from(now.0)) / 1_000;
        let labels = [("network", network.as_str()), ("client", id), ("of", client.of.as_str())];
        text.sample(&labels, left);
    }
    text.family("postrider_client_frozen", "gauge", "1 for a light client that is frozen, 0 else.");
    for (network, id, client) in &all {
        let labels = [("network", network.as_str()), ("client", id), ("of", client.of.as_str())];
        text.sample(&labels, u8::from(client.is_frozen));
    }
}

/// Transactions that were paid for and changed nothing: they failed, or others had been faster.
fn in_vain(text: &mut Text, standings: &[NetworkStanding<'_>]) {
    let counted = standings.iter().filter_map(|n| Some((n.name.as_str(), n.in_vain?)));
    let counted: Vec<_> = counted.collect();
    let help = "Transactions in blocks that changed nothing, since the start.";
    text.family("postrider_transactions_in_vain_total", "counter", help);
    for (network, vain) in &counted {
        for (why, n) in [("failed", vain.failed), ("late", vain.late)] {
            text.sample(&[("network", network), ("why", why)], n);
        }
    }
    text.family("postrider_gas_in_vain_total", "counter", "The gas that those used.");
    for (network, vain) in &counted {
        for (why, n) in [("failed", vain.failed_gas), ("late", vain.late_gas)] {
            text.sample(&[("network", network), ("why", why)], n);
        }
    }
}

fn upstreams(text: &mut Text, standings: &[NetworkStanding<'_>]) {
    let all: Vec<_> = standings
        .iter()
        .flat_map(|n| n.upstreams.iter().map(move |u| (n.name.as_str(), u)))
        .map(|(network, u)| (network, u.name.as_str(), &u.report, u.is_usable))
        .collect();
    text.family("postrider_upstream_requests_total", "counter", "Requests made since the start.");
    for (network, upstream, report, _) in &all {
        text.sample(&[("network", network), ("upstream", upstream)], report.requests);
    }
    text.family("postrider_upstream_errors_total", "counter", "Requests that failed.");
    for (network, upstream, report, _) in &all {
        text.sample(&[("network", network), ("upstream", upstream)], report.errors);
    }
    let help = "1 if it is asked now, 0 if it rests after failures or is in quarantine.";
    text.family("postrider_upstream_usable", "gauge", help);
    for (network, upstream, _, usable) in &all {
        text.sample(&[("network", network), ("upstream", upstream)], u8::from(*usable));
    }
    text.family(
        "postrider_upstream_quarantined",
        "gauge",
        "1 if it contradicted the quorum lately.",
    );
    for (network, upstream, report, _) in &all {
        text.sample(&[("network", network), ("upstream", upstream)], u8::from(report.quarantined));
    }
}

/// The text so far.
#[derive(Debug, Default)]
struct Text {
    done: String,
    name: &'static str,
}

impl Text {
    /// Begins a family of samples.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a string does not fail.
        let _ = writeln!(self.done, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.done, "{}{labels} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_the_format_asks() {
        let mut text = Text::default();
        text.family("a", "gauge", "What.");
        text.sample(&[], 1);
        text.sample(&[("b", "x\"y\\z\n"), ("c", "d")], 2);
        let expected = "# HELP a What.\n# TYPE a gauge\na 1\na{b=\"x\\\"y\\\\z\\n\",c=\"d\"} 2\n";
        assert_eq!(text.done, expected);
    }
}
