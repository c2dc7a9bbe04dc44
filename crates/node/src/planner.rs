//! The task that plans what is brought to one network.

use crate::{
    attest::{Attester, Signed, Wanted},
    bundle::Bundler,
    context::{Context, Network},
    moves::{Owed, later, quorum_lost, to},
    payers::Payers,
    peers::gather::sent_at,
    planning::{Planned, Planning},
};
use postrider_layerzero::{Action, Ahead, Deployment, Job, MessagePlan, decode::text};
use postrider_message::{
    Duty, DutyId, DutyKind, DutyState, LaneId, Message, MessageId, MessageNonce, Reason, UnixMillis,
};
use postrider_store::{DutyMove, OpenMessage, StoreError};
use postrider_verification::Shortfall;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The most messages planned in one go.
const MAX_MESSAGES: u32 = 400;
/// A planner that nobody wakes looks again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Plans what is brought to one network.
pub struct Planner {
    context: Arc<Context>,
    network: Arc<Network>,
    deployment: Deployment,
    payers: Payers,
    attester: Option<Arc<Attester>>,
    ahead: Ahead,
    /// Gas that a block has there, as the last round found it; 0 before the first.
    block_gas: u64,
    /// The lane whose turn was the last in a round that had no place for all.
    last_turn: Option<LaneId>,
}

/// When the next round is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    /// There is room for what this round left out.
    AtOnce,
    /// When something has changed.
    Later,
}

