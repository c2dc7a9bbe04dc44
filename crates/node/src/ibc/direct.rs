//! One transaction at a time, waited for: what an operator does by hand. Nothing of it is stored, since the
//! chain's state says how far it came.

use crate::cosmos::CosmosNetwork;
use futures::FutureExt;
use ibc_proto::google::protobuf::Any;
use postrider_cosmos::{
    Account, AtHeight, CheckTx, Fee, Need, Simulation, SimulationFailure, TxBuilder, TxInclusion,
    UpstreamError,
};
use postrider_message::{Detail, Height, TxHash, UnixMillis};
use postrider_signing::{CosmosKey, SigningError};
use std::time::Duration;

/// How often a transaction is handed in that is not taken, or would fail, for a reason that may pass.
const TRIES: u32 = 5;
/// How often it is looked for in blocks, and how long between.
const LOOKS: u32 = 240;
const LOOK: Duration = Duration::from_millis(250);

/// Why a transaction did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No upstream answers.
    #[error("no upstream takes it: {0}")]
    Upstream(#[from] UpstreamError),
    /// The account is not there.
    #[error("account {0} has never received anything there: fund it")]
    NoAccount(String),
    /// The key does not sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// It would fail.
    #[error("the chain would refuse it: {0}")]
    WouldFail(Detail),
    /// It was refused.
    #[error("the chain refuses it: {0}")]
    Refused(Detail),
    /// It failed in a block.
    #[error("it failed in block {height}: {log}")]
    Failed {
        /// The block.
        height: u64,
        /// Why.
        log: Detail,
    },
    /// Others of the account stand before it.
    #[error(
        "transactions of this account are in the pool and in no block yet; look whether the chain makes \
         blocks, and whether another process pays with the same key"
    )]
    Busy,
    /// It was not seen in a block.
    #[error(
        "transaction {0} was taken and is in no block yet; look whether the chain makes blocks"
    )]
    NotIncluded(TxHash),
}

