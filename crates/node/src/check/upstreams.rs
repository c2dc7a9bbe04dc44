//! Whether a network can be heard: its upstreams, their quorum, and the form of its blocks.

use super::Findings;
use crate::{config::NetworkConfig, context::Network};
use futures::future::join_all;
use postrider_evm::{Finality, Upstream, UpstreamError};
use postrider_message::{Height, UnixMillis, UpstreamName};
use postrider_verification::evm::{
    AnchoredBlock, BadReceipts, ChainBreak, ClaimedHeader, ProvenReceipts,
};

/// How far an upstream's newest block may be older than the newest of all, in seconds.
const MAX_LAG_SECONDS: u64 = 60;
/// How old the newest block of all may be, in seconds.
const MAX_AGE_SECONDS: u64 = 600;
/// How many blocks below the anchor are looked at for some that hold logs.
const DEPTH: u64 = 64;
/// Of how many of them the receipts are proven.
const BLOCKS_WITH_LOGS: usize = 3;

/// What an upstream tells of its newest block.
#[derive(Debug, Clone)]
struct Newest {
    upstream: UpstreamName,
    height: u64,
    seconds: u64,
}

/// Asks each upstream by itself: whether it answers, for the right chain, and how far it is.
pub(super) async fn reachable(network: &Network, findings: &mut Findings) {
    let tag = match network.config.finality {
        Finality::Confirmations(_) => None,
        Finality::Safe => Some("safe"),
        Finality::Finalized => Some("finalized"),
    };
    let asked = network.upstreams.all().iter().map(|upstream| async move {
        let newest = newest(upstream).await;
        let tagged = match (&newest, tag) {
            (Ok(_), Some(_)) => upstream.newest(tag).await.map(|_| ()),
            _ => Ok(()),
        };
        (upstream.name(), newest, tagged)
    });
    let mut heads = Vec::new();
    for (name, newest, tagged) in join_all(asked).await {
        let place = place_of(network, name);
        match newest {
            Err(error) => unusable(&place, network, &error, findings),
            Ok(header) if !header.is_consistent() => findings.error(
                &place,
                format!(
                    "the header of block {} does not hash to the hash given for it",
                    header.header.number
                ),
                "this node may not sign for this network: its format is not understood, or the \
                 upstream changes what it passes on",
                "use another upstream; if all say the same, do not use this network",
            ),
            Ok(header) => heads.push(Newest {
                upstream: name.clone(),
                height: header.header.number,
                seconds: header.header.timestamp,
            }),
        }
        if let (Err(error), Some(tag)) = (tagged, tag) {
            findings.error(
                &place,
                format!("it cannot name the `{tag}` block: {error}"),
                "it does not count in the quorum",
                "use another upstream, or `finality = { confirmations = N }`",
            );
        }
    }
    lags(network, &heads, UnixMillis::now().0 / 1000, findings);
}

fn place_of(network: &Network, upstream: &UpstreamName) -> String {
    format!("networks.{}.upstreams.{upstream}", network.name)
}

async fn newest(upstream: &Upstream) -> Result<ClaimedHeader, UpstreamError> {
    upstream.check_chain().await?;
    Ok(upstream.newest(None).await?.0)
}

fn unusable(place: &str, network: &Network, error: &UpstreamError, findings: &mut Findings) {
    if matches!(error, UpstreamError::WrongChain { .. }) {
        let remedy =
            format!("correct the upstream's `url`, or `chain_id` in [networks.{}]", network.name);
        let risk = "its answers are about another chain; none of them is used";
        findings.error(place, error.to_string(), risk, &remedy);
        return;
    }
    let risk = match error {
        UpstreamError::Garbage(_) => {
            "this node may not sign for this network: its format is not understood, or what answers \
             is no node"
        }
        _ => "it does not count in the quorum; with too few upstreams the network stands still",
    };
    findings.error(
        place,
        format!("it gives no usable answer: {error}"),
        risk,
        "see that it runs and that its `url` is right, or replace it",
    );
}

fn lags(network: &Network, heads: &[Newest], now: u64, findings: &mut Findings) {
    let Some(best) = heads.iter().max_by_key(|h| (h.seconds, h.height)) else {
        return;
    };
    for head in heads {
        let behind = best.seconds.saturating_sub(head.seconds);
        if behind > MAX_LAG_SECONDS {
            findings.warning(
                &place_of(network, &head.upstream),
                format!(
                    "it is {} blocks ({behind} s) behind {}",
                    best.height.saturating_sub(head.height),
                    best.upstream
                ),
                "messages are seen as late as the slowest upstream that the quorum needs",
                "see whether it still synchronises, or replace it",
            );
        }
    }
    let age = now.saturating_sub(best.seconds);
    if age > MAX_AGE_SECONDS {
        findings.warning(
            &format!("networks.{}", network.name),
            format!("the newest block that any upstream tells of is {age} s old"),
            "the chain stands still, or all its upstreams do; nothing new arrives until it goes on",
            "see whether the chain goes on elsewhere",
        );
    }
}

