//! Sends transactions of one account on one Cosmos network, many at once, on consecutive sequences.
//!
//! The signed bytes are in the store before they are broadcast; after a restart they are broadcast again as
//! they are.

mod afford;
mod gauge;
mod hand;
mod payers;

pub use gauge::{Gauge, InVain};
pub use payers::Payers;

use crate::cosmos::CosmosNetwork;
use futures::FutureExt;
use hand::why_refused;
use ibc_proto::google::protobuf::Any;
use postrider_cosmos::{Account, CheckTx, Need, SignedTx, UpstreamError};
use postrider_message::{DutyId, Height, Reason, TxHash, UnixMillis, id::content_id};
use postrider_signing::CosmosKey;
use postrider_store::{Fees, InFlight, NewSubmission, NewTransaction, Store, StoreError};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Mutex;

/// A transaction that is in no block after this time is broadcast again, in milliseconds.
const REBROADCAST: u64 = 5_000;
/// One that is in no block after this time is given up, in milliseconds.
const GIVE_UP: u64 = 120_000;

/// Messages for one transaction.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The messages, all of one kind.
    pub messages: Vec<Any>,
    /// What it is for, in a few words.
    pub purpose: String,
    /// The duties it serves.
    pub duties: Vec<DutyId>,
}

/// To whom transactions are handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    One,
    All,
}

/// What was not sent, and why.
#[derive(Debug, Clone)]
pub struct NotSent {
    /// Its duties.
    pub duties: Vec<DutyId>,
    /// Why.
    pub reason: Reason,
}

/// What is remembered between calls.
#[derive(Debug, Default)]
struct Memory {
    broadcast: HashMap<TxHash, UnixMillis>,
    /// When an account without coins was last asked for what it has.
    asked: Option<UnixMillis>,
}

/// Sends transactions of one account.
pub struct Submitter {
    network: Arc<CosmosNetwork>,
    store: Arc<dyn Store>,
    key: CosmosKey,
    address: String,
    named: String,
    is_empty: AtomicBool,
    memory: Mutex<Memory>,
}

impl Submitter {
    /// A submitter that pays with `key` on `network`.
    #[must_use]
    pub fn new(network: Arc<CosmosNetwork>, store: Arc<dyn Store>, key: CosmosKey) -> Self {
        let address = key.address(&network.config.prefix);
        let named = network.named_by(&key);
        let (is_empty, memory) = (AtomicBool::new(false), Mutex::default());
        Self { network, store, key, address, named, is_empty, memory }
    }

    /// Whom its messages name as their signer: a bech32 address.
    #[must_use]
    pub fn named(&self) -> &str {
        &self.named
    }

