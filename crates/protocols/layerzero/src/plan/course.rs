//! The steps that could go now, laid out, rehearsed and decided.

use super::{
    Action, Decision, Job, MessagePlan, Parsed, as_step, attest, commit, compose, execute, fits,
    no_answer, with_room,
};
use crate::{
    attestation::DvnTarget,
    batch,
    deployment::Deployment,
    view::{Pathway, Question, View},
};
use alloy_primitives::{Address, U256};
use postrider_evm::{CallOutcome, EthCall, Sequence, Simulated, Slot, Step, transaction::Payload};
use postrider_message::{
    Certainty, Confirmations, Duty, DutyId, DutyKind, DutyState, Fact, MessageNonce, Reason,
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The most calls in one sequence: nodes bound the gas of a simulation.
const MAX_CALLS: usize = 460;

/// A step that is on its way, or about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadStep {
    pathway: Pathway,
    nonce: u64,
    kind: DutyKind,
}

impl AheadStep {
    /// The step of this kind for the message of this nonce.
    #[must_use]
    pub fn new(pathway: Pathway, nonce: u64, kind: DutyKind) -> Self {
        Self { pathway, nonce, kind }
    }

    /// The pathway of its message.
    #[must_use]
    pub fn pathway(&self) -> Pathway {
        self.pathway
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> DutyKind {
        self.kind
    }
}

/// Steps that were sent and that no block is known to include: executions may build on commits that
/// are among them. Forgetting one costs time, never truth: what needs it waits for its block.
#[derive(Debug, Default)]
pub struct Ahead {
    by_duty: HashMap<DutyId, AheadStep>,
}

impl Ahead {
    /// Remembers a step that was sent.
    pub fn note(&mut self, duty: DutyId, step: AheadStep) {
        self.by_duty.insert(duty, step);
    }

    /// Forgets all but these.
    pub fn retain(&mut self, on_their_way: &HashSet<DutyId>) {
        self.by_duty.retain(|duty, _| on_their_way.contains(duty));
    }

    /// The highest nonce on each pathway whose execution is on its way.
    fn executions(&self) -> HashMap<Pathway, u64> {
        let mut highest: HashMap<Pathway, u64> = HashMap::new();
        for step in self.by_duty.values().filter(|step| step.kind == DutyKind::Execute) {
            let nonce = highest.entry(step.pathway).or_default();
            *nonce = (*nonce).max(step.nonce);
        }
        highest
    }

    /// The nonces on each pathway whose commits are on their way.
    fn commits(&self) -> HashMap<Pathway, BTreeSet<u64>> {
        let mut commits: HashMap<Pathway, BTreeSet<u64>> = HashMap::new();
        for step in self.by_duty.values().filter(|step| step.kind == DutyKind::Commit) {
            commits.entry(step.pathway).or_default().insert(step.nonce);
        }
        commits
    }
}

/// What a step does if its rehearsal goes well.
#[derive(Debug)]
enum Act {
    Attest { target: DvnTarget, needed: Confirmations },
    Commit(Payload),
    Execute(Box<execute::Wanted>),
    Compose(Payload),
}

#[derive(Debug)]
struct Planned<'a> {
    duty: &'a Duty,
    call: EthCall,
    act: Act,
    /// Where in the rehearsal it stands.
    place: Place,
}

/// Which sequence, and which step of it.
type Place = (usize, usize);

#[derive(Debug)]
struct Course<'a> {
    job: &'a Job<'a>,
    parsed: Option<Parsed>,
    /// Its execution must come after those of lower nonces.
    in_order: bool,
    decided: Vec<Decision>,
    steps: Vec<Planned<'a>>,
}

/// The courses of all jobs.
#[derive(Debug)]
pub struct Courses<'a> {
    view: &'a View,
    here: &'a Deployment,
    courses: Vec<Course<'a>>,
    sequences: Vec<Sequence>,
    /// What the first step of a sequence must answer for the others to mean anything: the nonce that
    /// the endpoint is taken to be past.
    probes: HashMap<usize, u64>,
}

/// Where each pathway's executions are, as this round finds and leaves them.
#[derive(Debug, Default)]
struct Order {
    /// The next nonce where the receiver or the sender asks for order.
    next: HashMap<Pathway, u64>,
    /// The highest nonce whose execution is on its way or goes in this round.
    reached: HashMap<Pathway, u64>,
}

/// What a rehearsal told of a step.
enum Told {
    /// How it ended.
    Simulated(Simulated),
    /// A quorum told nothing of it.
    Nothing,
    /// It was left out, or what it would build on cannot be taken for granted.
    NotAsked,
}

