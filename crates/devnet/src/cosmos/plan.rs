//! What a Cosmos chain is to be.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::cosmos::account::CosmosAccount;
use crate::error::DevnetError;

/// What each account has of each denomination, in its smallest unit.
const FUNDS: u128 = 1_000_000_000_000;
/// CometBFT accepts no longer chain id, in bytes.
const MAX_CHAIN_ID: usize = 50;
/// More validators than this on one machine are a mistake.
const MAX_VALIDATORS: usize = 32;

/// A change of the genesis, made after the validators are in it and before the chain starts.
#[derive(Clone)]
pub struct GenesisPatch(Arc<dyn Fn(&mut Value) + Send + Sync>);

impl GenesisPatch {
    /// A patch that calls `change` with the whole genesis file, in which `app_state` holds the
    /// modules' state and `consensus.params` CometBFT's parameters.
    pub fn new(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }

    pub(crate) fn apply(&self, genesis: &mut Value) {
        (self.0)(genesis);
    }
}

impl fmt::Debug for GenesisPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GenesisPatch")
    }
}

/// One chain to start.
#[derive(Debug, Clone)]
pub struct CosmosPlan {
    /// CometBFT's chain id. One that ends in `-<number>` has that revision in IBC.
    pub chain_id: String,
    /// A folder in which `<chain id>/` is made anew for this chain: a home and a log for each
    /// validator.
    pub folder: PathBuf,
    /// The voting power of each validator.
    pub validators: Vec<u64>,
    /// How long a node waits after a block before the next one (`timeout_commit`), and for a
    /// proposal (`timeout_propose`); a block takes slightly longer than this.
    pub block_time: Duration,
    /// The least that a node takes for a unit of gas, for example `0.01stake`.
    pub min_gas_price: String,
    /// The accounts that exist from the beginning.
    pub accounts: Vec<CosmosAccount>,
    /// What each of the accounts has at the beginning: denominations with amounts in their
    /// smallest unit.
    pub funds: Vec<(String, u128)>,
    /// How many blocks a node keeps; all with none. Its index of transactions forgets nothing.
    pub keep_blocks: Option<u64>,
    /// Changes of the genesis, made in this order.
    pub genesis: Vec<GenesisPatch>,
}

impl CosmosPlan {
    /// One validator, a block a second, gas for nothing, and the accounts `relayer`, `alice` and
    /// `bob` with 10^12 `stake` and `token` each.
    #[must_use]
    pub fn new(chain_id: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self {
            chain_id: chain_id.into(),
            folder: folder.into(),
            validators: vec![100],
            block_time: Duration::from_secs(1),
            min_gas_price: "0stake".to_owned(),
            accounts: ["relayer", "alice", "bob"].map(CosmosAccount::named).to_vec(),
            funds: vec![("stake".to_owned(), FUNDS), ("token".to_owned(), FUNDS)],
            keep_blocks: None,
            genesis: Vec::new(),
        }
    }

    /// The plan with one more change of the genesis.
    #[must_use]
    pub fn patch(mut self, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.genesis.push(GenesisPatch::new(change));
        self
    }

    /// The plan with nodes that keep so many blocks.
    #[must_use]
    pub fn keeping(mut self, blocks: u64) -> Self {
        self.keep_blocks = Some(blocks);
        // The application keeps what evidence may need: CometBFT `evidence.max_age_num_blocks`.
        self.patch(move |genesis| {
            if let Some(age) = genesis.pointer_mut("/consensus/params/evidence/max_age_num_blocks")
            {
                *age = Value::String(blocks.to_string());
            }
        })
    }

    pub(crate) fn check(&self) -> Result<(), DevnetError> {
        let refuse = |reason: String| Err(DevnetError::Plan(reason));
        let id = &self.chain_id;
        let bad = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if id.is_empty() || id.len() > MAX_CHAIN_ID || id.contains(bad) {
            return refuse(format!(
                "the chain id {id:?} is not 1 to {MAX_CHAIN_ID} letters, digits, - and _"
            ));
        }
        let count = self.validators.len();
        if count == 0 || count > MAX_VALIDATORS || self.validators.contains(&0) {
            return refuse(format!(
                "{id} has {count} validators; give 1 to {MAX_VALIDATORS}, each with some power"
            ));
        }
        let mut names: Vec<&str> = self.accounts.iter().map(CosmosAccount::address).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != self.accounts.len() {
            return refuse(format!("{id} has the same account twice"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_cannot_be_is_refused() {
        let plan = CosmosPlan::new("chain-1", "/tmp");
        plan.check().unwrap();
        for bad in [
            CosmosPlan { chain_id: String::new(), ..plan.clone() },
            CosmosPlan { chain_id: "../x".to_owned(), ..plan.clone() },
            CosmosPlan { chain_id: "x".repeat(51), ..plan.clone() },
            CosmosPlan { validators: vec![], ..plan.clone() },
            CosmosPlan { validators: vec![1, 0], ..plan.clone() },
            CosmosPlan { accounts: vec![CosmosAccount::named("a"); 2], ..plan },
        ] {
            let error = bad.check().unwrap_err();
            assert!(matches!(error, DevnetError::Plan(_)), "{error}");
        }
    }
}
