//! Making the contract that delivers many messages in one transaction.

use crate::{context::Network, moves::quorum_lost};
use alloy_primitives::Address;
use futures::{FutureExt, future::join_all};
use postrider_evm::{
    UpstreamError,
    transaction::{SignedTransaction, UnsignedTransaction},
};
use postrider_layerzero::batch::{self, DEPLOYER, Making};
use postrider_message::{NetworkName, Reason, TxHash};
use postrider_signing::TransactionKey;

/// Why the contract cannot be made now.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Too few upstreams agree.
    #[error("{0}")]
    Quorum(Reason),
    /// No upstream answers.
    #[error("{network}: {error}")]
    Upstream {
        /// The network.
        network: NetworkName,
        /// Why.
        error: UpstreamError,
    },
    /// The deployer is not there.
    #[error(
        "{network} has no contract at {DEPLOYER}, by which it would be made; have it put there first (https://github.com/Arachnid/deterministic-deployment-proxy)"
    )]
    NoDeployer {
        /// The network.
        network: NetworkName,
    },
    /// The account has too little.
    #[error("{address} on {network} has too little to pay for it; it needs about {needed} wei")]
    TooLittle {
        /// The network.
        network: NetworkName,
        /// The account.
        address: Address,
        /// What it costs at most, in wei.
        needed: alloy_primitives::U256,
    },
    /// The key cannot sign, or this program was built without the contract.
    #[error("{0}")]
    Broken(String),
}

/// The contract for `endpoint` on a network, and whether it stands in the newest state, as a quorum
/// says.
///
/// # Errors
/// [`DeployError`].
pub async fn find(network: &Network, endpoint: Address) -> Result<(Making, bool), DeployError> {
    let making = batch::making(endpoint)
        .ok_or_else(|| DeployError::Broken("the contract is missing from this program".into()))?;
    let lost = |short| DeployError::Quorum(quorum_lost(&network.name, short));
    let at = network.upstreams.anchor_latest().await.map_err(lost)?;
    let question = [batch::endpoint_question(making.address)];
    let read = network.upstreams.read(&at, &question).await.map_err(lost)?;
    let told = read.value().first().and_then(Option::as_ref).and_then(batch::endpoint_answer);
    Ok((making, told == Some(endpoint)))
}

/// Sends the transaction that makes it, paid for by `key`, which nothing else may use meanwhile.
///
/// # Errors
/// [`DeployError`].
pub async fn send(
    network: &Network,
    making: &Making,
    key: &TransactionKey,
) -> Result<TxHash, DeployError> {
    let failed = |error| DeployError::Upstream { network: network.name.clone(), error };
    let upstreams = &network.upstreams;
    let codes = upstreams.first(|u| u.codes(&[DEPLOYER]).boxed()).await.map_err(failed)?;
    if codes.first().is_none_or(|code| code.is_empty()) {
        return Err(DeployError::NoDeployer { network: network.name.clone() });
    }
    let address = key.address();
    let account = upstreams.first(|u| u.account(address).boxed()).await.map_err(failed)?;
    let newest = upstreams.newest().await.map_err(failed)?;
    let base = u128::from(newest.header.base_fee_per_gas.unwrap_or_default());
    let fees = network.config.fees.price(base, account.suggested_tip);
    let needed = alloy_primitives::U256::from(fees.max_fee)
        * alloy_primitives::U256::from(making.payload.gas_limit);
    if account.balance < needed {
        let network = network.name.clone();
        return Err(DeployError::TooLittle { network, address, needed });
    }
    let unsigned =
        UnsignedTransaction::new(network.config.chain_id, account.nonce, fees, &making.payload);
    let signature = key
        .sign_transaction(unsigned.signature_hash())
        .map_err(|error| DeployError::Broken(error.to_string()))?;
    let SignedTransaction { hash, raw } = unsigned.signed(signature);
    let raw = [raw];
    let usable = upstreams.by_preference();
    let answers = join_all(usable.iter().map(|u| u.broadcast(&raw))).await;
    let mut refused = None;
    for answer in answers {
        match answer.map(|mut results| results.pop()) {
            Ok(Some(Ok(()))) => return Ok(hash),
            Ok(Some(Err(error))) | Err(error) => refused = Some(error),
            Ok(None) => {}
        }
    }
    Err(failed(
        refused.unwrap_or_else(|| UpstreamError::Unreachable("no upstream is usable".into())),
    ))
}