/// Whether the quorum can agree now, and how much its word is worth. Gives the newest final block,
/// or the newest of all where none is final.
pub(super) async fn quorum(network: &Network, findings: &mut Findings) -> Option<AnchoredBlock> {
    let place = format!("networks.{}.quorum", network.name);
    worth(&place, &network.config, findings);
    let upstreams = &network.upstreams;
    let anchored = match upstreams.heads().await {
        Err(short) => Err(short),
        Ok(heads) => match heads.final_height {
            Some(height) => upstreams.anchor_final(height, &heads).await,
            None => {
                findings.warning(
                    &format!("networks.{}.finality", network.name),
                    format!("no block is final by this rule; the newest is {}", heads.head),
                    "nothing is attested or executed before the first one is",
                    "wait until the chain is longer, or choose another rule",
                );
                upstreams.anchor_latest().await
            }
        },
    };
    anchored
        .map_err(|short| {
            findings.error(
                &place,
                short.to_string(),
                "nothing from this network is verified, and nothing is signed, until a quorum agrees",
                "bring the upstreams that give no answer back, or add some of other operators",
            );
        })
        .ok()
}

/// What an attacker needs to forge this network's word.
fn worth(place: &str, config: &NetworkConfig, findings: &mut Findings) {
    let (needed, all) = (config.policy.threshold(), config.policy.configured());
    if all == 1 {
        findings.warning(
            place,
            "all upstreams are of one operator",
            "one operator's word is enough to forge a message: whoever holds its nodes decides \
             what this node signs",
            "add upstreams of two or more other operators, one of them your own node, and raise \
             `quorum`",
        );
        return;
    }
    let spare = all.saturating_sub(needed);
    findings.note(
        place,
        format!("{needed} of {all} operators must agree"),
        &format!(
            "{needed} operators together can forge a message; with more than {spare} away the \
             network stands still"
        ),
        "nothing, if that is meant",
    );
}

/// Why blocks and receipts of an upstream prove nothing.
#[derive(Debug, thiserror::Error)]
enum NotProven {
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    #[error("{0}")]
    Header(#[from] ChainBreak),
    #[error("block {0}: {1}")]
    Receipts(Height, BadReceipts),
}

/// Proves recent blocks from the bytes each upstream gives: headers by their hashes, receipts by
/// their roots. Formats differ between EVM chains, and this one may have one not known here.
pub(super) async fn format(network: &Network, anchor: &AnchoredBlock, findings: &mut Findings) {
    let usable = network.upstreams.by_preference();
    let asked = usable.iter().map(|u| async { (u.name(), prove(u, anchor).await) });
    let results = join_all(asked).await;
    let is_understood = results.iter().any(|(_, result)| result.is_ok());
    let tested = results.iter().filter_map(|(_, r)| r.as_ref().ok()).max().copied();
    let place = format!("networks.{}", network.name);
    if tested == Some(0) {
        findings.note(
            &place,
            format!(
                "the last {DEPTH} blocks hold no receipt, so the form of receipts was not tried"
            ),
            "if it is not understood, no message from this network is verified",
            "check again when there was a transaction",
        );
    }
    for (name, result) in results {
        let Err(error) = result else { continue };
        match (is_understood, &error) {
            (true, _) => findings.warning(
                &place_of(network, name),
                format!("what it gives of recent blocks proves nothing: {error}"),
                "messages can be proven only with what the other upstreams give",
                "use an upstream with `eth_getBlockReceipts` that changes nothing",
            ),
            (false, NotProven::Upstream(e)) if !matches!(e, UpstreamError::Garbage(_)) => findings
                .error(
                    &place_of(network, name),
                    format!("it does not give recent blocks with their receipts: {error}"),
                    "no message from this network can be proven",
                    "use an upstream with `eth_getBlockReceipts`",
                ),
            (false, _) => {
                findings.error(
                    &place,
                    format!("its recent blocks cannot be proven: {error}"),
                    "this node may not sign for this network: its format is not understood",
                    &format!(
                        "remove [layerzero.{}], so that no message from it is taken",
                        network.name
                    ),
                );
                return;
            }
        }
    }
}

/// Proves the anchor's ancestors and some of their receipts; gives the number of blocks with
/// receipts that were proven.
async fn prove(upstream: &Upstream, anchor: &AnchoredBlock) -> Result<usize, NotProven> {
    let newest = anchor.block().height.0;
    let heights: Vec<Height> = (newest.saturating_sub(DEPTH)..newest).rev().map(Height).collect();
    let mut block = anchor.clone();
    let mut chosen = vec![anchor.clone()];
    for claimed in upstream.headers(&heights).await? {
        block = block.parent(claimed.header)?;
        if chosen.len() <= BLOCKS_WITH_LOGS && !block.header().logs_bloom.is_zero() {
            chosen.push(block.clone());
        }
    }
    let mut tested = 0;
    for block in chosen {
        let at = block.block();
        let receipts = upstream.receipts(at.hash.0).await?;
        tested += usize::from(!receipts.is_empty());
        let encoded = receipts.into_iter().map(|receipt| receipt.encoded).collect();
        ProvenReceipts::new(block, encoded).map_err(|e| NotProven::Receipts(at.height, e))?;
    }
    Ok(tested)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Finding, Severity};
    use crate::config::Config;
    use std::path::Path;