/// A run of nonces that are rehearsed one after the other.
struct Run {
    /// `None` until it has a step.
    sequence: Option<usize>,
    /// All nonces up to this one are committed, are on their way, or are committed in the run.
    covered: u64,
}

impl<'a> Courses<'a> {
    /// Lays out which steps of `jobs`, which must come by lane and nonce, could go now.
    #[must_use]
    pub fn new(jobs: &'a [Job<'a>], view: &'a View, here: &'a Deployment, ahead: &Ahead) -> Self {
        let mut order = Order { reached: ahead.executions(), ..Order::default() };
        let courses = jobs.iter().map(|job| Course::new(job, view, here, &mut order)).collect();
        let (sequences, probes) = (Vec::new(), HashMap::new());
        let mut all = Self { view, here, courses, sequences, probes };
        all.lay_out(&ahead.commits());
        all
    }

    /// What is to be rehearsed.
    #[must_use]
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Each pathway is rehearsed apart, so that no receiver plays a part in another's.
    fn lay_out(&mut self, on_their_way: &HashMap<Pathway, BTreeSet<u64>>) {
        let mut runs: HashMap<Pathway, Run> = HashMap::new();
        let none = BTreeSet::new();
        for course in &mut self.courses {
            let Some(parsed) = course.parsed.as_ref().filter(|_| !course.steps.is_empty()) else {
                continue;
            };
            let (pathway, nonce) = (parsed.pathway, parsed.nonce());
            let covered = self.view.inbound_nonce(pathway).unwrap_or(0);
            let run = runs.entry(pathway).or_insert(Run { sequence: None, covered });
            // Commits that are on their way, or in a sequence that is full, are in no state that
            // could be asked: the endpoint is taken to be past them, as it will be.
            let between = run.covered.saturating_add(1)..nonce;
            let ahead = on_their_way.get(&pathway).unwrap_or(&none);
            let is_ahead = !between.is_empty()
                && ahead.range(between.clone()).count() as u64 == between.end - between.start;
            let is_full = run
                .sequence
                .and_then(|at| self.sequences.get(at))
                .is_some_and(|s| s.steps.len() + course.steps.len() > MAX_CALLS);
            if course.goes(DutyKind::Execute) && (is_ahead || (is_full && between.is_empty())) {
                self.probes.insert(self.sequences.len(), nonce - 1);
                run.sequence = Some(self.sequences.len());
                self.sequences.push(past(self.here, pathway, nonce - 1));
                run.covered = nonce - 1;
            }
            if nonce == run.covered.saturating_add(1) && course.goes(DutyKind::Commit) {
                run.covered = nonce;
            }
            let at = *run.sequence.get_or_insert(self.sequences.len());
            if at == self.sequences.len() {
                self.sequences.push(Sequence::default());
            }
            let Some(sequence) = self.sequences.get_mut(at) else { continue };
            let mut first = true;
            for planned in &mut course.steps {
                planned.place = (at, sequence.steps.len());
                sequence.steps.push(Step { call: planned.call.clone(), alone: first });
                first = false;
            }
        }
        for sequence in &mut self.sequences {
            sequence.steps.truncate(MAX_CALLS);
        }
    }

    /// Decides about each message, given how its steps were rehearsed.
    #[must_use]
    pub fn conclude(self, rehearsed: &[Vec<Option<Simulated>>]) -> Vec<MessagePlan> {
        let Self { view, here, courses, sequences, probes } = self;
        let told = |(sequence, step): Place| {
            let asked = sequences.get(sequence).is_some_and(|s| step < s.steps.len());
            let row = rehearsed.get(sequence).map(Vec::as_slice).unwrap_or_default();
            let holds = probes.get(&sequence).is_none_or(|nonce| answers(row.first(), *nonce));
            match row.get(step).cloned().flatten() {
                Some(simulated) if asked && holds => Told::Simulated(simulated),
                None if asked && !probes.contains_key(&sequence) => Told::Nothing,
                _ => Told::NotAsked,
            }
        };
        let mut stopped: HashMap<Pathway, u64> = HashMap::new();
        let mut missing: HashMap<Pathway, u64> = HashMap::new();
        let conclude = |course: Course<'_>| {
            let at = course.steps.first().map(|step| step.place.0);
            let rests_on = at.and_then(|at| probes.get(&at)).copied();
            let parsed = course.parsed.as_ref().map(|parsed| (parsed.pathway, parsed.nonce()));
            // What the endpoint was taken to be past must be going, or be there.
            let gap = parsed.and_then(|(pathway, _)| missing.get(&pathway).copied());
            let gap = gap.filter(|gap| rests_on.is_some_and(|past| *gap <= past));
            let ordered = course.parsed.as_ref().filter(|_| course.in_order);
            let place = ordered.map(|parsed| (parsed.pathway, parsed.nonce()));
            let after = place.and_then(|(pathway, _)| stopped.get(&pathway).copied());
            let commits = course.goes(DutyKind::Commit);
            let (plan, executes) = course.conclude(view, here, (after, gap), told);
            let goes = |d: &Decision| d.step.is_some_and(|step| step.kind == DutyKind::Commit);
            if let Some((pathway, nonce)) = parsed.filter(|_| commits)
                && !plan.decisions.iter().any(goes)
            {
                missing.entry(pathway).or_insert(nonce);
            }
            if let Some((pathway, nonce)) = place.filter(|_| !executes) {
                stopped.entry(pathway).or_insert(nonce);
            }
            plan
        };
        courses.into_iter().map(conclude).collect()
    }
}

