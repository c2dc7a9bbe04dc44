//! Whether the root of trust holds, for how long, and how much the upstreams' word is worth.

use super::place_of;
use crate::{check::Findings, config::Config, cosmos::CosmosNetwork, node::store_path};
use futures::{FutureExt, future::join_all};
use postrider_cosmos::{LightError, Need, UpstreamError};
use postrider_message::{NetworkName, UnixMillis};
use postrider_store::{SqliteStore, Store};
use postrider_verification::tendermint::RootOfTrust;
use std::{collections::BTreeSet, time::Duration};

/// What an attacker needs to show this node a chain of its own.
pub(super) fn worth(network: &CosmosNetwork, findings: &mut Findings) {
    let upstreams = network.upstreams.all();
    let operators: BTreeSet<_> = upstreams.iter().map(|upstream| upstream.operator()).collect();
    let place = place_of(network, "upstreams");
    if operators.len() < 2 {
        findings.warning(
            &place,
            "all upstreams are of one operator: there is no witness",
            "should two thirds of the trusted validators sign a second chain, this node would not \
             notice; and its operator can keep new blocks from it",
            "add an upstream of another operator, one of them your own node",
        );
        return;
    }
    findings.note(
        &place,
        format!("{} operators are heard", operators.len()),
        "blocks are proven by their validators' signatures; operators witness that there is no \
         second chain",
        "nothing, if that is meant",
    );
}

/// For how long validators are trusted, and for how long they can be punished.
pub(super) async fn periods(network: &CosmosNetwork, findings: &mut Findings) {
    let asked = network.upstreams.first(Need::Newest, |u| u.unbonding_period().boxed()).await;
    compare(network, asked, findings);
}

fn compare(
    network: &CosmosNetwork,
    told: Result<Duration, UpstreamError>,
    findings: &mut Findings,
) {
    let place = place_of(network, "trust.period_hours");
    let trusted = network.config.trust.trusting_period();
    let hours = |period: Duration| period.as_secs() / 3600;
    let risk = "validators that have left, and can no longer be punished, could sign a second chain \
                that this node believes";
    let unbonding = match told {
        Ok(period) if !period.is_zero() => period,
        told => {
            let why = told.err().map(|error| format!(": {error}")).unwrap_or_default();
            findings.note(
                &place,
                format!("the chain does not say how long stake is bound{why}"),
                risk,
                "see that the period is at most two thirds of the chain's unbonding period; a consumer \
                 chain's is its provider's",
            );
            return;
        }
    };
    let safe = unbonding / 3 * 2;
    let remedy = format!("set `period_hours = {}`, or less", hours(safe).max(1));
    let (own, bound) = (hours(trusted), hours(unbonding));
    if trusted >= unbonding {
        let what = format!("{own} h is not below the {bound} h for which stake is bound");
        findings.error(&place, what, risk, &remedy);
    } else if trusted > safe {
        let what =
            format!("{own} h is more than two thirds of the {bound} h for which stake is bound");
        let risk = "evidence of a second chain may come too late to be punished";
        findings.warning(&place, what, risk, &remedy);
    }
}

/// Whether the network can be believed now.
pub(super) async fn check(
    config: &Config,
    network: &CosmosNetwork,
    findings: &mut Findings,
) -> bool {
    let accepted = accepted(config, &network.name).await;
    root(network, accepted.is_some(), findings).await;
    let begun = network.begin(accepted).await;
    let newest = match begun {
        Ok(()) => network.newest().await.map(|_| ()),
        Err(error) => Err(error),
    };
    match newest {
        Ok(()) => true,
        Err(error) => {
            not_believed(network, &error, findings);
            false
        }
    }
}

/// The block that a node with this store accepted last.
pub(super) async fn accepted(config: &Config, name: &NetworkName) -> Option<RootOfTrust> {
    let path = store_path(config);
    if !path.exists() {
        return None;
    }
    let store = SqliteStore::open_read_only(&path).await.ok()?;
    let tip = store.cursor(name).await.ok()??.recent.first().copied()?;
    RootOfTrust::new(tip.height, tip.hash).ok()
}