    fn network(operators: &[&str], quorum: u32) -> Network {
        let upstreams: String = operators
            .iter()
            .zip(0..)
            .map(|(operator, i)| {
                format!(
                    "[[networks.alpha.upstreams]]\nname = \"u{i}\"\noperator = \"{operator}\"\n\
                     url = \"http://127.0.0.1:1/secret-key\"\n"
                )
            })
            .collect();
        let text = format!(
            "[networks.alpha]\nkind = \"evm\"\nchain_id = 1\nquorum = {quorum}\n\
             finality = \"safe\"\n{upstreams}"
        );
        let mut config = Config::parse(&text, Path::new("f"), Path::new(".")).unwrap();
        let (name, settings) = config.networks.pop_first().unwrap();
        Network::new(name, settings).unwrap()
    }

    fn found(check: impl FnOnce(&mut Findings)) -> Vec<Finding> {
        let mut findings = Findings::default();
        check(&mut findings);
        findings.in_order()
    }

    /// Class (h): the node is as honest as the one operator it hears.
    #[test]
    fn h_a_single_operator_is_a_warning() {
        for (operators, quorum, severity) in [
            (vec!["x"], 1, Severity::Warning),
            (vec!["x", "x"], 1, Severity::Warning),
            (vec!["x", "y"], 2, Severity::Note),
            (vec!["x", "y", "z"], 2, Severity::Note),
        ] {
            let network = network(&operators, quorum);
            let found = found(|f| worth("networks.alpha.quorum", &network.config, f));
            assert_eq!(found[0].severity, severity, "{operators:?}");
            assert!(found[0].risk.contains("forge a message"));
        }
    }

    #[test]
    fn i_an_upstream_that_lags_and_a_chain_that_stands_are_named() {
        let network = network(&["x", "y"], 2);
        let head = |name: &str, height, seconds| Newest {
            upstream: name.parse().unwrap(),
            height,
            seconds,
        };
        let heads = [head("u0", 100, 1000), head("u1", 95, 940)];
        assert!(found(|f| lags(&network, &heads, 1000, f)).is_empty());
        let heads = [head("u0", 100, 1000), head("u1", 90, 939)];
        let late = found(|f| lags(&network, &heads, 1000, f));
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].place, "networks.alpha.upstreams.u1");
        assert!(late[0].what.contains("10 blocks"), "{}", late[0].what);
        let still = found(|f| lags(&network, &heads[..1], 1601, f));
        assert_eq!(still[0].place, "networks.alpha");
        assert!(found(|f| lags(&network, &[], 1601, f)).is_empty());
    }

    #[tokio::test]
    async fn r8_an_upstream_that_is_away_is_named_without_its_url() {
        let network = network(&["x", "y"], 2);
        let mut findings = Findings::default();
        reachable(&network, &mut findings).await;
        assert!(quorum(&network, &mut findings).await.is_none());
        let found = findings.in_order();
        let errors: Vec<&str> = found
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .map(|f| f.place.as_str())
            .collect();
        let expected =
            ["networks.alpha.quorum", "networks.alpha.upstreams.u0", "networks.alpha.upstreams.u1"];
        assert_eq!(errors, expected);
        assert!(!format!("{found:?}").contains("secret-key"));
    }
}
