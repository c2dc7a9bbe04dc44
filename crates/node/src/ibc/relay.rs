//! The task that brings packets, acknowledgements and timeouts to one Cosmos network.

mod bundle;
mod upkeep;

use super::{
    attend::Attended,
    channels::{Channels, ReadError},
    clients::{self, Client, Clients},
    heights::{Chosen, Heights},
    show::{self, Claim, Refusal},
    submit::{Outgoing, Payers},
    tend::Tended,
    view::{self, At, Lane},
};
use crate::{
    context::Context,
    cosmos::CosmosNetwork,
    moves::{later, to},
};
use bundle::{Ready, Turn, bundles};
use postrider_ibc::{
    ChannelEndId, ClientId, Packet,
    messages::Signer,
    plan::{Action, Filter, plan},
};
use postrider_message::{
    Certainty, Detail, Duty, DutyId, DutyKind, DutyState, Fact, NetworkName, Reason, UnixMillis,
};
use postrider_store::{DutyMove, OpenMessage, StoreError};
use postrider_verification::tendermint::CosmosAnchor;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The most messages planned in one go.
const MAX_MESSAGES: u32 = 2_000;
/// A planner that nobody wakes looks again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What waits for no fact is looked at again after this time at the soonest and at the latest, in
/// milliseconds.
const SOONEST_LOOK: u64 = 1_000;
const LATEST_LOOK: u64 = 60_000;
/// What waits for something that an operator or another chain mends is looked at again after this time, in
/// milliseconds.
const LOOK_AT_TROUBLE: u64 = 10_000;

/// Brings what is owed to one network.
pub struct Relayer {
    context: Arc<Context>,
    network: Arc<CosmosNetwork>,
    channels: Arc<Channels>,
    submitter: Payers,
    clients: Clients,
    tended: BTreeMap<NetworkName, Tended>,
    attended: BTreeMap<NetworkName, Attended>,
}

/// A packet with a duty towards this network.
pub(super) struct Owed<'a> {
    pub(super) open: &'a OpenMessage,
    pub(super) duty: &'a Duty,
    pub(super) packet: Packet,
}

impl Owed<'_> {
    /// The end of its channel on the network that is owed.
    pub(super) fn here(&self) -> &ChannelEndId {
        match self.duty.kind {
            DutyKind::Receive => &self.packet.destination,
            _ => &self.packet.source,
        }
    }

    /// When the chain said what makes it due; `None` where no fact does.
    fn due_since(&self) -> Option<UnixMillis> {
        let wanted: fn(&Fact) -> bool = match self.duty.kind {
            DutyKind::Receive => |fact| matches!(fact, Fact::Sent),
            DutyKind::Acknowledge => |fact| matches!(fact, Fact::AcknowledgementWritten { .. }),
            _ => {
                let timeout = self.packet.timeout.nanoseconds / 1_000_000;
                return (timeout != 0).then_some(UnixMillis(timeout));
            }
        };
        let facts = self.open.facts.iter();
        let proven = facts.filter(|r| wanted(&r.fact) && r.certainty == Certainty::Verified);
        proven.map(|record| record.at).min()
    }
}

/// What a round does: where duties go, and what is sent.
#[derive(Default)]
struct Round {
    moves: Vec<DutyMove>,
    outgoing: Vec<Outgoing>,
}

impl Round {
    fn take(&mut self, other: Self) {
        self.moves.extend(other.moves);
        self.outgoing.extend(other.outgoing);
    }
}