/// What each upstream has at the root's height.
async fn root(network: &CosmosNetwork, goes_on: bool, findings: &mut Findings) {
    let block = network.config.root.block();
    let height = block.height;
    let usable = network.upstreams.by_preference();
    let asked = usable.iter().map(|u| async move { (u.name(), u.commit(height).await) });
    let mut seconds = None;
    let mut missing = Vec::new();
    let told = join_all(asked).await;
    for (upstream, told) in &told {
        match told {
            Ok(signed) if signed.header.hash().as_bytes() == block.hash.0.as_slice() => {
                seconds = u64::try_from(signed.header.time.unix_timestamp()).ok();
            }
            Ok(signed) => {
                let what = format!(
                    "upstream {upstream} has another block at height {height}: {}",
                    signed.header.hash()
                );
                findings.error(
                    &place_of(network, "trust.hash"),
                    what,
                    "either the file names a block of another chain, or the upstream shows one",
                    "compare the block with a source that is neither, such as an explorer of another \
                     operator, and correct whichever is wrong",
                );
            }
            Err(_) => missing.push(upstream.to_string()),
        }
    }
    let place = place_of(network, "trust.height");
    if !missing.is_empty() && !goes_on {
        findings.warning(
            &place,
            format!("block {height} is not told by {}", missing.join(", ")),
            "a node that has no store yet begins with this block, and cannot with these upstreams",
            "name a newer block, or add an upstream that keeps old ones",
        );
    }
    let period = network.config.trust.trusting_period().as_secs();
    let age = seconds.map(|then| (UnixMillis::now().0 / 1000).saturating_sub(then));
    if age.is_some_and(|age| age >= period) && goes_on {
        findings.warning(
            &place,
            format!("block {height} is older than the trusting period"),
            "this node goes on from the block that it accepted last; one whose store is lost could \
             not begin again",
            "name a newer block that you know from a source you trust",
        );
    }
}

fn not_believed(network: &CosmosNetwork, error: &LightError, findings: &mut Findings) {
    let nothing = "nothing from this network is verified, and nothing is relayed from or to it";
    let (place, risk, remedy) = match error {
        LightError::Expired(_) => (
            "trust",
            nothing,
            "name a newer block in `trust`, one that you know from a source you trust",
        ),
        LightError::BadRoot(_) => (
            "trust",
            nothing,
            "compare the block with a source that is no upstream of this file, and correct `height` \
             and `hash`",
        ),
        LightError::Contradicted(_) => (
            "upstreams",
            "two chains are shown, both signed by trusted validators: this may be an attack, and \
             nothing is accepted until you decide",
            "find out which chain is right, and remove the upstream that shows the other one",
        ),
        LightError::NotEnoughTrust(_) | LightError::TooManySteps { .. } => {
            ("trust", nothing, "name a newer block in `trust`")
        }
        LightError::TooEarly(_) => (
            "trust.clock_drift_seconds",
            nothing,
            "set this machine's clock by NTP; if it is right, the chain's is ahead",
        ),
        LightError::TooFarBack { .. }
        | LightError::NotStarted
        | LightError::Upstream(_)
        | LightError::Refuted { .. }
        | LightError::BadProof { .. } => {
            ("upstreams", nothing, "add an upstream of another operator, and check again")
        }
    };
    findings.error(&place_of(network, place), error.to_string(), risk, remedy);
}

#[cfg(test)]
mod tests {
    use super::{super::tests::network, *};
    use crate::check::Severity;

    /// Class (h): a node without witnesses sees what its one operator shows.
    #[test]
    fn h_a_single_operator_is_a_warning_that_stays() {
        for (operators, severity) in [
            (vec!["x"], Severity::Warning),
            (vec!["x", "x"], Severity::Warning),
            (vec!["x", "y"], Severity::Note),
        ] {
            let mut findings = Findings::default();
            worth(&network(&operators, ""), &mut findings);
            assert_eq!(findings.0[0].severity, severity, "{operators:?}");
        }
    }

    /// The network's own period is 336 h.
    #[test]
    fn a_period_that_outlasts_what_binds_validators_is_named() {
        let network = network(&["x"], "");
        let hours = |hours: u64| Ok(Duration::from_secs(hours * 3600));
        for (told, expected) in [
            (hours(504), None),
            (hours(503), Some(Severity::Warning)),
            (hours(337), Some(Severity::Warning)),
            (hours(336), Some(Severity::Error)),
            (hours(24), Some(Severity::Error)),
            (hours(0), Some(Severity::Note)),
            (Err(UpstreamError::Missing("it")), Some(Severity::Note)),
        ] {
            let mut findings = Findings::default();
            compare(&network, told.clone(), &mut findings);
            assert_eq!(findings.0.first().map(|f| f.severity), expected, "{told:?}");
        }
    }
}