impl Planner {
    /// A planner for what is brought to `network`.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        network: Arc<Network>,
        deployment: Deployment,
        payers: Payers,
        attester: Option<Arc<Attester>>,
    ) -> Self {
        Self {
            context,
            network,
            deployment,
            payers,
            attester,
            ahead: Ahead::default(),
            block_gas: 0,
            last_turn: None,
        }
    }

    /// Plans until cancelled.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: trying again will not mend it.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        loop {
            match self.round().await {
                Ok(More::AtOnce) if !stop.is_cancelled() => continue,
                Ok(_) => {}
                Err(error @ StoreError::Corrupt { .. }) => return Err(error),
                // R6: whatever else the store refuses concerns one round of one network.
                Err(error) => {
                    tracing::error!(network = %self.network.name, %error, "planning is delayed");
                }
            }
            let woken = tokio::time::timeout(LOOK_AGAIN, self.network.work.notified());
            if stop.run_until_cancelled(woken).await.is_none() {
                return Ok(());
            }
        }
    }

    async fn round(&mut self) -> Result<More, StoreError> {
        self.ahead.retain(&self.payers.watch().await?);
        let now = UnixMillis::now();
        let name = &self.network.name;
        let store = &self.context.store;
        let mut open = store.open_messages(name, now, self.last_turn, MAX_MESSAGES).await?;
        // With more lanes than fit, the next round begins where this one ends.
        let is_full = u32::try_from(open.len()).is_ok_and(|count| count >= MAX_MESSAGES);
        self.last_turn = open.last().filter(|_| is_full).map(|open| open.message.lane.id());
        if self.block_gas == 0 && !open.is_empty() {
            let newest = self.network.upstreams.newest().await;
            self.block_gas = newest.map_or(0, |newest| newest.header.gas_limit);
        }
        let has_room = self.keep_what_fits(&mut open, now);
        let more = if is_full && has_room { More::AtOnce } else { More::Later };
        open.sort_by_cached_key(|open| (open.message.lane.id(), open.message.nonce));
        if open.is_empty() {
            return Ok(More::Later);
        }
        let planning = self.planning();
        let jobs: Vec<Job<'_>> = open.iter().map(|open| planning.job(open, now)).collect();
        match planning.plan(&jobs, &self.ahead).await {
            Ok(planned) => match self.carry_out(&open, planned, now).await? {
                // A round that sends nothing leads to none at once: it would find the same again.
                0 => Ok(More::Later),
                _ => Ok(more),
            },
            Err(short) => self.wait_for_quorum(&open, short, now).await.map(|()| More::Later),
        }
    }

    /// Keeps those that need no transaction of their own now, and as many others as there is room
    /// for, so that nothing is asked of the destination before its answer is of use. Tells whether
    /// all had room.
    fn keep_what_fits(&self, open: &mut Vec<OpenMessage>, now: UnixMillis) -> bool {
        let mut room = self.payers.room(self.block_gas);
        let mut all = true;
        let planning = self.planning();
        open.retain(|open| {
            let job = planning.job(open, now);
            let needed = job.transactions();
            if needed == 0 {
                return true;
            }
            let batched = self.deployment.batch.is_some();
            let has_room = room.take(&open.message, needed, job.steps(), batched);
            all &= has_room;
            has_room
        });
        all
    }

    fn planning(&self) -> Planning<'_> {
        Planning {
            context: &self.context,
            network: &self.network,
            deployment: &self.deployment,
            block_gas: self.block_gas,
        }
    }

    /// R2: without a quorum nothing goes, and every duty that could be planned says so.
    async fn wait_for_quorum(
        &self,
        open: &[OpenMessage],
        short: Shortfall,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let reason = quorum_lost(&self.network.name, short);
        let waits =
            |duty: &&Duty| matches!(duty.state, DutyState::Waiting(_) | DutyState::Ready(_));
        let duties = open.iter().flat_map(|open| &open.duties).filter(waits);
        let moves = duties.map(|duty| to(duty, DutyState::Waiting(reason.clone()))).collect();
        self.context.store.move_duties(moves, now).await.map(|_| ())
    }

    async fn carry_out(
        &mut self,
        open: &[OpenMessage],
        Planned { plans, base_fee, block_gas, quorum }: Planned,
        now: UnixMillis,
    ) -> Result<usize, StoreError> {
        let owed: HashMap<DutyId, Owed<'_>> = open
            .iter()
            .flat_map(|o| {
                let (message, sent_at) = (&o.message, sent_at(o));
                o.duties.iter().map(move |duty| (duty.id(), Owed { duty, message, sent_at }))
            })
            .collect();
        let mut moves = Vec::new();
        let mut wanted = Vec::new();
        for decision in plans.iter().flat_map(|plan| &plan.decisions) {
            let Some(owed) = owed.get(&decision.duty).copied() else { continue };
            match &decision.action {
                Action::Become(state) => moves.push(to(owed.duty, state.clone())),
                Action::TryLater(reason) => moves.push(later(owed.duty, reason.clone(), now)),
                Action::Attest { target, needed } => {
                    wanted.push(Wanted { owed, target: *target, needed: *needed });
                }
                Action::Send(_) => {}
            }
        }
        self.open_the_way(&moves, &owed, now).await?;
        let signed = self.attest(wanted, quorum, now).await?;
        moves.extend(signed.moves);
        self.context.store.move_duties(moves, now).await?;

        let messages: HashMap<_, &Message> =
            open.iter().map(|o| (o.message.id(), &o.message)).collect();
        let lane_of = |plan: &MessagePlan| messages.get(&plan.message).map(|m| m.lane.id());
        if block_gas > 0 {
            self.block_gas = block_gas;
        }
        let attempts: HashMap<DutyId, u32> = owed
            .iter()
            .filter(|(_, owed)| owed.duty.attempts > 0)
            .map(|(id, owed)| (*id, owed.duty.attempts))
            .collect();
        let bundler = Bundler {
            here: &self.deployment,
            signed: &signed.params,
            quorum,
            transaction_gas: self.planning().transaction_gas(),
            attempts: &attempts,
        };
        let mut sent = 0;
        for (payer, plans) in self.payers.share(plans, lane_of) {
            let calls = bundler.bundles(plans);
            let steps: Vec<_> = calls.iter().flat_map(|call| call.steps.clone()).collect();
            let count = calls.len();
            self.payers.note_gas(&calls);
            let refused = payer.send(calls, base_fee).await?;
            sent += count.saturating_sub(refused.len());
            let mut unsent = HashSet::new();
            let mut moves = Vec::new();
            for refused in refused {
                let duties = refused.duties.iter().filter_map(|id| owed.get(id));
                moves.extend(duties.map(|owed| later(owed.duty, refused.reason.clone(), now)));
                unsent.extend(refused.duties);
            }
            self.context.store.move_duties(moves, now).await?;
            for (duty, step) in steps.into_iter().filter(|(duty, _)| !unsent.contains(duty)) {
                self.ahead.note(duty, step);
            }
        }
        Ok(sent)
    }

    /// The endpoint executes a nonce only once all lower ones are committed. Where one of those is another
    /// executor's work and not done, its commit, which is open to anyone, is owed by us.
    async fn open_the_way(
        &self,
        moves: &[DutyMove],
        owed: &HashMap<DutyId, Owed<'_>>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let Some(executor) = self.deployment.executor else { return Ok(()) };
        let mut missing: BTreeMap<LaneId, BTreeSet<MessageNonce>> = BTreeMap::new();
        for moved in moves {
            let DutyState::Waiting(Reason::LowerNonceNotCommitted { nonce }) = &moved.to else {
                continue;
            };
            let Some(owed) = owed.get(&moved.duty) else { continue };
            missing.entry(owed.message.lane.id()).or_default().insert(*nonce);
        }
        for (lane, nonces) in missing {
            let nonces: Vec<MessageNonce> = nonces.into_iter().collect();
            let commit = |message: MessageId| Duty {
                message,
                kind: DutyKind::Commit,
                part: 0,
                network: self.network.name.clone(),
                worker: text(executor),
                state: DutyState::Waiting(Reason::AwaitingPlan),
                attempts: 0,
                not_before: now,
            };
            let found = self.context.store.proven_at(lane, &nonces).await?;
            let new = self.context.store.owe(found.into_iter().map(commit).collect(), now).await?;
            if new > 0 {
                let network = &self.network.name;
                tracing::info!(%network, %lane, ?nonces, "commits that others owe are made for those after");
            }
        }
        Ok(())
    }

    async fn attest(
        &self,
        wanted: Vec<Wanted<'_>>,
        quorum: u64,
        now: UnixMillis,
    ) -> Result<Signed, StoreError> {
        match &self.attester {
            Some(attester) if !wanted.is_empty() => {
                attester.attest(&self.context, quorum, wanted, now).await
            }
            _ => Ok(Signed::default()),
        }
    }
}