/// Signs these messages as one transaction, and waits until a block has it. Transactions of the account that
/// no block has yet are waited for.
///
/// # Errors
/// [`SendError`].
pub async fn send(
    network: &CosmosNetwork,
    key: &CosmosKey,
    messages: Vec<Any>,
) -> Result<TxInclusion, SendError> {
    for _ in 0..LOOKS {
        let account = account(network, key, None).await?;
        if let Some(found) = send_at(network, key, account, messages.clone()).await? {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(SendError::Busy)
}

/// As [`send`], with the account as it was when what is to be sent was found to be needed: `None` if its
/// sequence is another one now. Then something else of the account came in between, or is about to, which
/// may be the very same; whoever asked looks again.
///
/// # Errors
/// [`SendError`].
pub(super) async fn send_at(
    network: &CosmosNetwork,
    key: &CosmosKey,
    account: Account,
    messages: Vec<Any>,
) -> Result<Option<TxInclusion>, SendError> {
    let builder = network.transaction(messages, key);
    let mut last = SendError::Refused("it was tried too often".into());
    for _ in 0..TRIES {
        match hand_in(network, key, &builder, account).await? {
            HandedIn::Taken(hash, from) => return included(network, hash, from).await.map(Some),
            HandedIn::Void => return Ok(None),
            HandedIn::NotNow(why) => last = why,
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(last)
}

/// What became of a transaction that was handed in.
enum HandedIn {
    /// It waits for a block above this one.
    Taken(TxHash, Height),
    /// The account's sequence is another one.
    Void,
    /// It may be taken a moment later.
    NotNow(SendError),
}

async fn hand_in(
    network: &CosmosNetwork,
    key: &CosmosKey,
    builder: &TxBuilder,
    account: Account,
) -> Result<HandedIn, SendError> {
    let fee = match estimate(network, key, builder, account).await? {
        Ok(fee) => fee,
        Err(Unable::Sequence) => return Ok(HandedIn::Void),
        Err(Unable::Other(why)) => return Ok(HandedIn::NotNow(SendError::WouldFail(why))),
    };
    let signed = builder.sign(key, account, &fee)?;
    let bytes = signed.bytes.as_slice();
    let status = network.upstreams.first(Need::Newest, |u| u.status().boxed()).await?;
    let told = network.upstreams.first(Need::Newest, |u| u.broadcast(bytes).boxed()).await?;
    Ok(match told {
        CheckTx::Accepted(_) | CheckTx::InCache => HandedIn::Taken(signed.hash, status.latest),
        CheckTx::SequenceMismatch { .. } => HandedIn::Void,
        CheckTx::MempoolFull => HandedIn::NotNow(SendError::Refused("the pool is full".into())),
        CheckTx::InsufficientFee(why) => {
            network.gauge().refused(&network.config, UnixMillis::now());
            HandedIn::NotNow(SendError::Refused(why))
        }
        other => return Err(SendError::Refused(format!("{other:?}").into())),
    })
}

/// The account that a key pays from, in the state after a block; the newest if none is named.
///
/// # Errors
/// [`SendError`].
pub(super) async fn account(
    network: &CosmosNetwork,
    key: &CosmosKey,
    after: Option<Height>,
) -> Result<Account, SendError> {
    let address = key.address(&network.config.prefix);
    let need = after.map_or(Need::Newest, Need::Height);
    let found = network.upstreams.first(need, |u| u.account_at(&address, after).boxed()).await?;
    found.ok_or(SendError::NoAccount(address))
}

/// Why a transaction would fail.
enum Unable {
    Sequence,
    Other(Detail),
}

async fn estimate(
    network: &CosmosNetwork,
    key: &CosmosKey,
    builder: &TxBuilder,
    account: Account,
) -> Result<Result<Fee, Unable>, SendError> {
    let policy = &network.config.gas;
    // Taking a fee uses gas itself, and nothing is taken where nothing is offered.
    let price = network.gauge().price(&network.config, UnixMillis::now());
    let offered = price.fee_of(1);
    let bytes = builder.to_simulate(key, account.sequence, &offered);
    let bytes = bytes.as_slice();
    let told = network.upstreams.first(Need::Newest, |u| u.simulate(bytes).boxed()).await?;
    Ok(match told {
        Simulation::GasUsed(used) => policy
            .fee(used)
            .map(|fee| price.fee_of(fee.gas))
            .map_err(|error| Unable::Other(error.to_string().into())),
        Simulation::Fails(SimulationFailure::SequenceMismatch { .. }) => Err(Unable::Sequence),
        Simulation::Fails(failure) => Err(Unable::Other(format!("{failure:?}").into())),
    })
}

/// Looks for a transaction in the blocks above `from`: not every node has an index of transactions.
async fn included(
    network: &CosmosNetwork,
    hash: TxHash,
    from: Height,
) -> Result<TxInclusion, SendError> {
    let mut height = from.next();
    let mut looks = 0;
    while looks < LOOKS {
        let held = network.upstreams.first(Need::Height(height), |u| {
            async move { known(u.block_transactions(height).await?) }.boxed()
        });
        let found = match held.await {
            Ok(block) => match block.hashes.iter().position(|held| *held == hash) {
                Some(index) => result_of(network, hash, height, index).await.ok(),
                None => {
                    height = height.next();
                    continue;
                }
            },
            Err(_) => None,
        };
        match found {
            Some(found) if found.result.succeeded() => return Ok(found),
            Some(found) => {
                let (height, log) = (found.height.0, found.result.log);
                return Err(SendError::Failed { height, log });
            }
            // It was taken, so all that is left is to ask again.
            None => looks += 1,
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(SendError::NotIncluded(hash))
}

/// What the transaction at a place in a block did.
async fn result_of(
    network: &CosmosNetwork,
    hash: TxHash,
    height: Height,
    index: usize,
) -> Result<TxInclusion, UpstreamError> {
    let heights = &[height];
    let told = network.upstreams.first(Need::Height(height), |u| {
        async move {
            let results = u.block_events(heights).await?.pop().map(known).transpose()?;
            let result = results.and_then(|block| block.transactions.into_iter().nth(index));
            result.ok_or(UpstreamError::Missing("what its newest block did yet"))
        }
        .boxed()
    });
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    Ok(TxInclusion { hash, height, index, result: told.await? })
}

fn known<T>(told: AtHeight<T>) -> Result<T, UpstreamError> {
    told.known().ok_or(UpstreamError::Missing("that block"))
}
