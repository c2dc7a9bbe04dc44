//! The task that plans what is brought to one network.

use crate::{
    attest::{self, Attester},
    context::{Context, Network},
    moves::{later, quorum_lost, retry_at, to},
    submit::{Outgoing, Submitter},
};
use postrider_layerzero::{
    Action, Decision, Deployment, View,
    plan::{Job, plan, questions},
};
use postrider_message::{
    Confirmations, Detail, DutyId, DutyKind, DutyState, Fact, Reason, UnixMillis,
};
use postrider_store::{DutyMove, InFlight, OpenDuty, StoreError, TransactionState};
use postrider_verification::Shortfall;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The most duties planned in one go.
const MAX_DUTIES: u32 = 600;
/// A planner that nobody wakes looks again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Plans what is brought to one network.
pub struct Planner {
    context: Arc<Context>,
    network: Arc<Network>,
    deployment: Deployment,
    submitter: Arc<Submitter>,
    attester: Option<Attester>,
}

impl Planner {
    /// A planner for what is brought to `network`.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        network: Arc<Network>,
        deployment: Deployment,
        submitter: Arc<Submitter>,
        attester: Option<Attester>,
    ) -> Self {
        Self { context, network, deployment, submitter, attester }
    }

    /// Plans until cancelled.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: trying again will not mend it.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        loop {
            match self.round().await {
                Ok(()) => {}
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

    async fn round(&self) -> Result<(), StoreError> {
        self.submitter.watch().await?;
        let now = UnixMillis::now();
        let name = &self.network.name;
        let mut open = self.context.store.open_duties(name, now, MAX_DUTIES).await?;
        if open.is_empty() {
            return Ok(());
        }
        self.without_effect(&open, now).await?;
        open.retain(|o| !matches!(o.duty.state, DutyState::Submitted(_)));
        let jobs = self.jobs(&open, self.submitter.room().await?);
        let view = match self.view(&jobs).await {
            Ok(view) => view,
            Err(short) => return self.wait_for_quorum(&open, short, now).await,
        };
        let decisions = plan(&jobs, &view, &self.deployment);
        self.carry_out(&open, decisions, &view, now).await
    }

    /// The jobs to plan now: those that would each need a transaction only as far as there is room
    /// for them, so that nothing is asked of the destination before its answer is of use.
    fn jobs<'a>(&self, open: &'a [OpenDuty], mut room: usize) -> Vec<Job<'a>> {
        let takes_room = |job: &Job<'_>| job.duty.kind != DutyKind::Attest && !job.is_too_early();
        let jobs = open.iter().map(|open| self.job(open));
        jobs.filter(|job| {
            if !takes_room(job) {
                return true;
            }
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        })
        .collect()
    }

    fn job<'a>(&self, open: &'a OpenDuty) -> Job<'a> {
        let source = &open.message.lane.source.network;
        let sent_at = open
            .facts
            .iter()
            .filter(|r| matches!(r.fact, Fact::Sent))
            .map(|r| r.observation.block.height.0)
            .max();
        let head = self.context.network(source).map_or(0, |n| n.progress.borrow().head.0);
        let depth = sent_at.map_or(0, |height| head.saturating_sub(height));
        Job {
            duty: &open.duty,
            message: &open.message,
            facts: &open.facts,
            depth: Confirmations(depth),
            min_confirmations: self
                .context
                .config
                .layerzero
                .get(source)
                .map_or(Confirmations(1), |c| c.min_confirmations),
        }
    }

    /// One view of the newest state, read by the quorum.
    async fn view(&self, jobs: &[Job<'_>]) -> Result<View, Shortfall> {
        let questions = questions(jobs, &self.deployment);
        let endpoint = self.deployment.endpoint;
        let calls: Vec<_> = questions.iter().map(|q| q.call(endpoint)).collect();
        if calls.is_empty() {
            return Ok(View::empty());
        }
        let upstreams = &self.network.upstreams;
        let at = upstreams.anchor_latest().await?;
        Ok(View::new(questions, &upstreams.read(&at, &calls).await?))
    }

    /// R2: without a quorum nothing goes, and every open duty says so.
    async fn wait_for_quorum(
        &self,
        open: &[OpenDuty],
        short: Shortfall,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let reason = quorum_lost(&self.network.name, short);
        let moves = open.iter().map(|o| to(o, DutyState::Waiting(reason.clone()))).collect();
        self.context.store.move_duties(moves, now).await.map(|_| ())
    }

    async fn carry_out(
        &self,
        open: &[OpenDuty],
        decisions: Vec<Decision>,
        view: &View,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let by_id: HashMap<DutyId, &OpenDuty> = open.iter().map(|o| (o.duty.id(), o)).collect();
        let mut moves = Vec::new();
        let mut sends = Vec::new();
        let mut attests = Vec::new();
        for Decision { duty, action } in decisions {
            let Some(open) = by_id.get(&duty) else { continue };
            match action {
                Action::Become(state) => moves.push(to(open, state)),
                Action::TryLater(reason) => moves.push(later(open, reason, now)),
                Action::Attest { target, needed } => {
                    attests.push(attest::Wanted { open, target, needed });
                }
                Action::Send(payload) => sends.push(Outgoing {
                    payload,
                    duties: vec![duty],
                    purpose: format!("{} {}", open.duty.kind, open.message.id().short()),
                }),
            }
        }
        if !attests.is_empty()
            && let (Some(attester), Some(dvn)) = (&self.attester, self.deployment.dvn)
        {
            let quorum = view.quorum(dvn).unwrap_or(0);
            let signed = attester.attest(&self.context, dvn, quorum, attests, now).await?;
            moves.extend(signed.moves);
            // Attestations first: what follows on the same account may build on them.
            sends.splice(0..0, signed.outgoing);
        }
        self.context.store.move_duties(moves, now).await?;
        if sends.is_empty() {
            return Ok(());
        }
        for refused in self.submitter.send(sends).await? {
            let moves = refused
                .duties
                .iter()
                .filter_map(|id| by_id.get(id))
                .map(|open| later(open, refused.reason.clone(), now))
                .collect();
            self.context.store.move_duties(moves, now).await?;
        }
        Ok(())
    }

    /// A transaction's status proves nothing: a duty whose transaction is in a block that was read,
    /// without the fact it was to bring about, is tried again.
    async fn without_effect(&self, open: &[OpenDuty], now: UnixMillis) -> Result<(), StoreError> {
        if !open.iter().any(|o| matches!(o.duty.state, DutyState::Submitted(_))) {
            return Ok(());
        }
        let read = self.network.progress.borrow().hinted;
        let in_flight = self.submitter.in_flight().await?;
        let mut carried: BTreeMap<DutyId, Vec<&InFlight>> = BTreeMap::new();
        for transaction in &in_flight {
            for duty in &transaction.duties {
                carried.entry(*duty).or_default().push(transaction);
            }
        }
        let mut moves = Vec::new();
        for open in open.iter().filter(|o| matches!(o.duty.state, DutyState::Submitted(_))) {
            let carriers = carried.get(&open.duty.id());
            let ended = carriers.is_none_or(|list| {
                list.iter().all(|t| {
                    t.state == TransactionState::Included
                        && t.included.is_some_and(|b| b.height <= read)
                })
            });
            if ended && !has_effect(open) {
                let reason = Reason::Retrying {
                    duty: open.duty.kind,
                    at: retry_at(now, open.duty.attempts),
                    detail: what_went_wrong(open),
                };
                moves.push(DutyMove {
                    not_before: Some(retry_at(now, open.duty.attempts)),
                    ..to(open, DutyState::Waiting(reason))
                });
            }
        }
        self.context.store.move_duties(moves, now).await.map(|_| ())
    }
}

/// Whether some chain says, if only as a hint, that the duty's aim is reached.
fn has_effect(open: &OpenDuty) -> bool {
    open.facts.iter().any(|record| match (open.duty.kind, &record.fact) {
        (DutyKind::Attest, Fact::Attested { by, .. }) => *by == open.duty.worker,
        (DutyKind::Commit, Fact::Committed) => true,
        (_, fact) => postrider_message::Outcome::of(fact).is_some(),
    })
}

fn what_went_wrong(open: &OpenDuty) -> Detail {
    let failed = open.facts.iter().rev().find_map(|record| match &record.fact {
        Fact::ExecutionFailed { detail } => Some(detail.as_str()),
        _ => None,
    });
    failed.unwrap_or("its transaction was included without effect").into()
}
