//! What upstreams tell of a Cosmos chain that no configuration names yet: enough to write one. Nothing of it
//! is proven; the operator compares it with another source.

use futures::{FutureExt, future::try_join_all};
pub use postrider_cosmos::CosmosChainId;
use postrider_cosmos::{GasPrice, Need, RpcClient, Upstream, UpstreamError, Upstreams, upstream};
pub use postrider_jsonrpc::RpcUrl;
use postrider_message::{BlockHash, Height, NetworkName, OperatorName, UnixMillis, UpstreamName};
use postrider_signing::AddressPrefix;
use std::{sync::Arc, time::Duration};

/// Below the newest block by so many, every upstream that keeps up has one.
const BELOW: u64 = 3;

/// What upstreams tell of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// A recent block, of which all of them tell the same.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
    /// Its time.
    pub time: UnixMillis,
    /// What addresses begin with; `None` if no upstream tells.
    pub prefix: Option<String>,
    /// The least price of gas that the first one of them takes; `None` if it does not tell.
    pub price: Option<GasPrice>,
    /// The denomination that is staked; `None` if no upstream tells.
    pub staked: Option<String>,
    /// How long stake is bound; `None` if no upstream tells.
    pub unbonding: Option<Duration>,
}

/// Why a chain was not introduced.
#[derive(Debug, thiserror::Error)]
pub enum IntroductionError {
    /// There is nobody to ask.
    #[error("no upstream is given")]
    Nobody,
    /// One of them does not answer as it must.
    #[error("upstream {number}: {error}")]
    Upstream {
        /// Its place among those given, from 1.
        number: usize,
        /// Why.
        error: UpstreamError,
    },
    /// They do not see the same chain.
    #[error(
        "upstreams 1 and {number} tell of two blocks at height {height}, {first} and {other}: find out which chain \
         is right, and leave the other out"
    )]
    Differ {
        /// The place of the one that differs, from 1.
        number: usize,
        /// The height.
        height: Height,
        /// What the first one tells.
        first: BlockHash,
        /// What this one tells.
        other: BlockHash,
    },
}

/// Asks the upstreams at `urls` of a chain. All of them must serve it and tell of the same recent block.
///
/// # Errors
/// [`IntroductionError`].
pub async fn introduce(
    network: &NetworkName,
    chain_id: &CosmosChainId,
    urls: &[RpcUrl],
) -> Result<Introduction, IntroductionError> {
    let mut list = Vec::new();
    for (number, url) in (1..).zip(urls) {
        let at = |error| IntroductionError::Upstream { number, error };
        let client = RpcClient::new(url.clone(), upstream::default_limits()).map_err(at)?;
        let label = format!("u{number}");
        let garbage = || at(UpstreamError::Garbage("no name".into()));
        let name: UpstreamName = label.parse().map_err(|_| garbage())?;
        let operator: OperatorName = label.parse().map_err(|_| garbage())?;
        list.push(Arc::new(Upstream::new(name, operator, chain_id.clone(), client)));
    }
    let (height, hash, time) = block(&list).await?;
    let all = Upstreams::new(network.clone(), list);
    let prefix = all.first(Need::Nothing, |u| u.address_prefix().boxed()).await.ok();
    let prices = all.first(Need::Nothing, |u| u.minimum_gas_prices().boxed()).await;
    let staking = all.first(Need::Nothing, |u| u.staking().boxed()).await.ok();
    Ok(Introduction {
        height,
        hash,
        time,
        prefix: prefix.filter(|prefix| prefix.parse::<AddressPrefix>().is_ok()),
        price: prices.ok().and_then(|prices| prices.into_iter().next()),
        staked: staking.as_ref().map(|told| told.denom.clone()).filter(|denom| is_denom(denom)),
        unbonding: staking.map(|told| told.unbonding).filter(|period| !period.is_zero()),
    })
}

/// What a node tells goes into a file, so it must be what it is taken for.
fn is_denom(text: &str) -> bool {
    format!("0{text}").parse::<GasPrice>().is_ok_and(|price| price.denom() == text)
}

/// A recent block of which all tell the same.
async fn block(
    list: &[Arc<Upstream>],
) -> Result<(Height, BlockHash, UnixMillis), IntroductionError> {
    let at = |index: usize, error| IntroductionError::Upstream {
        number: index.saturating_add(1),
        error,
    };
    let statuses = list.iter().enumerate().map(|(index, upstream)| async move {
        upstream.status().await.map_err(|error| at(index, error))
    });
    let statuses = try_join_all(statuses).await?;
    let lowest = statuses.iter().map(|status| status.latest.0).min();
    let height = Height(lowest.ok_or(IntroductionError::Nobody)?.saturating_sub(BELOW).max(1));
    let blocks = list.iter().enumerate().map(|(index, upstream)| async move {
        let signed = upstream.commit(height).await.map_err(|error| at(index, error))?;
        let time = signed.header.time.unix_timestamp_nanos() / 1_000_000;
        let hash = <[u8; 32]>::try_from(signed.header.hash().as_bytes())
            .map_err(|_| at(index, UpstreamError::Garbage("a header without a hash".into())))?;
        let time = UnixMillis(u64::try_from(time).unwrap_or_default());
        Ok::<_, IntroductionError>((BlockHash(hash.into()), time))
    });
    let blocks = try_join_all(blocks).await?;
    let (first, time) = *blocks.first().ok_or(IntroductionError::Nobody)?;
    let differing = (1..).zip(&blocks).find(|(_, (hash, _))| *hash != first);
    match differing {
        None => Ok((height, first, time)),
        Some((number, (other, _))) => {
            Err(IntroductionError::Differ { number, height, first, other: *other })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_what_would_leave_its_quotes_is_no_denomination() {
        assert!(is_denom("uatom") && is_denom("ibc/27394FB092D2ECCD56123C74F36E4C1F"));
        for bad in ["", "1uatom", "u\"\n[api]", "uatom\"", ".5uatom", "ua tom"] {
            assert!(!is_denom(bad), "{bad}");
        }
        for bad in ["u\"\n[api]", "uatom\"", "ua tom"] {
            assert!(bad.parse::<AddressPrefix>().is_err(), "{bad}");
        }
    }
}
