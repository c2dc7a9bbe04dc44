//! Each upstream by itself: whether it answers, for the right chain, how far it is, and what it serves.

use super::place_of;
use crate::{check::Findings, cosmos::CosmosNetwork};
use futures::future::join_all;
use postrider_cosmos::{GasPrice, Status, Upstream, UpstreamError};
use postrider_message::{UnixMillis, UpstreamName};

/// How far an upstream's newest block may be older than the newest of all, in milliseconds.
const MAX_LAG: u64 = 60_000;
/// How old the newest block of all may be, in milliseconds.
const MAX_AGE: u64 = 600_000;

/// Asks every upstream; whether one of them gives a usable answer.
pub(super) async fn reachable(network: &CosmosNetwork, findings: &mut Findings) -> bool {
    let asked = network.upstreams.all().iter().map(|upstream| async move {
        let status = upstream.status().await;
        let prices = match &status {
            Ok(_) => upstream.minimum_gas_prices().await.ok(),
            Err(_) => None,
        };
        (upstream, status, prices)
    });
    let mut heard = Vec::new();
    for (upstream, status, prices) in join_all(asked).await {
        match status {
            Err(error) => unusable(network, upstream, &error, findings),
            Ok(status) => {
                serves(network, upstream.name(), &status, findings);
                price(network, upstream.name(), prices.as_deref(), findings);
                heard.push((upstream.name().clone(), status));
            }
        }
    }
    lags(network, &heard, UnixMillis::now(), findings);
    !heard.is_empty()
}

fn place(network: &CosmosNetwork, upstream: &UpstreamName) -> String {
    place_of(network, &format!("upstreams.{upstream}"))
}

fn unusable(
    network: &CosmosNetwork,
    upstream: &Upstream,
    error: &UpstreamError,
    findings: &mut Findings,
) {
    let place = place(network, upstream.name());
    if matches!(error, UpstreamError::WrongChain { .. }) {
        let remedy =
            format!("correct the upstream's `url`, or `chain_id` in [networks.{}]", network.name);
        let risk = "its answers are about another chain; none of them is used";
        findings.error(&place, error.to_string(), risk, &remedy);
        return;
    }
    findings.error(
        &place,
        format!("it gives no usable answer: {error}"),
        "it is neither asked nor a witness; with no other upstream the network stands still",
        "see that CometBFT's RPC runs there and that its `url` is right, or replace it",
    );
}

fn serves(
    network: &CosmosNetwork,
    upstream: &UpstreamName,
    status: &Status,
    findings: &mut Findings,
) {
    let place = place(network, upstream);
    if status.catching_up {
        findings.warning(
            &place,
            format!("it is catching up: its newest block is {}", status.latest),
            "it is not asked for anything new until it has caught up",
            "wait, or use another upstream",
        );
    }
    if !status.indexes_transactions {
        findings.warning(
            &place,
            "it does not index transactions (`tx_index` is off)",
            "`postrider ibc path create` and `ibc transfer` cannot see through it what became of what \
             they sent; a node reads blocks and does without",
            "set `indexer = \"kv\"` under [tx_index] of the node's config.toml, or add an upstream that \
             indexes",
        );
    }
}

/// What the node takes for gas at least. Many nodes do not tell; the first transaction will.
fn price(
    network: &CosmosNetwork,
    upstream: &UpstreamName,
    demanded: Option<&[GasPrice]>,
    findings: &mut Findings,
) {
    if network.config.signers.is_empty() {
        return;
    }
    let Some(demanded) = demanded.filter(|prices| !prices.is_empty()) else { return };
    let ours = &network.config.gas.price;
    let remedy = format!("set `price` in [networks.{}] to what it takes", network.name);
    match demanded.iter().find(|price| price.denom() == ours.denom()) {
        Some(least) if ours.is_below(least) => findings.error(
            &place_of(network, "gas.price"),
            format!("{ours} is below the {least} that upstream {upstream} takes"),
            "it refuses every transaction: nothing is delivered through it",
            &remedy,
        ),
        Some(_) => {}
        None => {
            let taken: Vec<String> = demanded.iter().map(ToString::to_string).collect();
            findings.error(
                &place_of(network, "gas.price"),
                format!(
                    "upstream {upstream} takes {}, and not {}",
                    taken.join(" or "),
                    ours.denom()
                ),
                "it refuses every transaction: nothing is delivered through it",
                &remedy,
            );
        }
    }
}