/// The start of a rehearsal in which the endpoint is taken to be past `nonce`; its first step asks
/// whether it then says so.
fn past(here: &Deployment, pathway: Pathway, nonce: u64) -> Sequence {
    let slot = Slot {
        contract: here.endpoint,
        key: pathway.lazy_nonce_slot(),
        value: U256::from(nonce).into(),
    };
    let probe = Question::LazyNonce(pathway).call(here.endpoint);
    Sequence { steps: vec![Step { call: probe, alone: false }], slots: vec![slot] }
}

fn answers(told: Option<&Option<Simulated>>, nonce: u64) -> bool {
    let outcome = told.and_then(Option::as_ref).map(|told| &told.outcome);
    let word = outcome.and_then(CallOutcome::returned);
    word.is_some_and(|word| U256::try_from_be_slice(word) == Some(U256::from(nonce)))
}

impl<'a> Course<'a> {
    fn new(job: &'a Job<'a>, view: &View, here: &Deployment, order: &mut Order) -> Self {
        let (decided, steps) = (Vec::new(), Vec::new());
        let mut course = Self { job, parsed: None, in_order: false, decided, steps };
        let parsed = match Parsed::of(job) {
            Ok(parsed) => parsed,
            Err(reason) => {
                let held = |duty| Decision::new(duty, held(reason.clone()));
                course.decided = job.dues().map(held).collect();
                return course;
            }
        };
        for duty in job.dues() {
            if let Some(reason) = job.too_early(duty) {
                course.decide(duty, waiting(reason));
                continue;
            }
            let prepared = match duty.kind {
                DutyKind::Attest => course.attest(duty, &parsed, view, here),
                DutyKind::Commit => course.commit(duty, &parsed, view, here),
                DutyKind::Execute => course.execute(duty, &parsed, view, here, order),
                DutyKind::Compose => course.compose(duty, &parsed, view, here),
                // Work of another protocol.
                DutyKind::Receive | DutyKind::Acknowledge | DutyKind::TimeOut => None,
            };
            match prepared {
                Some(Ok(planned)) => course.steps.push(planned),
                Some(Err(action)) => course.decide(duty, action),
                None => course.decide(duty, no_answer()),
            }
        }
        course.parsed = Some(parsed);
        course
    }

    fn decide(&mut self, duty: &Duty, action: Action) {
        self.decided.push(Decision::new(duty, action));
    }

    fn goes(&self, kind: DutyKind) -> bool {
        self.steps.iter().any(|step| step.duty.kind == kind)
    }

