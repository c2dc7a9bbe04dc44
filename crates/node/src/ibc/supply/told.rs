//! Which tokens there are: what an upstream of a chain tells. It says where to look; what is found there is
//! proven.

use super::LIST_AGAIN;
use crate::cosmos::CosmosNetwork;
use futures::FutureExt;
use ibc_proto::{
    cosmos::{
        bank::v1beta1::{QueryTotalSupplyRequest, QueryTotalSupplyResponse},
        base::query::v1beta1::{PageRequest, PageResponse},
    },
    ibc::applications::transfer::v1::{QueryDenomTracesRequest, QueryDenomTracesResponse},
};
use postrider_cosmos::{Need, UpstreamError};
use postrider_ibc::{ChannelEndId, bank, transfer::Denom};
use postrider_message::NetworkName;
use prost::Message;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// The most pages of a list that are read, and entries of a page; the rest is left out.
const MAX_PAGES: usize = 40;
const PAGE: u64 = 1_000;
/// The most tokens that are watched on one lane.
pub(super) const MAX_WATCHED: usize = 2_000;
/// How the names of vouchers begin.
const VOUCHER: &str = "ibc/";

/// `ibc.applications.transfer.v1.QueryDenomsRequest`, of ibc-go from version 9 on.
#[derive(Clone, PartialEq, Message)]
struct QueryDenomsRequest {
    #[prost(message, optional, tag = "1")]
    pagination: Option<PageRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryDenomsResponse {
    #[prost(message, repeated, tag = "1")]
    denoms: Vec<WireDenom>,
    #[prost(message, optional, tag = "2")]
    pagination: Option<PageResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct WireDenom {
    #[prost(string, tag = "1")]
    base: String,
    #[prost(message, repeated, tag = "3")]
    trace: Vec<Hop>,
}

#[derive(Clone, PartialEq, Message)]
struct Hop {
    #[prost(string, tag = "1")]
    port_id: String,
    #[prost(string, tag = "2")]
    channel_id: String,
}

impl WireDenom {
    fn read(self) -> Option<Denom> {
        let hop = |hop: Hop| {
            let (port, channel) = (hop.port_id.parse().ok()?, hop.channel_id.parse().ok()?);
            Some(ChannelEndId { port, channel })
        };
        let hops = self.trace.into_iter().map(hop).collect::<Option<_>>()?;
        Some(Denom { hops, base: self.base })
    }
}

/// What an upstream tells of a chain's tokens.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The ways of tokens that came to the chain, now or once.
    ways: Vec<Denom>,
    /// The names of all tokens that there are.
    names: HashSet<String>,
}

/// Where asking takes long, a tenth of the time is spent on it.
const SHARE: u32 = 10;

/// What was told of each network, for all that watch it.
#[derive(Debug, Default)]
pub struct Lists(SyncMutex<BTreeMap<NetworkName, Arc<Mutex<Option<Kept>>>>>);

/// What was told, and until when it will do.
#[derive(Debug)]
struct Kept {
    told: Arc<Told>,
    asked: Instant,
    good_for: Duration,
}

impl Lists {
    /// A network's tokens, as they were told lately; nothing if nobody tells of them now: what is known
    /// otherwise is watched all the same.
    pub(super) async fn of(&self, network: &CosmosNetwork) -> Arc<Told> {
        let kept = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(network.name.clone()).or_default())
        };
        // Whoever else watches this network waits for the same answer.
        let mut kept = kept.lock().await;
        if let Some(Kept { told, asked, good_for }) = &*kept
            && asked.elapsed() < *good_for
        {
            return Arc::clone(told);
        }
        let started = Instant::now();
        let told = match ask(network).await {
            Ok(told) => Arc::new(told),
            Err(error) => {
                tracing::warn!(network = %network.name, %error, "its tokens were not listed");
                kept.as_ref().map(|kept| Arc::clone(&kept.told)).unwrap_or_default()
            }
        };
        let good_for = LIST_AGAIN.max(started.elapsed().saturating_mul(SHARE));
        *kept = Some(Kept { told: Arc::clone(&told), asked: Instant::now(), good_for });
        told
    }
}

/// The entries of a list, as far as they are read.
async fn pages<Request, Response, T>(
    network: &CosmosNetwork,
    path: &'static str,
    ask: impl Fn(PageRequest) -> Request,
    read: impl Fn(Response) -> (Vec<T>, Option<PageResponse>),
) -> Result<Vec<T>, UpstreamError>
where
    Request: Message,
    Response: Message + Default,
{
    let mut all = Vec::new();
    let mut page = PageRequest { limit: PAGE, ..PageRequest::default() };
    for _ in 0..MAX_PAGES {
        let request = &ask(page.clone());
        let told: Response = network
            .upstreams
            .first(Need::Newest, |u| async move { u.grpc(path, request, None).await }.boxed())
            .await?;
        let (entries, next) = read(told);
        all.extend(entries);
        match next {
            Some(next) if !next.next_key.is_empty() => page.key = next.next_key,
            _ => return Ok(all),
        }
    }
    tracing::warn!(network = %network.name, path, "a list is longer than what is read of it");
    Ok(all)
}

