//! Keeps clients alive, and shows them misbehaviour: what a relayer owes chains while no packet travels.

use super::{
    channels::ReadError,
    clients::{self, Client, Clients, Lead},
    find::list,
    path::PathError,
    submit::Outgoing,
};
use crate::{context::Context, cosmos::CosmosNetwork};
use futures::FutureExt;
use ibc_proto::ibc::core::{
    client::v1::{
        QueryClientStatesRequest, QueryClientStatesResponse, QueryConsensusStateHeightsRequest,
        QueryConsensusStateHeightsResponse,
    },
    connection::v1::{QueryClientConnectionsRequest, QueryClientConnectionsResponse},
};
use postrider_cosmos::{LightError, Need, UpstreamError};
use postrider_ibc::{
    ClientId, Height as IbcHeight,
    messages::{self, Signer},
    paths,
    state::{ClientState, ConsensusState},
};
use postrider_message::{AlarmKind, Height, UnixMillis};
use postrider_verification::tendermint::{ClaimedBlock, CosmosAnchor, Misbehaviour};
use prost::Message;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How often clients are looked at, at most and at least.
const MIN_PAUSE: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How often the list of clients is read anew.
const LIST_AGAIN: Duration = Duration::from_secs(600);
/// A client that was shown misbehaviour and is not frozen after this time is shown it again.
const SHOW_AGAIN: Duration = Duration::from_secs(60);
/// The most clients of one network that are tended.
const MAX_TENDED: usize = 200;

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    /// A third of its trusting period has passed.
    Update,
    /// Two thirds have: whoever should update it does not.
    Alarm,
    /// It is too late.
    Expired,
}

/// What a client needs at a time, by how long ago the newest block was made that it holds.
fn need(newest: UnixMillis, period: Duration, now: UnixMillis) -> Wants {
    let age = u128::from(now.0.saturating_sub(newest.0));
    let period = period.as_millis();
    match () {
        () if age >= period => Wants::Expired,
        () if age * 3 >= period * 2 => Wants::Alarm,
        () if age * 3 >= period => Wants::Update,
        () => Wants::Nothing,
    }
}

/// The clients of one other network that are tended.
#[derive(Debug, Default)]
pub(super) struct Tended {
    ids: Vec<ClientId>,
    listed: Option<Instant>,
    looked: Option<Instant>,
    pause: Duration,
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
    /// What is to be sent for the clients of another network; nothing if it is not time to look.
    ///
    /// # Errors
    /// [`PathError`]; looking again may help.
    pub(super) async fn look(
        &self,
        other: &CosmosNetwork,
        tended: &mut Tended,
        known: &mut Clients,
    ) -> Result<Vec<Outgoing>, PathError> {
        let misbehaviour = other.misbehaviour();
        if misbehaviour.is_none() && tended.looked.is_some_and(|at| at.elapsed() < tended.pause) {
            return Ok(Vec::new());
        }
        tended.looked = Some(Instant::now());
        tended.pause = MIN_PAUSE;
        self.list_anew(other, tended).await?;
        let read = clients::read(self.network, self.here, &tended.ids).await?;
        let mut outgoing = Vec::new();
        let mut pause = MAX_PAUSE;
        for client in read.values() {
            let third = client.state.trusting_period / 3;
            pause = pause.min(third / 4).max(MIN_PAUSE);
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
        tended.pause = pause;
        Ok(outgoing)
    }

    /// Reads which clients are to be tended, where that is due.
    async fn list_anew(&self, other: &CosmosNetwork, tended: &mut Tended) -> Result<(), PathError> {
        if tended.listed.is_some_and(|at| at.elapsed() < LIST_AGAIN) {
            return Ok(());
        }
        match self.of(other).await {
            Ok(ids) => {
                tended.ids = ids;
                tended.listed = Some(Instant::now());
            }
            Err(error) if tended.ids.is_empty() => return Err(error),
            // R6: anybody can make the list longer than is read; the clients that are known do not expire for it.
            Err(error) => {
                let (network, of) = (&self.network.name, &other.name);
                tracing::warn!(%network, %of, %error, "clients were not listed anew");
            }
        }
        Ok(())
    }

    /// The clients here that follow another network and on which a connection stands, or those that the
    /// settings name.
    async fn of(&self, other: &CosmosNetwork) -> Result<Vec<ClientId>, PathError> {
        let settings = self.context.config.ibc.get(&self.network.name);
        let named = settings.and_then(|ibc| ibc.clients.as_ref());
        let listed = list(
            self.network,
            "/ibc.core.client.v1.Query/ClientStates",
            |page| QueryClientStatesRequest { pagination: Some(page) },
            |told: QueryClientStatesResponse| (told.client_states, told.pagination),
        )
        .await?;
        let mut ids = Vec::new();
        for client in listed {
            let state = client.client_state.map(|any| any.encode_to_vec()).unwrap_or_default();
            let follows = ClientState::decode(&state)
                .is_ok_and(|state| state.chain_id == other.config.chain_id.as_str());
            let Some(id) = client.client_id.parse::<ClientId>().ok().filter(|_| follows) else {
                continue;
            };
            let wanted = match named {
                Some(named) => named.contains(&id),
                None => self.has_connection(&id).await?,
            };
            if wanted && ids.len() < MAX_TENDED {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    async fn has_connection(&self, client: &ClientId) -> Result<bool, PathError> {
        const PATH: &str = "/ibc.core.connection.v1.Query/ClientConnections";
        let request = &QueryClientConnectionsRequest { client_id: client.to_string() };
        let told: Result<QueryClientConnectionsResponse, UpstreamError> = self
            .network
            .upstreams
            .first(Need::Newest, |u| async move { u.grpc(PATH, request, None).await }.boxed())
            .await;
        match told {
            Ok(told) => Ok(!told.connection_paths.is_empty()),
            // ibc-go says so of a client without any.
            Err(UpstreamError::Refused { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What leads a client on that holds an old block only. Tells of one that expires all the same.
    async fn tend(
        &self,
        other: &CosmosNetwork,
        client: &Client,
        known: &mut Clients,
    ) -> Result<Option<Outgoing>, PathError> {
        let (network, id) = (&self.network.name, &client.id);
        if client.state.frozen.is_some() {
            let words =
                format!("client {id}, of {}, is frozen: only governance recovers it", other.name);
            self.context.raise(AlarmKind::ClientExpires, network, None, &words).await;
            return Ok(None);
        }
        let Some(newest) = client.newest else { return Ok(None) };
        let now = clients::time(self.here);
        let need = need(newest.time, client.state.trusting_period, now);
        if matches!(need, Wants::Alarm | Wants::Expired) {
            let how = if need == Wants::Expired { "has expired" } else { "expires soon" };
            let words = format!(
                "client {id}, of {}, {how}: the newest block that it holds is of {}, and it believes for {} s",
                other.name,
                newest.time,
                client.state.trusting_period.as_secs()
            );
            self.context.raise(AlarmKind::ClientExpires, network, None, &words).await;
        }
        if matches!(need, Wants::Nothing | Wants::Expired) {
            return Ok(None);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_clients_are_refreshed_long_before_they_expire() {
        let period = Duration::from_secs(300);
        let cases = [
            (0, Wants::Nothing),
            (99, Wants::Nothing),
            (100, Wants::Update),
            (199, Wants::Update),
            (200, Wants::Alarm),
            (299, Wants::Alarm),
            (300, Wants::Expired),
        ];
        for (age, expected) in cases {
            let now = UnixMillis(1_000_000 + age * 1000);
            assert_eq!(need(UnixMillis(1_000_000), period, now), expected, "{age}");
        }
    }
}