impl Relayer {
    /// What brings packets to `network`.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        network: Arc<CosmosNetwork>,
        channels: Arc<Channels>,
        submitter: Payers,
    ) -> Self {
        let (clients, tended, attended) = (Clients::default(), BTreeMap::new(), BTreeMap::new());
        Self { context, network, channels, submitter, clients, tended, attended }
    }

    /// Relays until cancelled.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: trying again will not mend it.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        loop {
            match self.round().await {
                Ok(()) => {}
                Err(error @ StoreError::Corrupt { .. }) => return Err(error),
                // R6: whatever else the store refuses concerns one round of one network.
                Err(error) => {
                    // Updates that were planned may not have been stored.
                    self.clients.forget_led();
                    tracing::error!(network = %self.network.name, %error, "relaying is delayed");
                }
            }
            let woken = tokio::time::timeout(LOOK_AGAIN, self.network.work.notified());
            if stop.run_until_cancelled(woken).await.is_none() {
                return Ok(());
            }
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let flying = self.submitter.watch().await?;
        if self.network.gauge().take_lost() {
            self.clients.forget_led();
        }
        // Nothing is planned against a state that is not known.
        if !self.network.is_known() {
            return Ok(());
        }
        let now = UnixMillis::now();
        let store = Arc::clone(&self.context.store);
        let open = store.open_messages(&self.network.name, now, None, MAX_MESSAGES).await?;
        let mut by_network: BTreeMap<NetworkName, Vec<Owed<'_>>> = BTreeMap::new();
        let mut moves = Vec::new();
        for open in &open {
            let lane = &open.message.lane;
            for duty in open.duties.iter().filter(|d| is_due(d, now) && !flying.contains(&d.id())) {
                match Packet::of(&open.message) {
                    None => {}
                    Some(Err(error)) => {
                        let detail = error.to_string();
                        let reason = Reason::Refuted { detail: detail.as_str().into() };
                        moves.push(to(duty, DutyState::Failed(reason)));
                    }
                    Some(Ok(packet)) => {
                        let other = match duty.kind {
                            DutyKind::Receive => &lane.source.network,
                            _ => &lane.destination.network,
                        };
                        let owed = Owed { open, duty, packet };
                        by_network.entry(other.clone()).or_default().push(owed);
                    }
                }
            }
        }
        store.move_duties(moves, now).await?;
        for (other, owed) in by_network {
            let other = self.context.cosmos.get(&other).filter(|other| other.is_known());
            let Some(other) = other.cloned() else { continue };
            self.bring(&other, owed, now).await?;
        }
        self.tend().await?;
        self.attend().await
    }

    /// Brings what another network says.
    async fn bring(
        &mut self,
        other: &CosmosNetwork,
        owed: Vec<Owed<'_>>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let duties: HashMap<DutyId, &Duty> = owed.iter().map(|o| (o.duty.id(), o.duty)).collect();
        let Round { moves, outgoing } = match self.plan(other, owed, now).await {
            Ok(round) => round,
            Err(error) => {
                let detail = error.to_string();
                tracing::debug!(network = %self.network.name, other = %other.name, detail, "not planned");
                let reason = Reason::SimulationFailed { detail: detail.as_str().into() };
                let moves = duties.values().map(|duty| later(duty, reason.clone(), now)).collect();
                Round { moves, outgoing: Vec::new() }
            }
        };
        self.context.store.move_duties(moves, now).await?;
        let refused = self.submitter.send(outgoing).await?;
        let mut moves = Vec::new();
        for refused in refused {
            let duties = refused.duties.iter().filter_map(|id| duties.get(id));
            moves.extend(duties.map(|duty| match &refused.reason {
                reason @ Reason::SignerEmpty { .. } => wait(duty, reason.clone(), None, now),
                reason => later(duty, reason.clone(), now),
            }));
        }
        self.context.store.move_duties(moves, now).await.map(|_| ())
    }

    async fn plan(
        &mut self,
        other: &CosmosNetwork,
        owed: Vec<Owed<'_>>,
        now: UnixMillis,
    ) -> Result<Round, ReadError> {
        let (here, there) = (self.network.known_state().await?, other.known_state().await?);
        let mut round = Round::default();
        let mut waiting = Vec::with_capacity(owed.len());
        for owed in owed {
            match self.stands_by(&owed, now) {
                Some(moved) => round.moves.push(moved),
                None => waiting.push(owed),
            }
        }
        let (lanes, strays) = self.lanes(other, (&here, &there), waiting).await?;
        for stray in strays {
            let detail = "its two ends do not name each other".into();
            round.moves.push(later(stray.duty, Reason::ChannelNotOpen { detail }, now));
        }
        let clients = lanes.iter().map(|lane| lane.here.here.client().clone());
        let clients = clients::read(&self.network, &here, &unique(clients)).await?;
        let network = Arc::clone(&self.network);
        let at = At { network: &network, other, here: &here, there: &there };
        let views = view::read(&at, &lanes, &clients).await?;
        let mut claims = Vec::new();
        for (lane, view) in lanes.iter().zip(&views) {
            let jobs = lane.jobs();
            let mut decisions: HashMap<DutyId, Action> =
                plan(&jobs, view, &self.filter(lane, other), now)
                    .into_iter()
                    .map(|decision| (decision.duty, decision.action))
                    .collect();
            for owed in &lane.owed {
                let Some(action) = decisions.remove(&owed.duty.id()) else { continue };
                match judge(lane, owed, action, now) {
                    Ok(claim) => claims.push(claim),
                    Err(moved) => round.moves.push(*moved),
                }
            }
        }
        self.send(&at, &clients, claims, &mut round, now).await;
        Ok(round)
    }

    /// Whether another relayer goes first; then the duty waits.
    fn stands_by(&self, owed: &Owed<'_>, now: UnixMillis) -> Option<DutyMove> {
        let ibc = self.context.config.ibc.get(&self.network.name)?;
        let standby = u64::try_from(ibc.standby.as_millis()).unwrap_or(u64::MAX);
        if standby == 0 {
            return None;
        }
        let since = owed.due_since()?;
        let until = UnixMillis(since.0.saturating_add(standby));
        let waits = DutyState::Waiting(Reason::StandingBy { until });
        (now < until).then(|| DutyMove { not_before: Some(until), ..to(owed.duty, waits) })
    }

    /// Which packets of a lane are relayed: as the source network's settings say.
    fn filter(&self, lane: &Lane<'_>, other: &CosmosNetwork) -> Filter {
        let source = if lane.is_received_here { &other.name } else { &self.network.name };
        self.context.config.ibc.get(source).map(|ibc| ibc.filter.clone()).unwrap_or_default()
    }

    /// What is owed, by lanes whose two ends name each other; and what is on none of these.
    async fn lanes<'a>(
        &self,
        other: &CosmosNetwork,
        (here, there): (&CosmosAnchor, &CosmosAnchor),
        owed: Vec<Owed<'a>>,
    ) -> Result<(Vec<Lane<'a>>, Vec<Owed<'a>>), ReadError> {
        let ends: Vec<ChannelEndId> = owed.iter().map(|owed| owed.here().clone()).collect();
        let known = self.channels.find(&self.context, &self.network, here, &ends).await?;
        let leading = known.values().filter(|channel| channel.network == other.name).cloned();
        let met = self.channels.meet(&self.network, other, there, leading).await?;
        let mut lanes: BTreeMap<(ChannelEndId, bool), Lane<'a>> = BTreeMap::new();
        let mut strays = Vec::new();
        for owed in owed {
            let end = owed.here();
            let (Some(channel), Some(there)) = (known.get(end), met.get(end)) else {
                strays.push(owed);
                continue;
            };
            let is_received_here = owed.duty.kind == DutyKind::Receive;
            let new = || Lane {
                here: Arc::clone(channel),
                there: Arc::clone(there),
                is_received_here,
                owed: Vec::new(),
            };
            lanes.entry((end.clone(), is_received_here)).or_insert_with(new).owed.push(owed);
        }
        Ok((lanes.into_values().collect(), strays))
    }

    /// Proves claims, and puts what comes of them into transactions.
    async fn send(
        &mut self,
        at: &At<'_>,
        clients: &HashMap<ClientId, Client>,
        claims: Vec<Claim<'_>>,
        round: &mut Round,
        now: UnixMillis,
    ) {
        let address = self.submitter.address().to_owned();
        let signer = Signer(&address);
        let mut by_client: BTreeMap<ClientId, Vec<Claim<'_>>> = BTreeMap::new();
        for claim in claims {
            by_client.entry(claim.client().clone()).or_default().push(claim);
        }
        for (id, claims) in by_client {
            let Some(client) = clients.get(&id) else { continue };
            let duties: Vec<&Duty> = claims.iter().map(|claim| claim.owed.duty).collect();
            match self.show(at, client, claims, signer, now).await {
                Ok(shown) => round.take(shown),
                // R6: what is wrong with one client concerns what is brought over it, and nothing else.
                Err(error) => {
                    self.clients.forget(&id);
                    tracing::debug!(network = %at.network.name, client = %id, %error, "not planned");
                    let moves = duties.into_iter().map(|duty| match &error {
                        ReadError::Fork { .. } => wait(
                            duty,
                            clients::reason(at.network, &id, detail_of(&error)),
                            None,
                            now,
                        ),
                        _ => {
                            later(duty, Reason::SimulationFailed { detail: detail_of(&error) }, now)
                        }
                    });
                    round.moves.extend(moves);
                }
            }
        }
    }

    /// What of claims over one client is sent, after what leads the client to the heights of their proofs.
    async fn show(
        &mut self,
        at: &At<'_>,
        client: &Client,
        claims: Vec<Claim<'_>>,
        signer: Signer<'_>,
        now: UnixMillis,
    ) -> Result<Round, ReadError> {
        let mut round = Round::default();
        let (mut ready, mut missing) = (Vec::new(), Vec::new());
        let heights = Heights { clients: &mut self.clients, at, client, signer };
        let Chosen { updates, claims, waiting, further } = heights.choose(claims).await?;
        missing.extend(waiting.iter().chain(&further).filter_map(Turn::of));
        for claim in waiting {
            let network = at.network.name.clone();
            let reason = Reason::AwaitingConnectionDelay { network };
            round.moves.push(wait(claim.owed.duty, reason, None, now));
        }
        for claim in further {
            let detail = "it holds a later height than was read here, and not this one".into();
            let reason = clients::reason(at.network, &client.id, detail);
            // Mostly another relayer was quicker by a block.
            round.moves.push(wait(claim.owed.duty, reason, Some(now), now));
        }
        round.outgoing.extend(updates.into_iter().map(|messages| Outgoing {
            messages,
            purpose: "update client".to_owned(),
            duties: Vec::new(),
        }));
        for (height, claims) in claims {
            for (claim, proven) in show::prove(at.other, height, claims).await? {
                let (duty, turn) = (claim.owed.duty, Turn::of(&claim));
                match show::message(&claim, &proven, show::on_chain(at.other, height), signer) {
                    Ok(message) => ready.push(Ready {
                        message,
                        duty: duty.id(),
                        kind: duty.kind,
                        attempts: duty.attempts,
                        alone: claim.is_alone(),
                        turn,
                    }),
                    Err(refusal) => {
                        missing.extend(turn);
                        round.moves.push(match refusal {
                            Refusal::Ends(state) => to(duty, state),
                            Refusal::Waits(reason) => later(duty, reason, now),
                        });
                    }
                }
            }
        }
        round.outgoing.extend(bundles(ready, &missing));
        Ok(round)
    }
}