    fn attest(
        &self,
        duty: &'a Duty,
        parsed: &Parsed,
        view: &View,
        here: &Deployment,
    ) -> Option<Result<Planned<'a>, Action>> {
        Some(match attest::decide(self.job, parsed, view, here)? {
            Action::Attest { target, needed } => {
                let call = attest::step(parsed, target.library, here.dvn?, self.job.depth);
                let act = Act::Attest { target, needed };
                Ok(Planned { duty, call, act, place: (0, 0) })
            }
            other => Err(other),
        })
    }

    fn commit(
        &self,
        duty: &'a Duty,
        parsed: &Parsed,
        view: &View,
        here: &Deployment,
    ) -> Option<Result<Planned<'a>, Action>> {
        Some(commit::prepare(self.job, parsed, view, here)?.map(|payload| Planned {
            duty,
            call: as_step(here.executor.unwrap_or(Address::ZERO), &payload),
            act: Act::Commit(payload),
            place: (0, 0),
        }))
    }

    fn execute(
        &mut self,
        duty: &'a Duty,
        parsed: &Parsed,
        view: &View,
        here: &Deployment,
        order: &mut Order,
    ) -> Option<Result<Planned<'a>, Action>> {
        let mut wanted = match execute::wanted(self.job, parsed, here) {
            Ok(wanted) => wanted,
            Err(reason) => return Some(Err(held(reason))),
        };
        if !wanted.is_plain() {
            match self.job.certainty(|fact| matches!(fact, Fact::NativeDropped { .. })) {
                None => {}
                Some(Certainty::Verified) => wanted.without_drops(),
                // Whether they were paid must be certain: neither twice nor not at all.
                Some(_) => {
                    let network = self.job.message.lane.destination.network.clone();
                    return Some(Err(waiting(Reason::AwaitingFinality { network, more: 0 })));
                }
            }
        }
        if let Err(reason) = fits(self.job, &execute::payload(&wanted, here)) {
            return Some(Err(held(reason)));
        }
        let committed = match execute::prepare(self.job, parsed, view)? {
            Ok(committed) => committed,
            Err(action) => return Some(Err(action)),
        };
        if !committed && !self.goes(DutyKind::Commit) && !self.job.is_sent(DutyKind::Commit) {
            return Some(Err(waiting(Reason::AwaitingCommit)));
        }
        if let Some(next) = execute::next_in_order(&wanted, parsed, view)? {
            self.in_order = true;
            let next = order.next.entry(parsed.pathway).or_insert(next);
            // One that others have overtaken is late enough.
            if *next < parsed.nonce() {
                let nonce = MessageNonce(*next);
                return Some(Err(waiting(Reason::LowerNonceNotExecuted { nonce })));
            }
            *next = (*next).max(parsed.nonce().saturating_add(1));
        }
        let lazy = view.lazy_nonce(parsed.pathway)?;
        let reached = order.reached.entry(parsed.pathway).or_insert(lazy);
        let jumped = parsed.nonce().saturating_sub((*reached).max(lazy).saturating_add(1));
        *reached = (*reached).max(parsed.nonce());
        wanted.jump(jumped);
        // Those that are jumped may be executed yet.
        if let Err(reason) = fits(self.job, &execute::payload(&wanted, here)) {
            return Some(Err(Action::TryLater(reason)));
        }
        let call = execute::step(&wanted, here);
        let act = Act::Execute(Box::new(wanted));
        Some(Ok(Planned { duty, call, act, place: (0, 0) }))
    }

    fn compose(
        &self,
        duty: &'a Duty,
        parsed: &Parsed,
        view: &View,
        here: &Deployment,
    ) -> Option<Result<Planned<'a>, Action>> {
        let prepared = compose::prepare(self.job, parsed, duty.part, view, here)?;
        Some(prepared.and_then(|(call, payload)| {
            fits(self.job, &payload).map_err(held)?;
            Ok(Planned { duty, call, act: Act::Compose(payload), place: (0, 0) })
        }))
    }

    /// Goes through the steps in their order: one that does not go keeps back those that build on
    /// it; one of the nonce `after`, which is not executed, or `gap`, which is not committed, keeps
    /// back the execution. Tells whether it is executed.
    fn conclude(
        self,
        view: &View,
        here: &Deployment,
        (after, gap): (Option<u64>, Option<u64>),
        rehearsed: impl Fn(Place) -> Told,
    ) -> (MessagePlan, bool) {
        let Self { job, parsed, mut decided, steps, .. } = self;
        let message = job.message.id();
        let mut executes = false;
        let Some(parsed) = parsed else {
            return (MessagePlan { message, decisions: decided, item: None }, executes);
        };
        let mut item = ItemParts::default();
        let mut stuck: Option<DutyKind> = None;
        for (index, step) in steps.into_iter().enumerate() {
            let kind = step.duty.kind;
            let behind = after
                .map(|nonce| Reason::LowerNonceNotExecuted { nonce: MessageNonce(nonce) })
                .or(gap.map(|nonce| Reason::LowerNonceNotCommitted { nonce: MessageNonce(nonce) }));
            if let Some(reason) = behind.filter(|_| kind == DutyKind::Execute) {
                decided.push(Decision::new(step.duty, waiting(reason)));
                continue;
            }
            let told = match rehearsed(step.place) {
                Told::Simulated(told) if can_follow(kind, stuck) => Some(told),
                Told::Nothing if index == 0 => None,
                _ => {
                    stuck = stuck.or(Some(kind));
                    decided.push(Decision::new(step.duty, keep_back(kind)));
                    continue;
                }
            };
            let gas_used = told.as_ref().map_or(0, |told| told.gas_used);
            let action = match told.map(|told| told.outcome) {
                Some(CallOutcome::Returned(_)) => {
                    item.add(&step, gas_used);
                    go(step.act, here, gas_used)
                }
                Some(CallOutcome::Reverted(data)) => match kind {
                    DutyKind::Attest | DutyKind::Commit => {
                        commit::refused(job, &parsed, view, here, &data).unwrap_or_else(no_answer)
                    }
                    DutyKind::Execute => execute::refused(&data),
                    DutyKind::Compose => compose::refused(&data),
                    DutyKind::Receive | DutyKind::Acknowledge | DutyKind::TimeOut => no_answer(),
                },
                None => no_answer(),
            };
            // A commit that must be attested for once more goes as an attestation.
            let does =
                if matches!(action, Action::Attest { .. }) { DutyKind::Attest } else { kind };
            let goes = matches!(action, Action::Send(_) | Action::Attest { .. });
            if !goes || does != kind {
                stuck = stuck.or(Some(kind));
            }
            executes |= goes && kind == DutyKind::Execute;
            let (pathway, nonce) = (parsed.pathway, parsed.nonce());
            let ahead = goes.then_some(AheadStep { pathway, nonce, kind: does });
            let duty = step.duty.id();
            decided.push(Decision { duty, action, step: ahead, gas: gas_used });
        }
        let fits = |item: &batch::Item| item.transaction_gas() <= job.transaction_gas;
        let item = here.batch.and(item.finish(&parsed)).filter(fits);
        (MessagePlan { message, decisions: decided, item }, executes)
    }
}