    /// Whether it had too little for a transaction when it was last tried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_empty.load(Ordering::Relaxed)
    }

    /// The account's bech32 address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The account's next sequence after a block; 0 where nobody tells it.
    async fn sequence_after(&self, height: Height) -> u64 {
        let address = self.address.as_str();
        let asked = self
            .network
            .upstreams
            .first(Need::Height(height), |u| u.account_at(address, Some(height)).boxed());
        asked.await.ok().flatten().map_or(0, |account| account.sequence)
    }

    /// The account; `None` if it never received anything.
    async fn account(&self) -> Result<Option<Account>, UpstreamError> {
        let address = self.address.as_str();
        self.network.upstreams.first(Need::Newest, |u| u.account(address).boxed()).await
    }

    /// Sends transactions, in their order, on consecutive sequences, split where they would need more gas
    /// than one may have. All are on disk before any is broadcast. Gives back those that could not be sent,
    /// with the reason.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn send(&self, calls: Vec<Outgoing>) -> Result<Vec<NotSent>, StoreError> {
        let mut memory = self.memory.lock().await;
        let flying = self.store.in_flight(&self.network.name, &self.address).await?;
        let room = self.network.config.max_in_flight.saturating_sub(flying.len());
        if calls.is_empty() || room == 0 {
            if !calls.is_empty() {
                self.network.gauge().lose();
            }
            return Ok(Vec::new());
        }
        self.ask_prices().await;
        let (mut calls, refused) = self.fitting(calls);
        if calls.len() > room {
            self.network.gauge().lose();
        }
        calls.truncate(room);
        let Some(first) = calls.first() else { return Ok(refused) };
        if let Some(reason) = self.cannot_pay(&mut memory, first).await {
            return Ok(self.give_back(refused, &calls, &reason));
        }
        let account = match self.account().await {
            Ok(Some(account)) => account,
            Ok(None) => {
                self.is_empty.store(true, Ordering::Relaxed);
                return Ok(self.give_back(refused, &calls, &self.empty()));
            }
            Err(error) => {
                let reason = Reason::SimulationFailed { detail: error.to_string().into() };
                return Ok(self.give_back(refused, &calls, &reason));
            }
        };
        if flying.is_empty() {
            self.simulate(first, account.sequence).await;
            // What was learnt may be more than one may have.
            (calls, _) = self.fitting(calls);
            calls.truncate(room);
        }
        // What is on its way is not counted by the chain yet; what was given up is not on its way.
        let flying = flying.iter().map(|t| t.nonce.saturating_add(1)).max();
        let first = flying.unwrap_or(0).max(account.sequence);
        self.sign_and_send(&mut memory, &calls, account.number, first).await?;
        Ok(refused)
    }

    /// What is not sent, with what was not before.
    fn give_back(
        &self,
        mut refused: Vec<NotSent>,
        calls: &[Outgoing],
        reason: &Reason,
    ) -> Vec<NotSent> {
        self.network.gauge().lose();
        refused.extend(not_sent(calls, reason));
        refused
    }

    async fn sign_and_send(
        &self,
        memory: &mut Memory,
        calls: &[Outgoing],
        number: u64,
        first: u64,
    ) -> Result<(), StoreError> {
        let mut signed = Vec::with_capacity(calls.len());
        let mut records = Vec::with_capacity(calls.len());
        for (call, sequence) in calls.iter().zip(first..) {
            let Some((tx, record)) = self.sign(call, number, sequence) else { break };
            signed.push((tx.hash, tx.bytes));
            records.push(record);
        }
        self.store.record_transactions(records, UnixMillis::now()).await?;
        self.broadcast(memory, &signed, To::One).await
    }

    fn sign(
        &self,
        call: &Outgoing,
        number: u64,
        sequence: u64,
    ) -> Option<(SignedTx, NewTransaction)> {
        let fee = self.fee(call);
        let builder = self.network.transaction(call.messages.clone(), &self.key);
        let account = Account { number, sequence };
        let signed = match builder.sign(&self.key, account, &fee) {
            Ok(signed) => signed,
            Err(error) => {
                tracing::error!(network = %self.network.name, %error, "cannot sign");
                return None;
            }
        };
        self.network.gauge().tried(signed.hash, call, fee.gas);
        let network = self.network.name.clone();
        let parts = [network.as_str().as_bytes(), signed.bytes.as_slice()];
        let record = NewTransaction {
            network: network.clone(),
            signer: self.address.clone(),
            nonce: sequence,
            hash: signed.hash,
            raw: signed.bytes.clone(),
            fees: Fees { max_fee: u128::try_from(fee.amount).unwrap_or(u128::MAX), tip: 0 },
            submission: NewSubmission {
                id: content_id("postrider/cosmos-call", &parts),
                to: "ibc".to_owned(),
                // The transaction's bytes hold the messages.
                data: alloy_primitives::Bytes::new(),
                value: alloy_primitives::U256::ZERO,
                gas_limit: fee.gas,
                purpose: call.purpose.clone(),
            },
            duties: call.duties.clone(),
            replaces: None,
        };
        Some((signed, record))
    }

    /// Hands transactions in, in their order. From the first that is refused on, none can be included:
    /// they are given up, and their duties planned again.
    async fn broadcast(
        &self,
        memory: &mut Memory,
        transactions: &[(TxHash, Vec<u8>)],
        to: To,
    ) -> Result<(), StoreError> {
        let now = UnixMillis::now();
        memory.broadcast.extend(transactions.iter().map(|(hash, _)| (*hash, now)));
        let raw: Vec<&[u8]> = transactions.iter().map(|(_, raw)| raw.as_slice()).collect();
        let raw = raw.as_slice();
        let network = &self.network.name;
        let told = match self.hand_in(raw, to).await {
            Ok(told) => told,
            // They may have been taken all the same: they stay on their way.
            Err(error) => {
                tracing::warn!(%network, %error, "transactions were not handed in");
                return Ok(());
            }
        };
        let mut refused: Option<String> = None;
        for ((hash, _), told) in transactions.iter().zip(told) {
            // Its sequence was used, by itself perhaps: blocks will say.
            if to == To::All && is_used(&told) {
                continue;
            }
            match (&refused, why_refused(&told)) {
                (None, None) => {}
                (None, Some(why)) => {
                    self.note_refusal(*hash, &told, now);
                    tracing::warn!(%network, %hash, why, "a transaction was refused");
                    self.store.transaction_dropped(*hash, why.clone(), now).await?;
                    refused = Some(why);
                }
                (Some(why), _) => {
                    let why = format!("one before it was refused: {why}");
                    self.store.transaction_dropped(*hash, why, now).await?;
                }
            }
        }
        Ok(())
    }

    /// What a refusal tells of the fee, of who pays it, and of gas.
    fn note_refusal(&self, hash: TxHash, told: &CheckTx, now: UnixMillis) {
        const OUT_OF_GAS: i64 = 11;
        self.network.gauge().lose();
        match told {
            CheckTx::Other { codespace, code: OUT_OF_GAS, .. } if codespace == "sdk" => {
                self.network.gauge().ran_out(hash);
            }
            CheckTx::InsufficientFee(_) => {
                self.network.gauge().refused(&self.network.config, now);
            }
            CheckTx::InsufficientFunds(_) => self.is_empty.store(true, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Sees to transactions that are in no block for long. Returns how many are on their way, and their
    /// duties.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watch(&self) -> Result<(usize, HashSet<DutyId>), StoreError> {
        let mut memory = self.memory.lock().await;
        // Before the store is asked: what blocks up to here hold is not in flight there any more.
        let read = self.network.progress.borrow().durable;
        let flying = self.store.in_flight(&self.network.name, &self.address).await?;
        memory.broadcast.retain(|hash, _| flying.iter().any(|t| t.hash == *hash));
        let now = UnixMillis::now();
        let since = |at: UnixMillis| now.0.saturating_sub(at.0);
        let is_due =
            |t: &InFlight| memory.broadcast.get(&t.hash).is_none_or(|at| since(*at) >= REBROADCAST);
        if flying.iter().any(is_due) {
            let account = self.account().await;
            let used = account.as_ref().map_or(0, |found| found.map_or(0, |found| found.sequence));
            let used_in_read = self.sequence_after(read).await;
            let mut again = Vec::new();
            for transaction in &flying {
                // The blocks that were read used its sequence, and it is in none of them: another one
                // took its place.
                let passed = transaction.nonce < used_in_read;
                let old = since(transaction.recorded_at) >= GIVE_UP;
                if passed || old {
                    let why = if passed {
                        "another transaction used its sequence"
                    } else {
                        "no block took it for long"
                    };
                    let hash = transaction.hash;
                    self.store.transaction_dropped(hash, why.to_owned(), now).await?;
                } else if transaction.nonce >= used {
                    again.push((transaction.hash, transaction.raw.clone()));
                }
            }
            if account.is_ok() && !again.is_empty() {
                // The one that took them may hand nothing on.
                self.broadcast(&mut memory, &again, To::All).await?;
            }
        }
        Ok((flying.len(), flying.into_iter().flat_map(|t| t.duties).collect()))
    }
}

/// Whether a transaction comes too late for its sequence.
fn is_used(told: &CheckTx) -> bool {
    matches!(told, CheckTx::SequenceMismatch { expected: Some(expected), got: Some(got) } if expected > got)
}

fn not_sent(calls: &[Outgoing], reason: &Reason) -> Vec<NotSent> {
    let refuse = |call: &Outgoing| NotSent { duties: call.duties.clone(), reason: reason.clone() };
    calls.iter().map(refuse).collect()
}