fn detail_of(error: &ReadError) -> Detail {
    error.to_string().as_str().into()
}

/// What a decision comes to: something to be proven, or a move.
fn judge<'a>(
    lane: &Lane<'_>,
    owed: &'a Owed<'a>,
    action: Action,
    now: UnixMillis,
) -> Result<Claim<'a>, Box<DutyMove>> {
    match action {
        Action::End(state) => Err(Box::new(to(owed.duty, state))),
        Action::Wait { reason, until } => Err(Box::new(wait(owed.duty, reason, until, now))),
        action => Claim::of(owed, &lane.here, action).map_err(|error| {
            let detail = error.to_string();
            let reason = Reason::Refuted { detail: detail.as_str().into() };
            Box::new(to(owed.duty, DutyState::Failed(reason)))
        }),
    }
}

/// Whether a duty waits to be planned now.
fn is_due(duty: &Duty, now: UnixMillis) -> bool {
    let waits = matches!(duty.state, DutyState::Waiting(_) | DutyState::Ready(_));
    let ours = matches!(duty.kind, DutyKind::Receive | DutyKind::Acknowledge | DutyKind::TimeOut);
    waits && ours && duty.not_before <= now
}

/// A move to waiting for something that is no failure.
fn wait(duty: &Duty, reason: Reason, until: Option<UnixMillis>, now: UnixMillis) -> DutyMove {
    let after = |millis: u64| now.0.saturating_add(millis);
    let at = match until {
        Some(until) => until.0.clamp(after(SOONEST_LOOK), after(LATEST_LOOK)),
        None => match reason {
            // The chain's own words wake it.
            Reason::AwaitingAcknowledgement => after(LATEST_LOOK),
            Reason::ClientUnusable { .. }
            | Reason::ChannelNotOpen { .. }
            | Reason::SignerEmpty { .. } => after(LOOK_AT_TROUBLE),
            _ => after(SOONEST_LOOK),
        },
    };
    DutyMove { not_before: Some(UnixMillis(at)), ..to(duty, DutyState::Waiting(reason)) }
}

fn unique<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<T>>().into_iter().collect()
}