async fn ask(network: &CosmosNetwork) -> Result<Told, UpstreamError> {
    let supply = pages(
        network,
        "/cosmos.bank.v1beta1.Query/TotalSupply",
        |page| QueryTotalSupplyRequest { pagination: Some(page) },
        |told: QueryTotalSupplyResponse| (told.supply, told.pagination),
    )
    .await?;
    let names = supply.into_iter().map(|coin| coin.denom);
    let names = names.filter(|name| name.len() <= bank::MAX_DENOM_BYTES).collect();
    Ok(Told { ways: ways(network).await?, names })
}

async fn ways(network: &CosmosNetwork) -> Result<Vec<Denom>, UpstreamError> {
    let asked = pages(
        network,
        "/ibc.applications.transfer.v1.Query/Denoms",
        |page| QueryDenomsRequest { pagination: Some(page) },
        |told: QueryDenomsResponse| (told.denoms, told.pagination),
    );
    match asked.await {
        Ok(denoms) => return Ok(denoms.into_iter().filter_map(WireDenom::read).collect()),
        // Before version 9 the question had another name.
        Err(UpstreamError::Refused { .. }) => {}
        Err(error) => return Err(error),
    }
    let traces = pages(
        network,
        "/ibc.applications.transfer.v1.Query/DenomTraces",
        |page| QueryDenomTracesRequest { pagination: Some(page) },
        |told: QueryDenomTracesResponse| (told.denom_traces, told.pagination),
    )
    .await?;
    let read = traces.into_iter().map(|trace| format!("{}/{}", trace.path, trace.base_denom));
    Ok(read.filter_map(|path| path.parse().ok()).collect())
}

/// The tokens to watch whose vouchers are made at the channel end `end`, by what is told of the tokens where
/// they come from and where they go, after those that are `known`. Vouchers that no way is told of are known
/// by their names' hashes: those of all tokens of the source are computed.
pub(super) fn to_watch(
    end: &ChannelEndId,
    source: &Told,
    destination: &Told,
    known: impl IntoIterator<Item = Denom>,
) -> Vec<Denom> {
    let came_here = |denom: &&Denom| denom.hops.first() == Some(end);
    let (current, former): (Vec<&Denom>, Vec<&Denom>) = destination
        .ways
        .iter()
        .filter(came_here)
        .partition(|denom| destination.names.contains(&denom.on_chain()));
    let natives = source.names.iter().filter(|name| !name.starts_with(VOUCHER));
    let natives = natives.map(|name| Denom { hops: Vec::new(), base: name.clone() });
    let made = natives.chain(source.ways.iter().cloned()).filter_map(|mut denom| {
        denom.hops.insert(0, end.clone());
        destination.names.contains(&denom.on_chain()).then_some(denom)
    });
    let all = known
        .into_iter()
        .filter(|denom| denom.hops.first() == Some(end))
        .chain(current.into_iter().cloned())
        .chain(made)
        .chain(former.into_iter().cloned());
    let mut seen = HashSet::new();
    let mut watched: Vec<Denom> = Vec::new();
    for denom in all {
        if watched.len() < MAX_WATCHED && seen.insert(denom.to_string()) {
            watched.push(denom);
        }
    }
    watched
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denom(path: &str) -> Denom {
        path.parse().unwrap()
    }

    fn told(ways: &[&str], names: &[&str]) -> Told {
        let names = names.iter().map(|name| match name.strip_prefix('#') {
            Some(path) => denom(path).on_chain(),
            None => (*name).to_owned(),
        });
        Told { ways: ways.iter().map(|path| denom(path)).collect(), names: names.collect() }
    }

    fn watched(source: &Told, destination: &Told, known: &[&str]) -> Vec<String> {
        let end = "transfer/channel-7".parse().unwrap();
        let known = known.iter().map(|path| denom(path));
        to_watch(&end, source, destination, known).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tokens_are_found_by_their_ways_and_without_them() {
        let source =
            told(&["transfer/channel-3/far"], &["native", "other", "#transfer/channel-3/far"]);
        let here = ["transfer/channel-7/once", "transfer/channel-7/native", "transfer/channel-8/x"];
        let named = [
            "#transfer/channel-7/native",
            "#transfer/channel-7/transfer/channel-3/far",
            "#transfer/channel-8/x",
            "local",
        ];
        let found = watched(
            &source,
            &told(&here, &named),
            &["transfer/channel-7/seen", "transfer/channel-8/x"],
        );
        let expected = [
            "transfer/channel-7/seen",
            "transfer/channel-7/native",
            "transfer/channel-7/transfer/channel-3/far",
            "transfer/channel-7/once",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn r10_no_list_is_too_long() {
        let ways: Vec<String> = (0..3_000).map(|n| format!("transfer/channel-7/t{n}")).collect();
        let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
        let found = watched(&Told::default(), &told(&ways, &[]), &["transfer/channel-7/seen"]);
        assert_eq!((found.len(), found[0].as_str()), (MAX_WATCHED, "transfer/channel-7/seen"));
    }
}
