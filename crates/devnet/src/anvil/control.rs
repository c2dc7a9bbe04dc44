//! What only a chain of one's own can be told. Each method is one anvil call, and fails as
//! [`Rpc::call`] does.

use alloy_primitives::{Address, U256};
use serde_json::{Value, json};

use crate::rpc::{Rpc, RpcError};

impl Rpc {
    /// Mines `blocks` blocks at once; the first takes what waits in the pool.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn mine(&self, blocks: u64) -> Result<(), RpcError> {
        self.call::<Value>("anvil_mine", json!([U256::from(blocks)])).await.map(drop)
    }

    /// Replaces the last `depth` blocks by as many empty ones with other hashes.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn reorg(&self, depth: u64) -> Result<(), RpcError> {
        self.call::<Value>("anvil_reorg", json!([depth, []])).await.map(drop)
    }

    /// Replaces the last `depth` blocks and puts `transactions` into the new ones: each is a
    /// transaction object or a signed transaction in hex, and the number of its block, from 0.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn reorg_with(
        &self,
        depth: u64,
        transactions: &[(Value, u64)],
    ) -> Result<(), RpcError> {
        self.call::<Value>("anvil_reorg", json!([depth, transactions])).await.map(drop)
    }

    /// Mines a block every `seconds`; 0 stops mining until [`Rpc::mine`].
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn set_block_time(&self, seconds: u64) -> Result<(), RpcError> {
        self.call::<Value>("evm_setIntervalMining", json!([seconds])).await.map(drop)
    }

    /// Mines a block for each transaction from now on.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn mine_on_transactions(&self) -> Result<(), RpcError> {
        self.call::<Value>("evm_setAutomine", json!([true])).await.map(drop)
    }

    /// Gives an account a balance, in wei.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn set_balance(&self, account: Address, wei: U256) -> Result<(), RpcError> {
        self.call::<Value>("anvil_setBalance", json!([account, wei])).await.map(drop)
    }

    /// Lets `eth_sendTransaction` send from an account without its key.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn impersonate(&self, account: Address) -> Result<(), RpcError> {
        self.call::<Value>("anvil_impersonateAccount", json!([account])).await.map(drop)
    }

    /// Remembers the whole state; the answer is for [`Rpc::revert`].
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn snapshot(&self) -> Result<String, RpcError> {
        self.call("evm_snapshot", json!([])).await
    }

    /// Goes back to a snapshot, which can be used once; `false` when there is no such snapshot.
    ///
    /// # Errors
    /// As [`Rpc::call`]; a snapshot of a block that [`Rpc::reorg`] replaced is refused.
    pub async fn revert(&self, snapshot: &str) -> Result<bool, RpcError> {
        self.call("evm_revert", json!([snapshot])).await
    }
}
