//! EVM networks in the file.

use super::{
    MAX_IN_FLIGHT, NetworkConfig,
    file::{ChainIdSetting, NetworkTable},
    problem::Problems,
    upstreams,
};
use postrider_evm::{FeePolicy, presets};
use postrider_message::{Height, NetworkName};
use postrider_verification::QuorumPolicy;
use std::time::Duration;

/// What may be paid for gas where the file does not say, in gwei.
const MAX_FEE_GWEI: u64 = 500;

/// An EVM network as the file describes it; `None` with the problems told.
pub(super) fn network(
    name: &NetworkName,
    table: &NetworkTable,
    problems: &mut Problems<'_>,
) -> Option<NetworkConfig> {
    let mut refuse = |span: Option<std::ops::Range<usize>>, setting: &str| {
        if span.is_some() {
            let what = format!("[networks.{name}]: `{setting}` belongs to kind `cosmos`");
            problems.add(span, &what, "remove it");
        }
    };
    refuse(table.prefix.as_ref().map(|s| s.span()), "prefix");
    refuse(table.gas.as_ref().map(|s| s.span()), "gas");
    refuse(table.trust.as_ref().map(|s| s.span()), "trust");
    refuse(table.key_algorithm.as_ref().map(|s| s.span()), "key_algorithm");
    refuse(table.fee_granter.as_ref().map(|s| s.span()), "fee_granter");
    refuse(table.granter.as_ref().map(|s| s.span()), "granter");
    refuse(table.memo.as_ref().map(|s| s.span()), "memo");
    let upstreams = upstreams(name, table, problems);
    let span = Some(table.chain_id.span());
    let ChainIdSetting::Number(chain_id) = *table.chain_id.get_ref() else {
        let what = format!("[networks.{name}]: `chain_id` of kind `evm` is a number");
        problems.add(span, &what, "write the chain's EIP-155 number, without quotes");
        return None;
    };
    let (Some(quorum), Some(finality)) = (&table.quorum, &table.finality) else {
        let missing = if table.quorum.is_none() { "quorum" } else { "finality" };
        let what = format!("[networks.{name}]: missing field `{missing}`");
        problems.add(span, &what, "kind `evm` needs both `quorum` and `finality`");
        return None;
    };
    let operators = table.upstreams.iter().map(|u| &u.operator);
    let policy = match QuorumPolicy::new(operators, *quorum.get_ref()) {
        Ok(policy) => policy,
        Err(e) => {
            let what = format!("[networks.{name}]: {e}");
            let remedy = "set `quorum` to more than half of the distinct operators";
            problems.add(Some(quorum.span()), &what, remedy);
            return None;
        }
    };
    let max_fee_gwei = table.max_fee_gwei.as_ref().map_or(MAX_FEE_GWEI, |fee| *fee.get_ref());
    let default = FeePolicy::default();
    Some(NetworkConfig {
        chain_id,
        policy,
        finality: (*finality.get_ref()).into(),
        poll: Duration::from_millis(table.poll_ms.clamp(20, 60_000)),
        start_height: table.start_height.map(Height),
        fees: FeePolicy {
            max_fee_cap: u128::from(max_fee_gwei) * 1_000_000_000,
            max_tip: default.max_tip,
            min_tip: presets::by_chain_id(chain_id).map_or(default.min_tip, |p| p.min_tip),
        },
        signers: table.signers(),
        max_in_flight: table.max_in_flight.clamp(1, MAX_IN_FLIGHT),
        transaction_gas_cap: table
            .transaction_gas_cap
            .or_else(|| presets::by_chain_id(chain_id)?.transaction_gas_cap),
        upstreams,
    })
}