/// Whether a step can go where `stuck` does not: composed calls need none of the others.
fn can_follow(kind: DutyKind, stuck: Option<DutyKind>) -> bool {
    kind == DutyKind::Compose || stuck.is_none()
}

fn keep_back(kind: DutyKind) -> Action {
    waiting(match kind {
        DutyKind::Attest | DutyKind::Commit => {
            Reason::AwaitingAttestations { present: 0, needed: 1 }
        }
        DutyKind::Execute => Reason::AwaitingCommit,
        DutyKind::Compose => Reason::AwaitingExecution,
        DutyKind::Receive | DutyKind::Acknowledge | DutyKind::TimeOut => Reason::AwaitingPlan,
    })
}

fn go(act: Act, here: &Deployment, gas_used: u64) -> Action {
    match act {
        Act::Attest { target, needed } => Action::Attest { target, needed },
        Act::Commit(payload) => {
            let gas_limit = with_room(gas_used, payload.gas_limit);
            Action::Send(Payload { gas_limit, ..payload })
        }
        Act::Execute(wanted) => Action::Send(execute::payload(&wanted, here)),
        Act::Compose(payload) => Action::Send(payload),
    }
}

fn waiting(reason: Reason) -> Action {
    Action::Become(DutyState::Waiting(reason))
}

fn held(reason: Reason) -> Action {
    Action::Become(DutyState::Held(reason))
}

/// What of a message can go as an item of a batch.
#[derive(Debug, Default)]
struct ItemParts {
    library: Option<Address>,
    commit_gas: u64,
    receive: Option<(u64, u128, alloy_primitives::Bytes)>,
    expected_gas: u64,
    not_plain: bool,
}

/// What a call used as a transaction of its own, as a part of another: without what a transaction
/// costs before it begins, and before refunds, which are a fifth at most (EIP-3529).
fn within(gas_used: u64, limit: u64) -> u64 {
    if gas_used == 0 { limit } else { gas_used.saturating_sub(21_000) * 5 / 4 }
}

impl ItemParts {
    fn add(&mut self, step: &Planned<'_>, gas_used: u64) {
        match &step.act {
            Act::Commit(payload) => {
                self.library = Some(payload.to);
                self.commit_gas = with_room(gas_used, payload.gas_limit);
                self.expected_gas += within(gas_used, self.commit_gas);
            }
            Act::Execute(wanted) => {
                let Ok(value) = u128::try_from(wanted.value) else { return };
                self.not_plain |= !wanted.is_plain();
                self.expected_gas += within(gas_used, wanted.gas);
                self.receive = Some((wanted.gas, value, wanted.message.clone()));
            }
            Act::Attest { target, .. } => self.library = Some(target.library),
            Act::Compose(_) => {}
        }
    }

    /// Only what is executed makes an item: a commit alone costs no less in a batch.
    fn finish(self, parsed: &Parsed) -> Option<batch::Item> {
        let (receive_gas, value, message) = self.receive.filter(|_| !self.not_plain)?;
        Some(batch::Item {
            library: self.library?,
            header: parsed.header,
            message,
            commit_gas: self.commit_gas,
            receive_gas,
            value,
            expected_gas: self.expected_gas,
        })
    }
}
