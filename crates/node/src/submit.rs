//! Sends transactions of one account on one network, and follows them until they are final.
//!
//! The signed bytes are in the store before they are broadcast; after a restart they are broadcast
//! again as they are. A nonce is used in order, and a transaction that waits too long is replaced
//! by one that pays more, up to the operator's cap.

use crate::context::Network;
use alloy_primitives::{B256, Bytes, U256};
use futures::{FutureExt, future::join_all};
use postrider_evm::{
    Fees, UpstreamError,
    transaction::{Payload, SignedTransaction, UnsignedTransaction},
    upstream::Inclusion,
};
use postrider_message::{
    BlockHash, BlockRef, DutyId, Height, NetworkName, Reason, TxHash, UnixMillis,
};
use postrider_signing::TransactionKey;
use postrider_store::{
    InFlight, NewSubmission, NewTransaction, Store, StoreError, TransactionState,
};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

/// The most transactions of one account on their way at once: nodes keep few more.
const MAX_IN_FLIGHT: usize = 100;
/// A transaction not included after so many times the network's poll interval is broadcast again;
/// nodes drop transactions in silence.
const REBROADCAST_POLLS: u32 = 10;
/// A transaction not included after so many times as long is replaced by one that pays more.
const REPLACE_AFTER: u64 = 6;

/// A call that is to be sent, and the duties it is for.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The call.
    pub payload: Payload,
    /// The duties.
    pub duties: Vec<DutyId>,
    /// What it is for, in a few words.
    pub purpose: String,
}

/// A call that was not sent.
#[derive(Debug, Clone)]
pub struct NotSent {
    /// Its duties.
    pub duties: Vec<DutyId>,
    /// Why.
    pub reason: Reason,
}

/// What is remembered between calls.
#[derive(Debug, Default)]
struct Account {
    /// The account's next nonce on the chain, as last told.
    chain_nonce: Option<u64>,
    /// When each transaction was last broadcast.
    broadcast_at: HashMap<TxHash, UnixMillis>,
    /// The height when inclusions were last asked for.
    looked_at: Height,
}

/// Sends transactions of one account on one network.
pub struct Submitter {
    network: Arc<Network>,
    store: Arc<dyn Store>,
    key: TransactionKey,
    signer: String,
    account: Mutex<Account>,
}

impl Submitter {
    /// A submitter that pays with `key` on `network`.
    #[must_use]
    pub fn new(network: Arc<Network>, store: Arc<dyn Store>, key: TransactionKey) -> Self {
        let signer = format!("{:#x}", key.address());
        Self { network, store, key, signer, account: Mutex::default() }
    }

