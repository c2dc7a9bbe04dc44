//! What transactions cost, and whether the account can pay for them.

use super::{Memory, NotSent, Outgoing, Submitter, not_sent};
use alloy_primitives::U256;
use futures::FutureExt;
use postrider_cosmos::{Fee, Need, Simulation, UpstreamError, market::Market};
use postrider_message::{Reason, UnixMillis};
use std::sync::atomic::Ordering;

/// An account that is empty is asked for what it has no sooner again than after this time, in milliseconds.
const LOOK_AT_EMPTY: u64 = 3_000;
/// Nothing larger is simulated, in bytes: it stands in the request in hexadecimal, and CometBFT takes
/// 1,000,000 bytes.
const MAX_SIMULATED: usize = 400_000;

impl Submitter {
    /// What a block holds, once; what the fee market asks, now and then. Nothing waits for the answers: what
    /// is not known bounds nothing.
    pub(super) async fn ask_prices(&self) {
        let (config, upstreams) = (&self.network.config, &self.network.upstreams);
        let asks_block = self.network.gauge().asks_block();
        if asks_block {
            let limit = upstreams.first(Need::Newest, |u| u.block_gas_limit().boxed()).await;
            self.network.gauge().block_holds(limit.ok().flatten());
        }
        let asks_market = self.network.gauge().asks_market(config, UnixMillis::now());
        if !asks_market {
            return;
        }
        let denom = config.gas.price.denom();
        for market in Market::ALL {
            let told = upstreams.first(Need::Newest, |u| u.market_price(market, denom).boxed());
            match told.await {
                Ok(price) => return self.network.gauge().market_asks(price),
                // The chain has not this one.
                Err(UpstreamError::Refused { .. }) => {}
                Err(error) => {
                    tracing::debug!(network = %self.network.name, %error, "no price was told");
                    return;
                }
            }
        }
    }

    /// The calls in transactions that may have the gas they need; and those that need more alone.
    pub(super) fn fitting(&self, calls: Vec<Outgoing>) -> (Vec<Outgoing>, Vec<NotSent>) {
        let (gauge, config) = (self.network.gauge(), &self.network.config);
        let most = gauge.most_gas(config);
        let detail = format!("it used up all of {most} gas, the most that a transaction may have");
        let reason = Reason::SimulationFailed { detail: detail.into() };
        let parts = calls.into_iter().flat_map(|call| gauge.split(call, config));
        let (hopeless, fitting): (Vec<_>, Vec<_>) =
            parts.partition(|part| gauge.is_hopeless(part, config));
        (fitting, not_sent(&hopeless, &reason))
    }

    /// Who pays the fees.
    pub(super) fn payer(&self) -> &str {
        self.network.config.paying.fee_granter.as_deref().unwrap_or(&self.address)
    }

    pub(super) fn empty(&self) -> Reason {
        let (network, address) = (self.network.name.clone(), self.payer().to_owned());
        Reason::SignerEmpty { network, address }
    }

    /// Why nothing can be paid for now; `None` if there is no such reason. One that was empty is asked for
    /// what it has.
    pub(super) async fn cannot_pay(&self, memory: &mut Memory, first: &Outgoing) -> Option<Reason> {
        let (now, config) = (UnixMillis::now(), &self.network.config);
        let (too_dear, fee) = {
            let gauge = self.network.gauge();
            (gauge.is_too_dear(now), gauge.fee(gauge.gas(first, config), config, now))
        };
        if too_dear {
            let most = &config.paying.max_price;
            let detail =
                format!("no node takes {most} for a unit of gas: raise `max_price` in `gas`");
            return Some(Reason::SimulationFailed { detail: detail.into() });
        }
        if !self.is_empty() {
            return None;
        }
        if memory.asked.is_some_and(|at| now.0.saturating_sub(at.0) < LOOK_AT_EMPTY) {
            return Some(self.empty());
        }
        memory.asked = Some(now);
        let (payer, denom) = (self.payer(), fee.denom.as_str());
        let told =
            self.network.upstreams.first(Need::Newest, |u| u.balance(payer, denom).boxed()).await;
        let has_enough = told.is_ok_and(|has| U256::from(has) >= fee.amount);
        if !has_enough {
            return Some(self.empty());
        }
        self.is_empty.store(false, Ordering::Relaxed);
        None
    }

    /// Learns of a simulation what messages use of whose kind nothing is known. Only what comes next on the
    /// account can be simulated.
    pub(super) async fn simulate(&self, call: &Outgoing, sequence: u64) {
        let config = &self.network.config;
        let fee = {
            let gauge = self.network.gauge();
            if gauge.knows(call.kind()) {
                return;
            }
            gauge.fee(gauge.gas(call, config), config, UnixMillis::now())
        };
        let builder = self.network.transaction(call.messages.clone(), &self.key);
        let bytes = builder.to_simulate(&self.key, sequence, &fee);
        if bytes.len() > MAX_SIMULATED {
            return;
        }
        let bytes = bytes.as_slice();
        let told = self.network.upstreams.first(Need::Newest, |u| u.simulate(bytes).boxed()).await;
        match told {
            Ok(Simulation::GasUsed(used)) => self.network.gauge().simulated(call, used),
            // Its state may be older than what the transaction stands on: the pool says more.
            told => tracing::debug!(network = %self.network.name, ?told, "nothing was learnt"),
        }
    }

    pub(super) fn fee(&self, call: &Outgoing) -> Fee {
        let (gauge, config) = (self.network.gauge(), &self.network.config);
        gauge.fee(gauge.gas(call, config), config, UnixMillis::now())
    }
}
