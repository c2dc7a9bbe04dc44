//! How the light clients stand that open channels of ours depend on.

use super::{Networks, trust};
use crate::{
    check::Findings,
    config::Config,
    cosmos::CosmosNetwork,
    ibc::survey::{Surveyed, survey},
};
use std::{sync::Arc, time::Duration};

/// The most clients of a network that are told of one by one.
const MAX_TOLD: usize = 50;

/// The clients on `network` of the other ones. Those must have begun to be believed too.
pub(super) async fn check(
    config: &Config,
    network: &Arc<CosmosNetwork>,
    all: &Networks,
    findings: &mut Findings,
) {
    let place = format!("ibc.{}.clients", network.name);
    let others: Vec<_> =
        all.values().filter(|other| other.name != network.name).map(Arc::clone).collect();
    if others.is_empty() {
        return;
    }
    for other in &others {
        // Whether a client holds a block of it is told by its light client; its own checks say what
        // keeps that from beginning.
        let _ = other.begin(trust::accepted(config, &other.name).await).await;
    }
    let found = match survey(network, &others).await {
        Ok(found) => found,
        Err(error) => {
            findings.warning(
                &place,
                format!("its clients could not be read: {error}"),
                "one that is about to expire is not noticed here",
                "check again, or add an upstream",
            );
            return;
        }
    };
    if found.is_empty() {
        findings.note(
            &place,
            "no channel is open to another network of this file",
            "there is nothing to relay until one is",
            "`postrider ibc path create` opens one",
        );
    }
    for surveyed in found.iter().take(MAX_TOLD) {
        let id = &surveyed.client.id;
        let is_kept = config
            .ibc
            .get(&network.name)
            .is_some_and(|ibc| ibc.clients.as_ref().is_none_or(|clients| clients.contains(id)));
        one(&format!("{place}.{id}"), surveyed, is_kept, findings);
    }
    if let Some(more) = found.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        findings.note(
            &place,
            format!("{more} more clients were not told of"),
            "one of them may be about to expire",
            "nothing; `start` keeps all of them alive",
        );
    }
}

fn one(place: &str, surveyed: &Surveyed, is_kept: bool, findings: &mut Findings) {
    let Surveyed { client, follows, is_of_it, channels, now } = surveyed;
    let (name, state) = (&follows.name, &client.state);
    let lost = format!(
        "{channels} open channels of it are dead: tokens on their way stay where they are until \
         governance replaces the client"
    );
    if *is_of_it == Some(false) {
        findings.warning(
            place,
            format!(
                "it names chain {}, and holds a block that {name} does not have",
                state.chain_id
            ),
            "it follows another chain of the same name, or one that was forked: nothing is brought \
             over its channels",
            "if tokens of yours are in its channels, find out which chain it follows",
        );
        return;
    }
    if let Some(why) = client.unusable(*now) {
        let remedy = format!(
            "ask governance of the chain that it is on to recover it (`MsgRecoverClient`) with a new \
             client of {name}; `postrider ibc path create` makes one"
        );
        findings.error(place, format!("the client of {name} is of no use: {why}"), &lost, &remedy);
        return;
    }
    let left = client.expires().map_or(0, |then| then.0.saturating_sub(now.0));
    let left = Duration::from_millis(left);
    let (numerator, denominator) = state.trust_level;
    let what = format!(
        "the client of {name} expires in {}; it trusts {numerator}/{denominator} of the validators \
         for {}, with a clock drift of {} s; {channels} open channels stand on it",
        span(left),
        span(state.trusting_period),
        state.max_clock_drift.as_secs()
    );
    if left < state.trusting_period / 3 {
        let risk = format!("nobody led it on for long. Once it has expired, {lost}");
        let remedy = if is_kept {
            "start this node with the role `relay` there, and see that the account that pays has funds"
        } else {
            "add it to `clients` in the network's [ibc] table: this node leaves it alone now"
        };
        findings.warning(place, what, &risk, remedy);
    } else {
        let risk = "a client that is not led on in time expires, and its channels with it";
        findings.note(place, what, risk, "nothing; a node with the role `relay` there leads it on");
    }
}

fn span(period: Duration) -> String {
    let seconds = period.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600);
    match (days, hours) {
        (2.., _) => format!("{days} days"),
        (_, 2..) => format!("{hours} h"),
        _ => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::network, *};
    use crate::{check::Severity, ibc::clients::Client};
    use alloy_primitives::B256;
    use postrider_ibc::{
        Height,
        state::{ClientState, ConsensusState},
    };
    use postrider_message::UnixMillis;

    const DAY: u64 = 86_400_000;

    fn surveyed(frozen: bool, is_of_it: Option<bool>, now: u64) -> Surveyed {
        let height = Height { revision_number: 1, revision_height: 5 };
        let state = ClientState {
            chain_id: "hub-1".into(),
            trust_level: (1, 3),
            trusting_period: Duration::from_secs(9 * 86_400),
            unbonding_period: Duration::from_secs(21 * 86_400),
            max_clock_drift: Duration::from_secs(40),
            has_known_proofs: true,
            frozen: frozen.then_some(height),
            latest: height,
        };
        let newest = ConsensusState {
            time: UnixMillis(0),
            root: Some(B256::ZERO),
            next_validators: B256::ZERO,
        };
        Surveyed {
            client: Client { id: "07-tendermint-3".parse().unwrap(), state, newest: Some(newest) },
            follows: Arc::new(network(&["x"], "")),
            is_of_it,
            channels: 2,
            now: UnixMillis(now),
        }
    }

    /// Class (b): a client that expires takes its channels with it.
    #[test]
    fn b_a_client_that_is_lost_or_nearly_is_named() {
        for (frozen, is_of_it, now, expected, told) in [
            (false, Some(true), 6 * DAY, Severity::Note, "expires in 3 days"),
            (false, None, DAY, Severity::Note, "1/3 of the validators for 9 days"),
            (false, Some(true), DAY, Severity::Note, "clock drift of 40 s"),
            (false, Some(true), 6 * DAY + 1, Severity::Warning, "expires in 2 days"),
            (false, Some(true), 9 * DAY - 1, Severity::Warning, "expires in 0 min"),
            (false, Some(true), 9 * DAY, Severity::Error, "has expired"),
            (true, Some(true), DAY, Severity::Error, "frozen"),
            (false, Some(false), DAY, Severity::Warning, "does not have"),
        ] {
            let mut findings = Findings::default();
            one("p", &surveyed(frozen, is_of_it, now), true, &mut findings);
            let found = &findings.0[0];
            assert_eq!((findings.0.len(), found.severity), (1, expected), "{found:?}");
            assert!(found.what.contains(told), "{found:?}");
        }
    }

    #[test]
    fn b_one_that_is_left_alone_has_a_remedy_of_its_own() {
        let mut findings = Findings::default();
        one("p", &surveyed(false, Some(true), 8 * DAY), false, &mut findings);
        assert!(findings.0[0].remedy.contains("`clients`"), "{findings:?}");
    }
}
