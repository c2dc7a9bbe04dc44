//! Tokens that cross between two networks (ICS-20): for every channel and token, what the source keeps in
//! escrow against the vouchers that there are at the destination. More vouchers than is kept for them were
//! made of nothing, or what backed them is gone.
//!
//! Amounts are proven in states of both chains that may be compared (`cut`). Which channels and tokens there
//! are, an upstream tells (`told`), and packets that were proven do (`seen`).

mod compare;
mod cut;
mod paths;
pub mod seen;
mod told;

pub use told::Lists;

use super::{
    channels::{Channels, ReadError},
    path::PathError,
    shaking::Pair,
};
use crate::{context::Context, cosmos::CosmosNetwork};
use compare::Waiting;
use futures::future::join_all;
use postrider_cosmos::LightError;
use postrider_ibc::{
    ChannelEndId, ClientId, Height as IbcHeight, handshake::Side, transfer::Denom,
};
use postrider_message::{AlarmKind, Lane, NetworkName, UnixMillis};
use postrider_store::StoreError;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use told::Told;

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_secs(10);
/// How often it is asked which tokens there are, at most, and looked which channels packets came over.
const LIST_AGAIN: Duration = Duration::from_secs(20);
/// How often it is asked which channels there are.
const CHANNELS_AGAIN: Duration = Duration::from_secs(60);
/// How often it is asked which clients there are: chains have thousands, and rarely a new one.
const CLIENTS_AGAIN: Duration = Duration::from_secs(600);

/// Why tokens were not looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    /// A list was not told, or state not proven.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A client holds what is no block of the other chain.
    #[error("client {client} on {network} holds block {height} of {of}, which {of} has not made")]
    Beyond {
        /// The client.
        client: ClientId,
        /// Where it is.
        network: NetworkName,
        /// What it holds.
        height: IbcHeight,
        /// Of which network.
        of: NetworkName,
    },
    /// A chain does not reach what the other one was shown of it.
    #[error(
        "{0} has not reached, as its upstreams tell, what a client was shown of it; looked at again"
    )]
    Slow(NetworkName),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LightError> for LookError {
    fn from(error: LightError) -> Self {
        ReadError::from(error).into()
    }
}

impl From<ReadError> for LookError {
    fn from(error: ReadError) -> Self {
        Self::Path(error.into())
    }
}

/// A channel over which tokens travel.
#[derive(Debug, Clone)]
struct Path {
    ends: Pair<ChannelEndId>,
    /// The client on each side, of the other one.
    clients: Pair<ClientId>,
    directions: [Direction; 2],
}

/// One direction of a channel: tokens of one side, and their vouchers on the other.
#[derive(Debug, Clone)]
struct Direction {
    /// Where the tokens are kept.
    from: Side,
    lane: Lane,
    source: ChannelEndId,
    destination: ChannelEndId,
    /// The tokens, as the destination names their way.
    denoms: Vec<Denom>,
}

/// Watches the tokens that cross between two networks.
struct Watch {
    context: Arc<Context>,
    channels: Arc<Channels>,
    lists: Arc<Lists>,
    networks: Pair<Arc<CosmosNetwork>>,
    /// Those on A, of B.
    clients: Vec<ClientId>,
    clients_listed: Option<Instant>,
    /// Ends on A of channels over those clients.
    ends: BTreeSet<ChannelEndId>,
    ends_listed: Option<Instant>,
    paths: Vec<Path>,
    listed: Option<Instant>,
    /// By clients: what was known on one chain of the other and is not seen there yet.
    waiting: Mutex<HashMap<Pair<ClientId>, Waiting>>,
    /// How many looks were taken: where tokens are too many for one, they take turns.
    turn: usize,
}

/// Each two networks that both have settings of IBC.
#[must_use]
pub fn pairs(context: &Context) -> Vec<(Arc<CosmosNetwork>, Arc<CosmosNetwork>)> {
    let has_settings = |name: &NetworkName| context.config.ibc.contains_key(name);
    let all: Vec<_> = context.cosmos.values().filter(|n| has_settings(&n.name)).collect();
    let pair = |(i, a): (usize, &&Arc<CosmosNetwork>)| {
        let after = all.iter().skip(i.saturating_add(1));
        after.map(|b| (Arc::clone(a), Arc::clone(b))).collect::<Vec<_>>()
    };
    all.iter().enumerate().flat_map(pair).collect()
}

