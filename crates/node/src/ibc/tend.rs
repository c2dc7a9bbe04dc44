//! Keeps clients alive, and shows them misbehaviour: what a relayer owes chains while no packet travels.

use super::{
    channels::ReadError,
    clients::{self, Client, Clients, Lead},
    find::list,
    hosted::{self, Reading, Wants},
    path::PathError,
    submit::Outgoing,
};
use crate::{context::Context, cosmos::CosmosNetwork};
use ibc_proto::ibc::core::client::v1::{
    QueryConsensusStateHeightsRequest, QueryConsensusStateHeightsResponse,
};
use postrider_cosmos::{LightError, Need, UpstreamError};
use postrider_ibc::{
    ClientId, Height as IbcHeight,
    messages::{self, Signer},
    paths,
    state::ConsensusState,
};
use postrider_message::{AlarmKind, Height};
use postrider_verification::tendermint::{ClaimedBlock, CosmosAnchor, Misbehaviour};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A client that was shown misbehaviour and is not frozen after this time is shown it again.
const SHOW_AGAIN: Duration = Duration::from_secs(60);
/// What is remembered of the clients of one other network.
#[derive(Debug, Default)]
pub(super) struct Tended {
    /// How often they had been read when they were last seen to.
    seen: u64,
    /// When misbehaviour at a height was last shown to a client. Whether that worked, its state says.
    shown: HashMap<(ClientId, Height), Instant>,
}

/// Where clients are tended.
pub(super) struct Tending<'a> {
    pub(super) context: &'a Context,
    pub(super) network: &'a CosmosNetwork,
    pub(super) here: &'a CosmosAnchor,
    pub(super) signer: Signer<'a>,
}

impl Tending<'_> {
    /// What is to be sent for the clients of another network, as they were last read; nothing if they were seen
    /// to since.
    pub(super) async fn look(
        &self,
        other: &CosmosNetwork,
        tended: &mut Tended,
        known: &mut Clients,
    ) -> Vec<Outgoing> {
        let misbehaviour = other.misbehaviour();
        let Reading { count, clients } = self.network.hosted.of(&other.name);
        if misbehaviour.is_none() && tended.seen == count {
            return Vec::new();
        }
        tended.seen = count;
        let mut outgoing = Vec::new();
        for client in clients.iter() {
            let told = match &misbehaviour {
                Some(found) => self.show(other, client, found, &mut tended.shown).await,
                None => self.tend(other, client, known).await,
            };
            match told {
                Ok(told) => outgoing.extend(told),
                // R6: the others are tended all the same.
                Err(error) => {
                    let (network, id, of) = (&self.network.name, &client.id, &other.name);
                    tracing::warn!(%network, client = %id, %of, %error, "a client was not tended");
                }
            }
        }
        outgoing
    }

    /// What leads a client on that holds an old block only.
    async fn tend(
        &self,
        other: &CosmosNetwork,
        client: &Client,
        known: &mut Clients,
    ) -> Result<Option<Outgoing>, PathError> {
        let (network, id) = (&self.network.name, &client.id);
        match hosted::wants(client, clients::time(self.here)) {
            Wants::Nothing | Wants::Expired => return Ok(None),
            Wants::Update | Wants::Alarm => {}
        }
        let height = other.progress.borrow().durable.next();
        let lead = known.lead((self.network, self.here), other, client, height, self.signer).await;
        match lead {
            Ok(Lead::By(messages)) => {
                tracing::info!(%network, client = %id, of = %other.name, %height, "a client is refreshed");
                let purpose = format!("refresh {id}");
                Ok(Some(Outgoing { messages, purpose, duties: Vec::new() }))
            }
            Ok(Lead::Held | Lead::Further) => Ok(None),
            Err(error @ ReadError::Fork { .. }) => {
                let words = error.to_string();
                self.context.raise(AlarmKind::Misbehaviour, &other.name, None, &words).await;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What shows misbehaviour to a client that is not frozen yet; nothing if it was shown a moment ago.
    async fn show(
        &self,
        other: &CosmosNetwork,
        client: &Client,
        found: &Misbehaviour,
        shown: &mut HashMap<(ClientId, Height), Instant>,
    ) -> Result<Option<Outgoing>, PathError> {
        let place = (client.id.clone(), found.accepted().block().height);
        let is_on_its_way = shown.get(&place).is_some_and(|at| at.elapsed() < SHOW_AGAIN);
        if client.state.frozen.is_some() || is_on_its_way {
            return Ok(None);
        }
        let outgoing = self.misbehaviour(other, client, found).await?;
        shown.insert(place, Instant::now());
        Ok(Some(outgoing))
    }

    /// What shows a client that validators signed two chains. Whether it worked, its state says.
    async fn misbehaviour(
        &self,
        other: &CosmosNetwork,
        client: &Client,
        found: &Misbehaviour,
    ) -> Result<Outgoing, PathError> {
        let (first, second) = found.ordered();
        let below = first.block().height.min(second.block().height);
        let trusted = self.trusted(other, &client.id, client.state.latest, below).await?;
        let message = messages::show_misbehaviour(
            &client.id,
            (first, &trusted),
            (second, &trusted),
            self.signer,
        );
        let (network, id) = (&self.network.name, &client.id);
        tracing::error!(%network, client = %id, of = %other.name, "a client is shown misbehaviour");
        let purpose = format!("misbehaviour to {id}");
        Ok(Outgoing { messages: vec![message], purpose, duties: Vec::new() })
    }

    /// The highest block below a height that a client holds.
    async fn trusted(
        &self,
        other: &CosmosNetwork,
        client: &ClientId,
        latest: IbcHeight,
        below: Height,
    ) -> Result<ClaimedBlock, PathError> {
        let heights = list(
            self.network,
            "/ibc.core.client.v1.Query/ConsensusStateHeights",
            |page| QueryConsensusStateHeightsRequest {
                client_id: client.to_string(),
                pagination: Some(page),
            },
            |told: QueryConsensusStateHeightsResponse| {
                (told.consensus_state_heights, told.pagination)
            },
        )
        .await?;
        let of_revision = heights.iter().filter(|h| h.revision_number == latest.revision_number);
        let highest = of_revision.map(|h| h.revision_height).filter(|h| *h < below.0).max();
        let highest = highest.ok_or_else(|| nothing_below(client, below))?;
        let key = paths::consensus_state(client, IbcHeight { revision_height: highest, ..latest });
        let held = super::channels::values(self.network, self.here, std::iter::once(key)).await?;
        let held = held.into_iter().flatten().next();
        let held = held.and_then(|value| ConsensusState::decode(&value).ok());
        let held = held.ok_or_else(|| nothing_below(client, below))?;
        // Every upstream of the chain before it forked has it; what the client holds says which is meant.
        let mut last = nothing_below(client, below);
        for upstream in other.upstreams.order(Need::Nothing) {
            match upstream.light_block(Height(highest)).await {
                Ok(block) if clients::is_of(&held, &block) => return Ok(block),
                Ok(_) => {}
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

fn nothing_below(client: &ClientId, below: Height) -> PathError {
    let what = format!("client {client} holds no block below {below} that an upstream has");
    ReadError::Light(LightError::Upstream(UpstreamError::Garbage(what.into()))).into()
}
