//! Values of a chain's state, proven.

use super::{LightClient, LightError};
use crate::{
    query::{AbciQuery, Answer},
    upstream::Upstream,
    upstreams::Need,
};
use postrider_jsonrpc::UpstreamError;
use postrider_message::Detail;
use postrider_verification::{
    Verdict, Verified,
    tendermint::{
        CosmosAnchor, StateAbsent, StateHeight, StateKey, StateProof, StateRefutation, StateValue,
        prove_absent, prove_value,
    },
    verdict::Refutation,
};

/// What is so of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateFact {
    /// It has this value.
    Value(Verified<StateValue>),
    /// It has none.
    Absent(Verified<StateAbsent>),
}

impl StateFact {
    /// The value; `None` for a key that has none.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Value(found) => Some(&found.value().value),
            Self::Absent(_) => None,
        }
    }
}

/// What is so of a key, and the proof of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// What is so.
    pub fact: StateFact,
    /// The proof, as messages to other chains carry it.
    pub proof: StateProof,
}

/// Why an upstream's answer is of no use.
enum Objection {
    /// It could not tell.
    Unanswered(UpstreamError),
    /// It told what is not so.
    Lie(Detail),
}

impl LightClient {
    /// The values of `keys`, in their order, or the proof that there is none, in the state that
    /// `anchor` names: the one after the block before it. An upstream whose proof does not hold is
    /// quarantined, and another asked.
    ///
    /// # Errors
    /// [`LightError::Upstream`] or [`LightError::BadProof`], of the last upstream that was asked.
    pub async fn prove(
        &self,
        anchor: &CosmosAnchor,
        keys: &[StateKey],
    ) -> Result<Vec<Proven>, LightError> {
        let state = anchor.state().block();
        let queries: Vec<AbciQuery> = keys
            .iter()
            .map(|key| AbciQuery::proven(key.store().as_str(), key.path().to_vec(), state))
            .collect();
        tracing::debug!(network = %self.upstreams().network(), height = %state, keys = keys.len(), "proving");
        let mut last = LightError::nobody();
        for upstream in self.upstreams().order(Need::Height(state)) {
            match proven_by(upstream, anchor, keys, &queries).await {
                Ok(proven) => return Ok(proven),
                Err(Objection::Unanswered(error)) => last = error.into(),
                Err(Objection::Lie(why)) => {
                    let told = format!("a proof that does not hold: {why}");
                    self.upstreams().quarantine(upstream.name(), &told);
                    last = LightError::BadProof { upstream: upstream.name().clone(), why };
                }
            }
        }
        Err(last)
    }
}

/// Keys that are asked for at once while a proof may serve others.
const PROBES: usize = 10;

impl LightClient {
    /// What is so of `keys`, in their order, most of which should have no value: a proof that there is
    /// nothing between two neighbours serves for all keys that lie there, so that few are fetched.
    ///
    /// # Errors
    /// As [`LightClient::prove`].
    pub async fn prove_absences(
        &self,
        anchor: &CosmosAnchor,
        keys: &[StateKey],
    ) -> Result<Vec<StateFact>, LightError> {
        let mut facts: Vec<Option<StateFact>> = vec![None; keys.len()];
        let mut ask = 1;
        loop {
            let open: Vec<usize> = (0..keys.len()).filter(|i| is_open(&facts, *i)).collect();
            if open.is_empty() {
                break;
            }
            let step = open.len().div_ceil(ask).max(1);
            let asked: Vec<usize> = open.iter().copied().step_by(step).collect();
            let wanted: Vec<StateKey> =
                asked.iter().filter_map(|i| keys.get(*i)).cloned().collect();
            for (index, proven) in asked.iter().zip(self.prove(anchor, &wanted).await?) {
                let others = open.iter().copied().filter(|other| other != index);
                share(anchor, keys, &mut facts, &proven.proof, others);
                if let Some(fact) = facts.get_mut(*index) {
                    *fact = Some(proven.fact);
                }
            }
            let left = facts.iter().filter(|fact| fact.is_none()).count();
            // Where proofs do not serve for others, asking for all at once is quicker.
            let served = open.len().saturating_sub(left) >= 3 * asked.len();
            ask = if ask == 1 || served { PROBES } else { keys.len() };
        }
        Ok(facts.into_iter().flatten().collect())
    }
}

fn is_open(facts: &[Option<StateFact>], index: usize) -> bool {
    facts.get(index).is_some_and(Option::is_none)
}

/// Notes the absence of those of `others` for which `proof` serves.
fn share(
    anchor: &CosmosAnchor,
    keys: &[StateKey],
    facts: &mut [Option<StateFact>],
    proof: &StateProof,
    others: impl Iterator<Item = usize>,
) {
    for index in others {
        let (Some(key), Some(fact @ None)) = (keys.get(index), facts.get_mut(index)) else {
            continue;
        };
        if let Some(proof) = proof.between_same_neighbours(key)
            && let Verdict::Accepted(absent) = prove_absent(anchor, key, &proof)
        {
            *fact = Some(StateFact::Absent(absent));
        }
    }
}

async fn proven_by(
    upstream: &Upstream,
    anchor: &CosmosAnchor,
    keys: &[StateKey],
    queries: &[AbciQuery],
) -> Result<Vec<Proven>, Objection> {
    let answers = upstream.queries(queries).await.map_err(Objection::Unanswered)?;
    answers.into_iter().zip(keys).map(|(answer, key)| judge(anchor, key, answer)).collect()
}

fn judge(anchor: &CosmosAnchor, key: &StateKey, answer: Answer) -> Result<Proven, Objection> {
    let answer = answer.accepted().map_err(Objection::Unanswered)?;
    let unanswered = |what: &str| Objection::Unanswered(UpstreamError::Garbage(what.into()));
    let state = StateHeight::after(answer.height).ok_or(unanswered("a proof without a height"))?;
    let proof = answer.proof.ok_or(unanswered("a value without a proof"))?;
    let proof = StateProof::from_ops(state, &proof.ops)
        .map_err(|bad| Objection::Lie(bad.to_string().into()))?;
    let fact = if answer.value.is_empty() {
        accepted(prove_absent(anchor, key, &proof)).map(StateFact::Absent)
    } else {
        accepted(prove_value(anchor, key, &answer.value, &proof)).map(StateFact::Value)
    };
    Ok(Proven { fact: fact?, proof })
}

fn accepted<T>(verdict: Verdict<T>) -> Result<Verified<T>, Objection> {
    match verdict {
        Verdict::Accepted(verified) => Ok(verified),
        // A node that answers of another height than it was asked for does not lie.
        Verdict::Refuted(other @ Refutation::State(StateRefutation::OtherState { .. })) => {
            Err(Objection::Unanswered(UpstreamError::Garbage(other.to_string().into())))
        }
        Verdict::Refuted(refutation) => Err(Objection::Lie(refutation.to_string().into())),
        Verdict::Undecided(doubt) => {
            Err(Objection::Unanswered(UpstreamError::Garbage(doubt.to_string().into())))
        }
    }
}
