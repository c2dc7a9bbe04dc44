//! What becomes of messages that go to one network, decided on one of its blocks as a quorum sees it.

use crate::context::{Context, Network};
use postrider_evm::{Code, Sequence, Simulated};
use postrider_layerzero::{
    Ahead, Asked, Courses, Deployment, Job, MessagePlan, View, plan::questions,
};
use postrider_message::{Confirmations, Fact, NetworkName, UnixMillis};
use postrider_store::OpenMessage;
use postrider_verification::{Shortfall, evm::AnchoredBlock};

/// How the calls of one sequence end; `None` for one that no quorum tells of.
type Rehearsed = Vec<Option<Simulated>>;

/// What becomes of messages, decided on one block of the destination.
#[derive(Default)]
pub(crate) struct Planned {
    pub(crate) plans: Vec<MessagePlan>,
    /// That block's, in wei a gas.
    pub(crate) base_fee: u128,
    /// Gas that a block has there; 0 if nothing was asked.
    pub(crate) block_gas: u64,
    /// How many signatures our DVN takes there; 0 if it was not asked.
    pub(crate) quorum: u64,
}

/// Plans for one network; it decides and changes nothing.
#[derive(Clone, Copy)]
pub(crate) struct Planning<'p> {
    pub(crate) context: &'p Context,
    pub(crate) network: &'p Network,
    pub(crate) deployment: &'p Deployment,
    /// Gas that a block has there, as far as it is known; 0 before that.
    pub(crate) block_gas: u64,
}

impl Planning<'_> {
    /// What there is to decide about a message.
    pub(crate) fn job<'a>(&self, open: &'a OpenMessage, now: UnixMillis) -> Job<'a> {
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
            message: &open.message,
            duties: &open.duties,
            facts: &open.facts,
            depth: Confirmations(depth),
            min_confirmations: self.min_confirmations(source),
            transaction_gas: self.transaction_gas(),
            now,
        }
    }

    /// The most gas that nodes let one transaction ask for.
    pub(crate) fn transaction_gas(&self) -> u64 {
        let block = Some(self.block_gas).filter(|gas| *gas > 0).unwrap_or(u64::MAX);
        self.network.config.transaction_gas_cap.unwrap_or(u64::MAX).min(block)
    }

    /// The floor of either side: the operator may distrust a source, or protect a destination.
    fn min_confirmations(&self, source: &NetworkName) -> Confirmations {
        let floors = [source, &self.network.name].map(|name| {
            let config = self.context.config.layerzero.get(name);
            config.map_or(Confirmations(1), |config| config.min_confirmations)
        });
        floors.into_iter().max().unwrap_or(Confirmations(1))
    }

    /// What becomes of each message.
    ///
    /// # Errors
    /// [`Shortfall`] if no quorum tells of the network's newest state.
    pub(crate) async fn plan(&self, jobs: &[Job<'_>], ahead: &Ahead) -> Result<Planned, Shortfall> {
        let asked = Asked::new(questions(jobs, self.deployment));
        if asked.is_empty() {
            let nothing = View::empty();
            let courses = Courses::new(jobs, &nothing, self.deployment, ahead);
            return Ok(Planned { plans: courses.conclude(&[]), ..Planned::default() });
        }
        let upstreams = &self.network.upstreams;
        let at = upstreams.anchor_latest().await?;
        let endpoint = self.deployment.endpoint;
        let known = upstreams.rehearse(&at, &asked.known(endpoint), Code::Known).await?;
        let strange = self.of_strangers(&at, &asked.of_strangers(endpoint)).await;
        let view = asked.answered(&known, &strange);
        let courses = Courses::new(jobs, &view, self.deployment, ahead);
        let plans = if courses.sequences().is_empty() {
            courses.conclude(&[])
        } else {
            let rehearsed = self.of_strangers(&at, courses.sequences()).await;
            courses.conclude(&rehearsed)
        };
        let base_fee = u128::from(at.header().base_fee_per_gas.unwrap_or_default());
        let quorum = self.deployment.dvn.and_then(|dvn| view.quorum(dvn)).unwrap_or(0);
        Ok(Planned { plans, base_fee, block_gas: at.header().gas_limit, quorum })
    }

    /// How calls end that run strangers' code. Where no quorum tells of all of them at once, which
    /// one of them alone can bring about, they are asked in halves: what cannot be told at all stays
    /// without an answer, and takes nothing from the others (R6).
    async fn of_strangers(&self, at: &AnchoredBlock, sequences: &[Sequence]) -> Vec<Rehearsed> {
        let mut told: Vec<Rehearsed> = Vec::with_capacity(sequences.len());
        let mut portions = vec![sequences];
        while let Some(portion) = portions.pop() {
            if portion.is_empty() {
                continue;
            }
            let upstreams = &self.network.upstreams;
            match upstreams.rehearse(at, portion, Code::Strangers).await {
                Ok(reading) => told.extend(reading.value().iter().cloned()),
                Err(_) if portion.len() > 1 => {
                    let (first, second) = portion.split_at(portion.len() / 2);
                    portions.extend([second, first]);
                }
                Err(_) => {
                    told.extend(portion.iter().map(|sequence| vec![None; sequence.steps.len()]));
                }
            }
        }
        told
    }
}
