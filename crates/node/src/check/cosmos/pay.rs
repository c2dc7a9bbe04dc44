//! Whether transactions can be paid for, and fit in a block.

use super::place_of;
use crate::{
    check::{Findings, keys::Keys},
    cosmos::CosmosNetwork,
    ibc::wallet::{PACKET_GAS, needed},
};
use alloy_primitives::U256;
use futures::FutureExt;
use postrider_cosmos::Need;

pub(super) async fn check(network: &CosmosNetwork, keys: &Keys, findings: &mut Findings) {
    block(network, findings).await;
    let paying = &network.config.paying;
    if let Some(granter) = &paying.fee_granter {
        return account(network, granter, findings).await;
    }
    for name in &network.config.signers {
        if let Some(key) = keys.cosmos.get(&(name.clone(), paying.algorithm)) {
            account(network, &key.address(&network.config.prefix), findings).await;
        }
    }
}

async fn block(network: &CosmosNetwork, findings: &mut Findings) {
    let told = network.upstreams.first(Need::Newest, |u| u.block_gas_limit().boxed()).await;
    if let Ok(Some(limit)) = told {
        fits(network, limit, findings);
    }
}

/// Gas of a block, and of a transaction of ours.
fn fits(network: &CosmosNetwork, limit: u64, findings: &mut Findings) {
    let place = place_of(network, "gas");
    if limit < PACKET_GAS {
        findings.error(
            &place,
            format!("a block of this chain holds {limit} gas, and a packet may need {PACKET_GAS}"),
            "no block takes such a transaction: nothing is delivered there",
            "ask the chain's governance for a higher `max_gas`",
        );
    } else if network.config.gas.max_gas > limit {
        findings.note(
            &place,
            format!("a block of this chain holds {limit} gas, and a transaction may be given more"),
            "a block with one such transaction holds no other; none is given more than a block holds",
            &format!("set `max` in `gas` to a part of {limit}"),
        );
    }
}

async fn account(network: &CosmosNetwork, address: &str, findings: &mut Findings) {
    let denom = network.config.gas.price.denom();
    let upstreams = &network.upstreams;
    let there = upstreams.first(Need::Newest, |u| u.account(address).boxed()).await;
    let balance = upstreams.first(Need::Newest, |u| u.balance(address, denom).boxed()).await;
    let place = place_of(network, "signer");
    match (there, balance) {
        (Ok(None), _) => findings.error(
            &place,
            format!(
                "the account {address}, which pays, is not on the chain: it never received anything"
            ),
            "it can send nothing: no packet is relayed to this network",
            &format!("send it some {denom}"),
        ),
        (Ok(Some(_)), Ok(balance)) => holds(network, address, U256::from(balance), findings),
        (Err(error), _) | (_, Err(error)) => findings.warning(
            &place,
            format!("what {address} has is not known: {error}"),
            "if it has nothing, no packet is relayed to this network",
            "check again",
        ),
    }
}

fn holds(network: &CosmosNetwork, address: &str, balance: U256, findings: &mut Findings) {
    let place = place_of(network, "signer");
    let denom = network.config.gas.price.denom();
    let needed = needed(network);
    let remedy = format!("send it some {denom}");
    if balance.is_zero() && needed > U256::ZERO {
        findings.error(
            &place,
            format!("the account {address}, which pays, has no {denom}"),
            "it can send nothing: no packet is relayed to this network",
            &remedy,
        );
    } else if balance < needed {
        findings.warning(
            &place,
            format!(
                "the account {address} has {balance}{denom}; one packet may need {needed}{denom}"
            ),
            "it soon can send nothing, and clients of other networks there are not kept alive",
            &remedy,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::network, *};
    use crate::check::Severity;

    #[test]
    fn an_account_that_cannot_pay_for_a_packet_is_named() {
        let network = network(&["x"], "");
        let needed = needed(&network);
        assert_eq!(needed, U256::from(PACKET_GAS / 10), "0.1stake a gas");
        for (balance, expected) in [
            (U256::ZERO, Some(Severity::Error)),
            (U256::from(1), Some(Severity::Warning)),
            (needed - U256::from(1), Some(Severity::Warning)),
            (needed, None),
        ] {
            let mut findings = Findings::default();
            holds(&network, "cosmos1payer", balance, &mut findings);
            assert_eq!(findings.0.first().map(|f| f.severity), expected, "{balance}");
        }
    }

    #[test]
    fn a_block_smaller_than_a_transaction_is_named() {
        let network = network(&["x"], "");
        for (limit, expected) in [
            (1, Severity::Error),
            (PACKET_GAS - 1, Severity::Error),
            (PACKET_GAS, Severity::Note),
            (30_000_000, Severity::Note),
        ] {
            let mut findings = Findings::default();
            fits(&network, limit, &mut findings);
            assert_eq!(findings.0.first().map(|f| f.severity), Some(expected), "{limit}");
        }
    }
}
