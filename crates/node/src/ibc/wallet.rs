//! What the accounts that pay on a Cosmos network have.

use crate::cosmos::CosmosNetwork;
use alloy_primitives::U256;
use futures::FutureExt;
use postrider_cosmos::Need;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often it is asked for.
const EVERY: Duration = Duration::from_secs(15);
/// What one packet with its client update is taken to use, in gas, to tell a balance that does not last.
pub(crate) const PACKET_GAS: u64 = 960_000;

/// What one packet may cost, in the smallest unit of what gas is paid in.
pub(crate) fn needed(network: &CosmosNetwork) -> U256 {
    let policy = &network.config.gas;
    policy.price.for_gas(PACKET_GAS.min(policy.max_gas))
}

/// Asks now and then, until cancelled, what the account at a bech32 `address` has of the denomination that
/// gas is paid in. The balance is one upstream's word, and decides nothing.
pub async fn watch(network: Arc<CosmosNetwork>, address: String, stop: CancellationToken) {
    let denom = network.config.gas.price.denom();
    let mut was_low = false;
    loop {
        let (upstreams, account) = (&network.upstreams, address.as_str());
        let asked = upstreams.first(Need::Newest, |u| u.balance(account, denom).boxed());
        match stop.run_until_cancelled(asked).await {
            None => return,
            Some(Ok(amount)) => {
                let balance = U256::from(amount);
                network.wallets.note(&address, balance);
                let needed = needed(&network);
                let is_low = balance < needed;
                if is_low && !was_low {
                    let name = &network.name;
                    tracing::warn!(
                        network = %name, account = address, "the account that pays has {balance}{denom}; \
                         one packet may need {needed}{denom}: send it some"
                    );
                }
                was_low = is_low;
            }
            Some(Err(error)) => {
                tracing::debug!(network = %network.name, %error, "the balance was not told");
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