fn lags(
    network: &CosmosNetwork,
    heard: &[(UpstreamName, Status)],
    now: UnixMillis,
    findings: &mut Findings,
) {
    let Some((best, newest)) = heard.iter().max_by_key(|(_, status)| status.latest_time) else {
        return;
    };
    for (upstream, status) in heard.iter().filter(|(_, status)| !status.catching_up) {
        let behind = newest.latest_time.0.saturating_sub(status.latest_time.0);
        if behind > MAX_LAG {
            let blocks = newest.latest.0.saturating_sub(status.latest.0);
            findings.warning(
                &place(network, upstream),
                format!("it is {blocks} blocks ({} s) behind {best}", behind / 1000),
                "it is asked for nothing new, and is no witness of new blocks",
                "see whether it still synchronises, or replace it",
            );
        }
    }
    let age = now.0.saturating_sub(newest.latest_time.0);
    if age > MAX_AGE {
        findings.warning(
            &format!("networks.{}", network.name),
            format!("the newest block that any upstream tells of is {} s old", age / 1000),
            "the chain stands still, or all its upstreams do; nothing new arrives until it goes on, and \
             clients of it expire elsewhere meanwhile",
            "see whether the chain goes on elsewhere",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::network, *};
    use crate::check::Severity;
    use postrider_message::Height;

    fn status(height: u64, seconds: u64) -> Status {
        Status {
            latest: Height(height),
            latest_time: UnixMillis(seconds * 1000),
            earliest: Height(1),
            catching_up: false,
            indexes_transactions: true,
        }
    }

    #[test]
    fn i_an_upstream_that_lags_and_a_chain_that_stands_are_named() {
        let network = network(&["x", "y"], "");
        let found = |heads: &[(UpstreamName, Status)], now: u64| {
            let mut findings = Findings::default();
            lags(&network, heads, UnixMillis(now * 1000), &mut findings);
            findings.in_order().into_iter().map(|f| f.place).collect::<Vec<_>>()
        };
        let head = |name: &str, height, seconds| (name.parse().unwrap(), status(height, seconds));
        assert!(found(&[head("u0", 100, 1000), head("u1", 90, 940)], 1000).is_empty());
        let late = [head("u0", 100, 1000), head("u1", 90, 939)];
        assert_eq!(found(&late, 1000), ["networks.hub.upstreams.u1"]);
        assert_eq!(found(&late[..1], 1601), ["networks.hub"]);
        assert!(found(&[], 1601).is_empty());
    }

    #[test]
    fn a_node_that_serves_too_little_is_named() {
        let network = network(&["x"], "");
        let mut findings = Findings::default();
        let poor = Status { catching_up: true, indexes_transactions: false, ..status(1, 1) };
        serves(&network, &"u0".parse().unwrap(), &poor, &mut findings);
        let found: Vec<_> = findings.0.iter().map(|f| f.severity).collect();
        assert_eq!(found, [Severity::Warning, Severity::Warning]);
        assert!(findings.0[1].remedy.contains("tx_index"), "{findings:?}");
    }

    #[test]
    fn a_price_that_the_node_refuses_is_an_error() {
        let network = network(&["x"], "signer = \"payer\"");
        let cases = [
            (None, None),
            (Some(vec![]), None),
            (Some(vec!["0.1stake"]), None),
            (Some(vec!["9uatom", "0.01stake"]), None),
            (Some(vec!["0.2stake"]), Some("0.2stake")),
            (Some(vec!["0.01uatom"]), Some("0.01uatom")),
        ];
        for (demanded, named) in cases {
            let demanded: Option<Vec<GasPrice>> =
                demanded.map(|list| list.iter().map(|price| price.parse().unwrap()).collect());
            let mut findings = Findings::default();
            price(&network, &"u0".parse().unwrap(), demanded.as_deref(), &mut findings);
            let told = findings.0.first().map(|f| f.what.as_str());
            assert_eq!(told.is_some(), named.is_some(), "{demanded:?}");
            assert!(told.is_none_or(|told| told.contains(named.unwrap())), "{told:?}");
        }
    }
}
