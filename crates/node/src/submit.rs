//! Sends transactions of one account on one network, and follows them until they are final.
//!
//! The signed bytes are in the store before they are broadcast; after a restart they are broadcast
//! again as they are. A nonce is used in order, and a transaction that waits too long is replaced
//! by one that pays more, up to the operator's cap.

use crate::{
    afford::{Afforded, afford, cost},
    bundle::{Outgoing, not_sent},
    context::Network,
    moves::quorum_lost,
};
use alloy_primitives::{B256, Bytes, U256};
use futures::{FutureExt, future::join_all};
use postrider_evm::{
    AccountState, Fees,
    transaction::{Payload, SignedTransaction, UnsignedTransaction},
    upstream::Inclusion,
};
use postrider_message::{
    BlockHash, BlockRef, DutyId, Height, NetworkName, Reason, TxHash, UnixMillis,
};
use postrider_signing::TransactionKey;
use postrider_store::{
    InFlight, NewSubmission, NewTransaction, SeenTransaction, Store, StoreError,
};
use postrider_verification::Shortfall;
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::Mutex;

/// A transaction not included after so many times the network's poll interval is broadcast again;
/// nodes drop transactions in silence.
const REBROADCAST_POLLS: u32 = 10;
/// A transaction not included after so many times as long is replaced by one that pays more.
const REPLACE_AFTER: u64 = 6;
/// After so many blocks in which a transaction was not seen, its receipt is asked for: blocks in
/// which nothing looked for happened are not read.
const UNSEEN_BLOCKS: u64 = 3;

/// An account with too little is passed over for so long, in milliseconds, while another one can pay.
const EMPTY_FOR: u64 = 60_000;

/// What a transaction costs that does nothing.
const EMPTY_GAS: u64 = 21_000;
/// The most missing nonces that are filled at once.
const MAX_FILLED: usize = 64;
/// No account has used more nonces than this.
const MAX_NONCE: u64 = 1 << 62;

/// A call that was not sent.
#[derive(Debug, Clone)]
pub struct NotSent {
    /// Its duties.
    pub duties: Vec<DutyId>,
    /// Why.
    pub reason: Reason,
}

/// When a transaction was last broadcast, and how far the chain was read then.
#[derive(Debug, Clone, Copy)]
struct Broadcast {
    at: UnixMillis,
    height: Height,
}

/// Gas that is on its way.
fn gas_of(flying: &[InFlight], expected: &HashMap<TxHash, u64>) -> u64 {
    let gas = |t: &InFlight| expected.get(&t.hash).copied().unwrap_or(t.submission.gas_limit);
    flying.iter().map(gas).fold(0, u64::saturating_add)
}

/// What is remembered between calls.
#[derive(Debug, Default)]
struct Account {
    /// The account as last told, and how far the chain was read then.
    state: Option<(Height, AccountState)>,
    broadcast: HashMap<TxHash, Broadcast>,
    /// Gas that those on their way are expected to use; their limits where it is not known.
    expected: HashMap<TxHash, u64>,
    /// The height when receipts were last asked for.
    looked_at: Height,
}

/// Sends transactions of one account on one network.
pub struct Submitter {
    network: Arc<Network>,
    store: Arc<dyn Store>,
    key: TransactionKey,
    signer: String,
    account: Mutex<Account>,
    flying: AtomicUsize,
    flying_gas: AtomicU64,
    /// When it was found to have too little for anything, in milliseconds; 0 if it was not.
    empty_since: AtomicU64,
}

impl Submitter {
    /// A submitter that pays with `key` on `network`.
    #[must_use]
    pub fn new(network: Arc<Network>, store: Arc<dyn Store>, key: TransactionKey) -> Self {
        let signer = format!("{:#x}", key.address());
        Self {
            network,
            store,
            key,
            signer,
            account: Mutex::default(),
            flying: AtomicUsize::new(0),
            flying_gas: AtomicU64::new(0),
            empty_since: AtomicU64::new(0),
        }
    }