/// Watches the tokens that cross between two networks until cancelled.
pub async fn watch(
    context: Arc<Context>,
    (channels, lists): (Arc<Channels>, Arc<Lists>),
    (a, b): (Arc<CosmosNetwork>, Arc<CosmosNetwork>),
    stop: CancellationToken,
) {
    let mut watch = Watch {
        context,
        channels,
        lists,
        networks: Pair { a, b },
        clients: Vec::new(),
        clients_listed: None,
        ends: BTreeSet::new(),
        ends_listed: None,
        paths: Vec::new(),
        listed: None,
        waiting: Mutex::default(),
        turn: 0,
    };
    loop {
        let round = async {
            watch.round().await;
            tokio::time::sleep(PAUSE).await;
        };
        if stop.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

impl Watch {
    async fn round(&mut self) {
        let Pair { a, b } = &self.networks;
        if !a.is_known() || !b.is_known() {
            return;
        }
        if let Err(error) = self.list().await {
            unlisted(&self.networks, &error);
        }
        // R6: clients that cannot be compared by hold up no others.
        let groups = groups(&self.paths);
        join_all(groups.iter().map(async |group| {
            if let Err(error) = self.look(group).await {
                self.say(&error).await;
            }
        }))
        .await;
        self.turn = self.turn.wrapping_add(1);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Pair<ClientId>, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(&self, error: &LookError) {
        if let LookError::Beyond { of, .. } = error {
            let words = error.to_string();
            self.context.raise(AlarmKind::Misbehaviour, of, None, &words).await;
        }
        let (a, b) = (&self.networks.a.name, &self.networks.b.name);
        tracing::warn!(%a, %b, %error, "escrow and vouchers were not compared");
    }

    /// Asks which channels and tokens there are, if it is time.
    async fn list(&mut self) -> Result<(), LookError> {
        let is_due = |at: Option<Instant>, pause| at.is_none_or(|at| at.elapsed() >= pause);
        if !is_due(self.listed, LIST_AGAIN) {
            return Ok(());
        }
        let Pair { a, b } = &self.networks;
        if is_due(self.clients_listed, CLIENTS_AGAIN) {
            match paths::clients(a, b).await {
                Ok(clients) => {
                    (self.clients, self.clients_listed) = (clients, Some(Instant::now()));
                }
                Err(error) => unlisted(&self.networks, &error),
            }
        }
        if is_due(self.ends_listed, CHANNELS_AGAIN) {
            match paths::ends(a, &self.clients).await {
                Ok(ends) => {
                    (self.ends, self.ends_listed) = (ends, Some(Instant::now()));
                }
                Err(error) => unlisted(&self.networks, &error),
            }
        }
        // Channels that packets came over are known without lists.
        let known = (&self.ends, self.paths.as_slice());
        let mut paths = paths::find(&self.context, &self.channels, &self.networks, known).await?;
        if !paths.is_empty() {
            let (told_a, told_b) = tokio::join!(self.lists.of(a), self.lists.of(b));
            for direction in paths.iter_mut().flat_map(|path| &mut path.directions) {
                direction.denoms = match direction.from {
                    Side::A => self.tokens(direction, b, (&told_a, &told_b)).await?,
                    Side::B => self.tokens(direction, a, (&told_b, &told_a)).await?,
                };
            }
        }
        self.paths = paths;
        self.listed = Some(Instant::now());
        Ok(())
    }

    /// The tokens to watch in a direction: those that were looked at before, that packets carried, and that
    /// the two networks tell of.
    async fn tokens(
        &self,
        direction: &Direction,
        to: &CosmosNetwork,
        (source, destination): (&Told, &Told),
    ) -> Result<Vec<Denom>, StoreError> {
        let before = self.context.store.escrow_denoms(&direction.lane).await?;
        let before = before.iter().filter_map(|path| path.parse().ok());
        let carried = self.channels.tokens.over(&to.name, &direction.destination);
        let known = before.chain(carried);
        let denoms = told::to_watch(&direction.destination, source, destination, known);
        if denoms.len() >= told::MAX_WATCHED {
            let (lane, most) = (&direction.lane, told::MAX_WATCHED);
            tracing::warn!(%lane, most, "more tokens may travel there than are watched");
        }
        Ok(denoms)
    }

    /// Compares what travels over channels with the same clients.
    async fn look(&self, group: &[&Path]) -> Result<(), LookError> {
        let Some(first) = group.first() else { return Ok(()) };
        let items = compare::items(group, self.turn);
        if items.is_empty() {
            return Ok(());
        }
        let clients = &first.clients;
        let mut waiting = self.waiting().remove(clients);
        let cut = compare::cut(&self.networks, clients, &mut waiting).await;
        if let Some(waiting) = waiting {
            self.waiting().insert(clients.clone(), waiting);
        }
        let anchors = cut?;
        let rows = compare::read(&self.networks, &anchors, &items).await?;
        for alarm in self.context.store.keep_escrows(rows, UnixMillis::now()).await? {
            Context::sound(&alarm);
        }
        Ok(())
    }
}

fn unlisted(networks: &Pair<Arc<CosmosNetwork>>, error: &dyn std::error::Error) {
    let (a, b) = (&networks.a.name, &networks.b.name);
    tracing::warn!(%a, %b, %error, "channels and tokens were not listed");
}

/// Channels with the same clients, which are looked at together.
fn groups(paths: &[Path]) -> Vec<Vec<&Path>> {
    let mut groups: Vec<Vec<&Path>> = Vec::new();
    for path in paths {
        let same = |group: &&mut Vec<&Path>| {
            group.first().is_some_and(|first| first.clients == path.clients)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(path),
            None => groups.push(vec![path]),
        }
    }
    groups
}