    /// The account's transactions on their way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn in_flight(&self) -> Result<Vec<InFlight>, StoreError> {
        self.store.in_flight(&self.network.name, &self.signer).await
    }

    /// How many more transactions may be on their way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn room(&self) -> Result<usize, StoreError> {
        Ok(MAX_IN_FLIGHT.saturating_sub(self.in_flight().await?.len()))
    }

    /// Sends calls, in their order. Each is on disk before anything is broadcast. Gives back those
    /// that could not be sent, with the reason.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn send(&self, calls: Vec<Outgoing>) -> Result<Vec<NotSent>, StoreError> {
        let mut account = self.account.lock().await;
        let room = self.room().await?;
        let mut calls = calls.into_iter();
        let now: Vec<Outgoing> = calls.by_ref().take(room).collect();
        // What finds no room stays as it is, and is planned again when there is.
        drop(calls);
        if now.is_empty() {
            return Ok(Vec::new());
        }
        let (nonce, fees, balance) = match self.terms(&mut account).await {
            Ok(terms) => terms,
            Err(error) => {
                let detail = error.to_string().into();
                return Ok(all_not_sent(now, &Reason::SimulationFailed { detail }));
            }
        };
        let mut refused = Vec::new();
        let mut raw = Vec::new();
        let mut left = balance;
        let mut next = nonce;
        for call in now {
            let cost =
                U256::from(fees.max_fee) * U256::from(call.payload.gas_limit) + call.payload.value;
            let Some(rest) = left.checked_sub(cost) else {
                let address = self.signer.clone();
                let network = self.network.name.clone();
                let reason = Reason::SignerEmpty { network, address };
                refused.push(NotSent { duties: call.duties, reason });
                continue;
            };
            match self.record(next, fees, &call.payload, call.purpose, call.duties, None).await? {
                Some(signed) => {
                    raw.push(signed);
                    left = rest;
                    next += 1;
                }
                None => break,
            }
        }
        self.broadcast(&mut account, &raw).await;
        Ok(refused)
    }

    /// The next nonce, the prices to offer and the account's balance.
    async fn terms(&self, account: &mut Account) -> Result<(u64, Fees, U256), UpstreamError> {
        let address = self.key.address();
        let (chain_nonce, balance) =
            self.network.upstreams.first(|u| u.account(address).boxed()).await?;
        account.chain_nonce = Some(chain_nonce);
        let stored = self.store.next_nonce(&self.network.name, &self.signer).await;
        let nonce = stored.ok().flatten().unwrap_or(0).max(chain_nonce);
        Ok((nonce, self.prices(None).await?, balance))
    }

    async fn prices(&self, old: Option<Fees>) -> Result<Fees, UpstreamError> {
        let upstreams = &self.network.upstreams;
        let newest = upstreams.first(|u| u.newest(None).boxed()).await?.0;
        let base = u128::from(newest.header.base_fee_per_gas.unwrap_or_default());
        let tip = upstreams.first(|u| u.suggested_tip().boxed()).await.unwrap_or_default();
        let policy = self.network.config.fees;
        match old {
            None => Ok(policy.price(base, tip)),
            Some(old) => policy.bump(old, base, tip).ok_or_else(|| {
                UpstreamError::Unreachable("the operator's cap on the fee is reached".into())
            }),
        }
    }

    async fn record(
        &self,
        nonce: u64,
        fees: Fees,
        payload: &Payload,
        purpose: String,
        duties: Vec<DutyId>,
        replaces: Option<TxHash>,
    ) -> Result<Option<SignedTransaction>, StoreError> {
        let unsigned = UnsignedTransaction::new(self.network.config.chain_id, nonce, fees, payload);
        let signature = match self.key.sign_transaction(unsigned.signature_hash()) {
            Ok(signature) => signature,
            Err(error) => {
                tracing::error!(network = %self.network.name, %error, "cannot sign");
                return Ok(None);
            }
        };
        let signed = unsigned.signed(signature);
        let new = NewTransaction {
            network: self.network.name.clone(),
            signer: self.signer.clone(),
            nonce,
            hash: signed.hash,
            raw: signed.raw.to_vec(),
            fees: postrider_store::Fees { max_fee: fees.max_fee, tip: fees.tip },
            submission: NewSubmission {
                id: call_id(&self.network.name, payload),
                to: format!("{:#x}", payload.to),
                data: payload.data.clone(),
                value: payload.value,
                gas_limit: payload.gas_limit,
                purpose,
            },
            duties,
            replaces,
        };
        self.store.record_transaction(new, UnixMillis::now()).await?;
        Ok(Some(signed))
    }

    /// Hands transactions to every usable upstream at once. What each answers is only logged: a
    /// receipt, not an answer, says what became of a transaction.
    async fn broadcast(&self, account: &mut Account, transactions: &[SignedTransaction]) {
        if transactions.is_empty() {
            return;
        }
        let now = UnixMillis::now();
        account.broadcast_at.extend(transactions.iter().map(|t| (t.hash, now)));
        let raw: Vec<Bytes> = transactions.iter().map(|t| t.raw.clone()).collect();
        let upstreams = self.network.upstreams.by_preference();
        let answers = join_all(upstreams.iter().map(|u| u.broadcast(&raw))).await;
        for (upstream, answer) in upstreams.iter().zip(answers) {
            let (network, upstream) = (&self.network.name, upstream.name());
            match answer {
                Err(error) => tracing::warn!(%network, %upstream, %error, "not handed in"),
                Ok(results) => {
                    for error in results.into_iter().filter_map(Result::err) {
                        tracing::debug!(%network, %upstream, %error, "handed in before or refused");
                    }
                }
            }
        }
    }

    /// Looks what became of the transactions on their way, once a new block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watch(&self) -> Result<(), StoreError> {
        let mut account = self.account.lock().await;
        let waiting = self.in_flight().await?;
        account.broadcast_at.retain(|hash, _| waiting.iter().any(|t| t.hash == *hash));
        if waiting.is_empty() {
            return Ok(());
        }
        let progress = *self.network.progress.borrow();
        if progress.hinted > account.looked_at {
            account.looked_at = progress.hinted;
            self.settle(&waiting, progress.durable).await?;
        }
        let waiting = self.in_flight().await?;
        self.push(&mut account, waiting).await
    }

    /// Asks for receipts of what is not included yet, and of what should be final by now.
    async fn settle(&self, waiting: &[InFlight], durable: Height) -> Result<(), StoreError> {
        let is_due = |t: &InFlight| match (t.state, t.included) {
            (TransactionState::Included, Some(block)) => block.height <= durable,
            _ => true,
        };
        let asked: Vec<(TxHash, &InFlight)> = waiting
            .iter()
            .filter(|t| is_due(t))
            .flat_map(|t| std::iter::once(t.hash).chain(t.replaced.clone()).map(move |h| (h, t)))
            .collect();
        if asked.is_empty() {
            return Ok(());
        }
        let hashes: Vec<TxHash> = asked.iter().map(|(hash, _)| *hash).collect();
        let upstreams = &self.network.upstreams;
        let found = upstreams
            .first(|u| {
                let hashes = hashes.clone();
                async move { u.inclusions(&hashes).await }.boxed()
            })
            .await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(network = %self.network.name, %error, "no receipts");
                return Ok(());
            }
        };
        for ((hash, transaction), inclusion) in asked.into_iter().zip(found) {
            if let Some(inclusion) = inclusion {
                self.included(hash, transaction, &inclusion, durable).await?;
            }
        }
        Ok(())
    }

    async fn included(
        &self,
        hash: TxHash,
        transaction: &InFlight,
        inclusion: &Inclusion,
        durable: Height,
    ) -> Result<(), StoreError> {
        let at = UnixMillis::now();
        let block = BlockRef { height: inclusion.height, hash: BlockHash(inclusion.block) };
        if transaction.included != Some(block) || transaction.hash != hash {
            self.store.transaction_included(hash, block, inclusion.succeeded, at).await?;
        }
        if block.height <= durable {
            self.store.transaction_final(hash, at).await?;
        }
        Ok(())
    }

    /// How long a transaction may take before it is broadcast again, in milliseconds.
    fn patience_millis(&self) -> u64 {
        let wait = self.network.config.poll * REBROADCAST_POLLS;
        u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).clamp(2_000, 30_000)
    }

    /// Broadcasts again what was not included in time, or was in a block that is gone; replaces
    /// what waits longer; gives up what lost its nonce to a stranger.
    async fn push(&self, account: &mut Account, waiting: Vec<InFlight>) -> Result<(), StoreError> {
        let now = UnixMillis::now();
        let durable = self.network.progress.borrow().durable;
        let patience = self.patience_millis();
        let is_lost = |t: &InFlight| match t.included {
            Some(block) => block.height <= durable,
            None => true,
        };
        let overdue: Vec<InFlight> = waiting
            .into_iter()
            .filter(|t| {
                let last = account.broadcast_at.get(&t.hash).copied();
                // Never broadcast by this process: a restart's first duty.
                is_lost(t) && last.is_none_or(|at| now.0.saturating_sub(at.0) > patience)
            })
            .collect();
        if overdue.is_empty() {
            return Ok(());
        }
        let address = self.key.address();
        let chain = self.network.upstreams.first(|u| u.account(address).boxed()).await;
        let Ok((chain_nonce, _)) = chain else { return Ok(()) };
        account.chain_nonce = Some(chain_nonce);
        let mut again = Vec::new();
        for transaction in overdue {
            if transaction.nonce < chain_nonce {
                self.lost_nonce(&transaction, now).await?;
                continue;
            }
            let age = now.0.saturating_sub(transaction.recorded_at.0);
            let replacement = if age > REPLACE_AFTER * patience {
                self.replace(&transaction).await?
            } else {
                None
            };
            again.push(replacement.unwrap_or_else(|| SignedTransaction {
                hash: transaction.hash,
                raw: transaction.raw.clone().into(),
            }));
        }
        self.broadcast(account, &again).await;
        Ok(())
    }

    /// The account's nonce is past this transaction's. If none of ours with that nonce has a
    /// receipt, a stranger who holds the key has used it.
    async fn lost_nonce(&self, transaction: &InFlight, now: UnixMillis) -> Result<(), StoreError> {
        let hashes: Vec<TxHash> =
            std::iter::once(transaction.hash).chain(transaction.replaced.clone()).collect();
        let found = self
            .network
            .upstreams
            .first(|u| {
                let hashes = hashes.clone();
                async move { u.inclusions(&hashes).await }.boxed()
            })
            .await;
        match found {
            Ok(found) if found.iter().all(Option::is_none) => {
                tracing::warn!(
                    network = %self.network.name, signer = %self.signer, nonce = transaction.nonce,
                    "another transaction took the nonce"
                );
                let why = "another transaction took its nonce".to_owned();
                self.store.transaction_dropped(transaction.hash, why, now).await
            }
            _ => Ok(()),
        }
    }

    async fn replace(
        &self,
        transaction: &InFlight,
    ) -> Result<Option<SignedTransaction>, StoreError> {
        let old = Fees { max_fee: transaction.fees.max_fee, tip: transaction.fees.tip };
        let Ok(fees) = self.prices(Some(old)).await else { return Ok(None) };
        let Ok(to) = transaction.submission.to.parse() else { return Ok(None) };
        let payload = Payload {
            to,
            data: transaction.submission.data.clone(),
            value: transaction.submission.value,
            gas_limit: transaction.submission.gas_limit,
        };
        let purpose = transaction.submission.purpose.clone();
        let duties = transaction.duties.clone();
        let replaces = Some(transaction.hash);
        self.record(transaction.nonce, fees, &payload, purpose, duties, replaces).await
    }
}

fn all_not_sent(calls: Vec<Outgoing>, reason: &Reason) -> Vec<NotSent> {
    calls.into_iter().map(|call| NotSent { duties: call.duties, reason: reason.clone() }).collect()
}

/// A submission's id: the content of its call.
fn call_id(network: &NetworkName, payload: &Payload) -> B256 {
    postrider_message::id::content_id(
        "postrider/submission",
        &[
            network.as_str().as_bytes(),
            payload.to.as_slice(),
            &payload.data,
            &payload.value.to_be_bytes::<32>(),
        ],
    )
}