    /// How many more transactions may be on their way, as of the last look.
    #[must_use]
    pub fn room(&self) -> usize {
        self.network.config.max_in_flight.saturating_sub(self.flying.load(Ordering::Relaxed))
    }

    /// Whether any transaction of it is on its way, as of the last look.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.flying.load(Ordering::Relaxed) > 0
    }

    /// Gas that the transactions on their way are expected to use.
    #[must_use]
    pub fn flying_gas(&self) -> u64 {
        self.flying_gas.load(Ordering::Relaxed)
    }

    /// Whether the account had enough for some of what was last asked of it, or that is a while ago.
    #[must_use]
    pub fn can_pay(&self) -> bool {
        let since = self.empty_since.load(Ordering::Relaxed);
        UnixMillis::now().0.saturating_sub(since) >= EMPTY_FOR
    }

    async fn in_flight(&self) -> Result<Vec<InFlight>, StoreError> {
        let flying = self.store.in_flight(&self.network.name, &self.signer).await?;
        self.flying.store(flying.len(), Ordering::Relaxed);
        Ok(flying)
    }

    /// Sends calls, in their order, as one run of nonces. All are on disk before any is broadcast.
    /// Gives back those that could not be sent, with the reason; what finds no room stays as it is,
    /// and is planned again when there is. `base_fee` is the newest block's, in wei a gas.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn send(
        &self,
        mut calls: Vec<Outgoing>,
        base_fee: u128,
    ) -> Result<Vec<NotSent>, StoreError> {
        calls.truncate(self.room());
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut account = self.account.lock().await;
        let state = match self.state(&mut account).await {
            Ok(state) => state,
            Err(short) => {
                return Ok(not_sent(calls, &quorum_lost(&self.network.name, short)));
            }
        };
        let fees = self.network.config.fees.price(base_fee, state.suggested_tip);
        let (able, unable) = self.afford(calls, fees, state.balance).await?;
        let stored = self.store.next_nonce(&self.network.name, &self.signer).await?;
        // A nonce beyond what any chain allows is not one to begin from (EIP-2681).
        let first = stored.unwrap_or(0).max(state.nonce.min(MAX_NONCE));
        let mut signed = Vec::with_capacity(able.len());
        let mut records = Vec::with_capacity(able.len());
        let mut gas = 0u64;
        for (call, nonce) in able.into_iter().zip(first..) {
            let expected = call.expected_gas;
            let call = (call.payload, call.purpose, call.duties);
            let Some((transaction, record)) = self.sign(nonce, fees, call, None) else { break };
            account.expected.insert(transaction.hash, expected);
            gas = gas.saturating_add(expected);
            signed.push(transaction);
            records.push(record);
        }
        self.store.record_transactions(records, UnixMillis::now()).await?;
        self.flying.fetch_add(signed.len(), Ordering::Relaxed);
        self.flying_gas.fetch_add(gas, Ordering::Relaxed);
        self.broadcast(&mut account, &signed).await;
        Ok(unable)
    }

    /// Divides calls into those that the account can pay for, at worst and with what is on its way
    /// already, and those that it cannot. What may build on one of these is in neither.
    async fn afford(
        &self,
        calls: Vec<Outgoing>,
        fees: Fees,
        balance: U256,
    ) -> Result<(Vec<Outgoing>, Vec<NotSent>), StoreError> {
        let promised = self.in_flight().await?.iter().fold(U256::ZERO, |sum, t| {
            let call = &t.submission;
            sum.saturating_add(cost(t.fees.max_fee, call.gas_limit, call.value))
        });
        let left = balance.saturating_sub(promised);
        let Afforded { able, unable, behind } = afford(calls, fees.max_fee, left);
        if behind > 0 {
            tracing::debug!(network = %self.network.name, behind, "planned again without what is too dear");
        }
        let since = if able.is_empty() && !unable.is_empty() { UnixMillis::now().0 } else { 0 };
        self.empty_since.store(since, Ordering::Relaxed);
        let (network, address) = (self.network.name.clone(), self.signer.clone());
        Ok((able, not_sent(unable, &Reason::SignerEmpty { network, address })))
    }

    /// The account as it is, asked for once a block.
    async fn state(&self, account: &mut Account) -> Result<AccountState, Shortfall> {
        let height = self.network.progress.borrow().hinted;
        match account.state {
            Some((at, state)) if at == height => Ok(state),
            _ => {
                let address = self.key.address();
                let state = self.network.upstreams.account(address).await?;
                self.network.wallets.note(&self.signer, state.balance);
                account.state = Some((height, state));
                Ok(state)
            }
        }
    }

    fn sign(
        &self,
        nonce: u64,
        fees: Fees,
        (payload, purpose, duties): (Payload, String, Vec<DutyId>),
        replaces: Option<TxHash>,
    ) -> Option<(SignedTransaction, NewTransaction)> {
        let unsigned =
            UnsignedTransaction::new(self.network.config.chain_id, nonce, fees, &payload);
        let signature = match self.key.sign_transaction(unsigned.signature_hash()) {
            Ok(signature) => signature,
            Err(error) => {
                tracing::error!(network = %self.network.name, %error, "cannot sign");
                return None;
            }
        };
        let signed = unsigned.signed(signature);
        let record = NewTransaction {
            network: self.network.name.clone(),
            signer: self.signer.clone(),
            nonce,
            hash: signed.hash,
            raw: signed.raw.to_vec(),
            fees: postrider_store::Fees { max_fee: fees.max_fee, tip: fees.tip },
            submission: NewSubmission {
                id: call_id(&self.network.name, &payload),
                to: format!("{:#x}", payload.to),
                data: payload.data,
                value: payload.value,
                gas_limit: payload.gas_limit,
                purpose,
            },
            duties,
            replaces,
        };
        Some((signed, record))
    }

    /// Hands transactions to every usable upstream at once. What each answers is only logged: a
    /// receipt, not an answer, says what became of a transaction.
    async fn broadcast(&self, account: &mut Account, transactions: &[SignedTransaction]) {
        if transactions.is_empty() {
            return;
        }
        let (at, height) = (UnixMillis::now(), self.network.progress.borrow().hinted);
        account.broadcast.extend(transactions.iter().map(|t| (t.hash, Broadcast { at, height })));
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

    /// Looks what became of the transactions on their way, and sees to those that take too long.
    /// Returns the duties of those still on their way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watch(&self) -> Result<HashSet<DutyId>, StoreError> {
        let mut account = self.account.lock().await;
        let mut waiting = self.in_flight().await?;
        account.broadcast.retain(|hash, _| waiting.iter().any(|t| t.hash == *hash));
        let read = self.network.progress.borrow().hinted;
        if read > account.looked_at {
            account.looked_at = read;
            let unseen = |t: &&InFlight| {
                let broadcast = account.broadcast.get(&t.hash);
                broadcast.is_some_and(|b| b.height.0 + UNSEEN_BLOCKS <= read.0)
            };
            let unseen: Vec<&InFlight> = waiting.iter().filter(unseen).collect();
            if !unseen.is_empty() && self.look_for(&unseen, read).await? {
                waiting = self.in_flight().await?;
            }
        }
        account.expected.retain(|hash, _| waiting.iter().any(|t| t.hash == *hash));
        self.flying_gas.store(gas_of(&waiting, &account.expected), Ordering::Relaxed);
        let duties = waiting.iter().flat_map(|t| t.duties.iter().copied()).collect();
        self.push(&mut account, waiting).await?;
        Ok(duties)
    }

    /// Asks for receipts of transactions; whether any was found in a block that was read.
    async fn look_for(&self, waiting: &[&InFlight], read: Height) -> Result<bool, StoreError> {
        let hashes: Vec<TxHash> = waiting
            .iter()
            .flat_map(|t| std::iter::once(t.hash).chain(t.replaced.iter().copied()))
            .collect();
        let seen: Vec<SeenTransaction> = self
            .inclusions(hashes)
            .await
            .into_iter()
            .flatten()
            .filter(|inclusion| inclusion.height <= read)
            .map(|inclusion| SeenTransaction {
                hash: inclusion.transaction,
                block: BlockRef { height: inclusion.height, hash: BlockHash(inclusion.block) },
                succeeded: inclusion.succeeded,
            })
            .collect();
        if seen.is_empty() {
            return Ok(false);
        }
        self.store.transactions_included(&self.network.name, seen, UnixMillis::now()).await?;
        Ok(true)
    }

    /// Where the transactions were included, as one upstream says; empty if none answers.
    async fn inclusions(&self, hashes: Vec<TxHash>) -> Vec<Option<Inclusion>> {
        let hashes: Arc<[TxHash]> = hashes.into();
        let found = self
            .network
            .upstreams
            .first(|u| {
                let hashes = Arc::clone(&hashes);
                async move { u.inclusions(&hashes).await }.boxed()
            })
            .await;
        found.unwrap_or_else(|error| {
            tracing::debug!(network = %self.network.name, %error, "no receipts");
            Vec::new()
        })
    }

    /// How long a transaction may take before it is broadcast again, in milliseconds.
    fn patience_millis(&self) -> u64 {
        let wait = self.network.config.poll * REBROADCAST_POLLS;
        u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).clamp(6_000, 30_000)
    }

    /// Broadcasts again what was not included in time; replaces what waits longer; gives up what
    /// lost its nonce to a stranger.
    async fn push(&self, account: &mut Account, waiting: Vec<InFlight>) -> Result<(), StoreError> {
        let Some(lowest) = waiting.first().map(|t| t.nonce) else { return Ok(()) };
        let now = UnixMillis::now();
        let patience = self.patience_millis();
        let overdue: Vec<InFlight> = waiting
            .into_iter()
            .filter(|t| {
                let last = account.broadcast.get(&t.hash);
                // Never broadcast by this process: a restart's first duty.
                last.is_none_or(|last| now.0.saturating_sub(last.at.0) > patience)
            })
            .collect();
        if overdue.is_empty() {
            return Ok(());
        }
        let state = self.network.upstreams.account(self.key.address()).await;
        let Ok(state) = state else { return Ok(()) };
        let mut again = Vec::new();
        if state.nonce < lowest {
            again = self.heal(state.nonce..lowest, state.suggested_tip, now).await?;
        }
        for transaction in overdue {
            if transaction.nonce < state.nonce {
                self.lost_nonce(&transaction, now).await?;
                continue;
            }
            let age = now.0.saturating_sub(transaction.recorded_at.0);
            let replacement = if !transaction.is_wanted {
                self.withdraw(&transaction, state.suggested_tip).await
            } else if age > REPLACE_AFTER * patience {
                self.replace(&transaction, state.suggested_tip).await
            } else {
                Ok(None)
            };
            match replacement {
                Ok(Some(signed)) => again.push(signed),
                // R9: what is no longer true is not sent again, even where nothing can take its place.
                Ok(None) if !transaction.is_wanted => {}
                Ok(None) => again.push(SignedTransaction {
                    hash: transaction.hash,
                    raw: transaction.raw.clone().into(),
                }),
                Err(error @ StoreError::Corrupt { .. }) => return Err(error),
                // R6: one transaction that cannot be replaced keeps back no other.
                Err(error) => {
                    let (network, hash) = (&self.network.name, transaction.hash);
                    tracing::warn!(%network, %hash, %error, "a transaction was not replaced");
                }
            }
        }
        self.broadcast(account, &again).await;
        Ok(())
    }

    /// The chain waits for a nonce below all that are on their way. What carries it was told to be
    /// included, and is not: it goes back to those on their way, and is broadcast again. Where
    /// nothing carries it, those above could never be included: it is filled by a transaction that
    /// does nothing, which is returned.
    async fn heal(
        &self,
        missing: Range<u64>,
        suggested_tip: u128,
        now: UnixMillis,
    ) -> Result<Vec<SignedTransaction>, StoreError> {
        let (network, signer) = (&self.network.name, &self.signer);
        let back = self.store.transactions_missing(network, signer, missing.start, now).await?;
        tracing::warn!(%network, signer, ?missing, back, "nonces are missing on the chain");
        let mut signed = Vec::new();
        let mut records = Vec::new();
        if back == 0
            && let Some(base_fee) = self.base_fee().await
        {
            let fees = self.network.config.fees.price(base_fee, suggested_tip);
            for nonce in missing.take(MAX_FILLED) {
                let parts = (self.nothing(), format!("fill nonce {nonce}"), Vec::new());
                let Some((transaction, record)) = self.sign(nonce, fees, parts, None) else {
                    break;
                };
                signed.push(transaction);
                records.push(record);
            }
            self.store.record_transactions(records, now).await?;
        }
        Ok(signed)
    }

    /// The newest block's, in wei a gas.
    async fn base_fee(&self) -> Option<u128> {
        let newest = self.network.upstreams.newest().await.ok()?;
        Some(u128::from(newest.header.base_fee_per_gas.unwrap_or_default()))
    }

    /// A payment of nothing to ourselves.
    fn nothing(&self) -> Payload {
        let (to, data) = (self.key.address(), Bytes::new());
        Payload { to, data, value: U256::ZERO, gas_limit: EMPTY_GAS }
    }

    /// The account's nonce is past this transaction's. If none of ours with that nonce has a
    /// receipt, a stranger who holds the key has used it.
    async fn lost_nonce(&self, transaction: &InFlight, now: UnixMillis) -> Result<(), StoreError> {
        let read = self.network.progress.borrow().hinted;
        if self.look_for(&[transaction], read).await? {
            return Ok(());
        }
        // An upstream that is behind has no receipt yet: all of them must have none.
        let hashes: Vec<TxHash> =
            std::iter::once(transaction.hash).chain(transaction.replaced.clone()).collect();
        for upstream in self.network.upstreams.by_preference() {
            match upstream.inclusions(&hashes).await {
                Ok(found) if found.iter().all(Option::is_none) => {}
                _ => return Ok(()),
            }
        }
        tracing::warn!(
            network = %self.network.name, signer = %self.signer, nonce = transaction.nonce,
            "another transaction took the nonce"
        );
        let why = "another transaction took its nonce".to_owned();
        self.store.transaction_dropped(transaction.hash, why, now).await
    }

    /// An empty transaction in the place of one that is not wanted any more; `None` where the
    /// operator's cap is reached.
    async fn withdraw(
        &self,
        transaction: &InFlight,
        suggested_tip: u128,
    ) -> Result<Option<SignedTransaction>, StoreError> {
        let purpose = format!("withdraw nonce {}", transaction.nonce);
        self.replace_by(transaction, (self.nothing(), purpose, Vec::new()), suggested_tip).await
    }

    /// The same call at a better price, on disk; `None` where the operator's cap is reached.
    async fn replace(
        &self,
        transaction: &InFlight,
        suggested_tip: u128,
    ) -> Result<Option<SignedTransaction>, StoreError> {
        let call = &transaction.submission;
        let Ok(to) = call.to.parse() else { return Ok(None) };
        let payload =
            Payload { to, data: call.data.clone(), value: call.value, gas_limit: call.gas_limit };
        let parts = (payload, call.purpose.clone(), transaction.duties.clone());
        self.replace_by(transaction, parts, suggested_tip).await
    }

    async fn replace_by(
        &self,
        transaction: &InFlight,
        parts: (Payload, String, Vec<DutyId>),
        suggested_tip: u128,
    ) -> Result<Option<SignedTransaction>, StoreError> {
        let Some(base) = self.base_fee().await else { return Ok(None) };
        let old = Fees { max_fee: transaction.fees.max_fee, tip: transaction.fees.tip };
        let Some(fees) = self.network.config.fees.bump(old, base, suggested_tip) else {
            return Ok(None);
        };
        let signed = self.sign(transaction.nonce, fees, parts, Some(transaction.hash));
        let Some((signed, record)) = signed else { return Ok(None) };
        self.store.record_transactions(vec![record], UnixMillis::now()).await?;
        Ok(Some(signed))
    }
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
