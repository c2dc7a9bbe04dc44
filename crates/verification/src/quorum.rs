//! Agreement of M of N upstreams with distinct operators.
//!
//! One upstream's word is never enough where more are configured, and upstreams of one operator
//! count once: an operator speaks only if all of its upstreams that answer say the same.

use postrider_message::{BlockRef, OperatorName, UpstreamName};
use std::collections::{BTreeMap, BTreeSet};

/// How many operators must agree. Always more than half of those configured, so that two
/// contradicting answers can never both have a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumPolicy {
    threshold: u32,
    configured: u32,
}

/// Why a policy is not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// No upstream at all.
    #[error("no upstream is configured; add at least one")]
    NoUpstreams,
    /// M is zero, more than N, or at most half of N.
    #[error(
        "a quorum of {threshold} among {configured} operators is not safe: it must be more than \
         half and at most all of them (upstreams of one operator count once)"
    )]
    Threshold {
        /// The configured threshold.
        threshold: u32,
        /// The number of distinct operators.
        configured: u32,
    },
}

impl QuorumPolicy {
    /// A policy for upstreams run by `operators`, of which `threshold` must agree.
    ///
    /// # Errors
    /// [`BadPolicy`] unless `operators / 2 < threshold <= operators`, counting each operator once.
    pub fn new<'a>(
        operators: impl IntoIterator<Item = &'a OperatorName>,
        threshold: u32,
    ) -> Result<Self, BadPolicy> {
        let distinct: BTreeSet<_> = operators.into_iter().collect();
        let configured = u32::try_from(distinct.len()).unwrap_or(u32::MAX);
        if configured == 0 {
            return Err(BadPolicy::NoUpstreams);
        }
        if threshold > configured || threshold <= configured / 2 {
            return Err(BadPolicy::Threshold { threshold, configured });
        }
        Ok(Self { threshold, configured })
    }

    /// How many operators must agree (M).
    #[must_use]
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// How many operators there are (N).
    #[must_use]
    pub fn configured(&self) -> u32 {
        self.configured
    }
}

/// What one upstream answered; `None` if it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// Which upstream.
    pub upstream: UpstreamName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Its answer.
    pub value: Option<T>,
}

/// Fewer operators than needed gave one and the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{agreeing} of {configured} operators agree, {needed} are needed")]
pub struct Shortfall {
    /// The most operators that gave one and the same answer.
    pub agreeing: u32,
    /// How many must.
    pub needed: u32,
    /// How many are configured.
    pub configured: u32,
}

/// A value that a quorum gave, and who contradicted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement<T> {
    /// The value.
    pub value: T,
    /// How many operators gave it.
    pub agreeing: u32,
    /// Upstreams that gave another one.
    pub dissenters: Vec<UpstreamName>,
}

/// Finds the value that at least the threshold of distinct operators gave.
///
/// # Errors
/// [`Shortfall`] if there is none.
pub fn agree<T: Clone + Ord>(
    policy: &QuorumPolicy,
    answers: &[Answer<T>],
) -> Result<Agreement<T>, Shortfall> {
    let votes = votes(answers);
    let mut tally: BTreeMap<&T, u32> = BTreeMap::new();
    for value in votes.values().flatten() {
        *tally.entry(value).or_default() += 1;
    }
    let (value, agreeing) =
        tally.into_iter().max_by_key(|(_, count)| *count).map_or((None, 0), |(v, c)| (Some(v), c));
    match value {
        Some(value) if agreeing >= policy.threshold => Ok(Agreement {
            value: value.clone(),
            agreeing,
            dissenters: answers
                .iter()
                .filter(|a| a.value.as_ref().is_some_and(|v| v != value))
                .map(|a| a.upstream.clone())
                .collect(),
        }),
        _ => Err(Shortfall { agreeing, needed: policy.threshold, configured: policy.configured }),
    }
}

/// One vote an operator, and none for an operator whose upstreams contradict each other.
fn votes<T: Ord>(answers: &[Answer<T>]) -> BTreeMap<&OperatorName, Option<&T>> {
    let mut votes: BTreeMap<&OperatorName, Option<&T>> = BTreeMap::new();
    for answer in answers {
        let Some(value) = &answer.value else { continue };
        votes
            .entry(&answer.operator)
            .and_modify(|vote| {
                if *vote != Some(value) {
                    *vote = None;
                }
            })
            .or_insert(Some(value));
    }
    votes
}

/// The M-th highest value that distinct operators report, of a height or another number that only
/// grows as one learns more: at least one honest operator of any quorum has reached it. An operator
/// counts with the lowest among its upstreams.
///
/// # Errors
/// [`Shortfall`] if fewer than M operators answer.
pub fn reached<T: Ord + Copy>(
    policy: &QuorumPolicy,
    answers: &[Answer<T>],
) -> Result<T, Shortfall> {
    let mut lowest: BTreeMap<&OperatorName, T> = BTreeMap::new();
    for answer in answers {
        let Some(value) = answer.value else { continue };
        lowest.entry(&answer.operator).and_modify(|l| *l = (*l).min(value)).or_insert(value);
    }
    let mut values: Vec<_> = lowest.into_values().collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    let nth = usize::try_from(policy.threshold.saturating_sub(1)).unwrap_or(usize::MAX);
    values.get(nth).copied().ok_or(Shortfall {
        agreeing: u32::try_from(values.len()).unwrap_or(u32::MAX),
        needed: policy.threshold,
        configured: policy.configured,
    })
}

/// State that a quorum agreed on at one block hash. Only this crate makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<T> {
    value: T,
    at: BlockRef,
}

impl<T> Reading<T> {
    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The block it was read at.
    pub fn at(&self) -> BlockRef {
        self.at
    }

    /// The value in another form, at the same block.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Reading<U> {
        Reading { value: form(self.value), at: self.at }
    }
}

/// What was read in answer to a list of questions, in their order; `None` where no quorum gives
/// the same answer.
pub type Answered<T> = Reading<Vec<Option<T>>>;

/// Agrees, question by question, on what upstreams read at the block `at`; all of them must have
/// been asked the same `count` questions for that hash. A question that no quorum answers alike is
/// `None`: one that cannot be answered takes nothing from the others (R6).
///
/// # Errors
/// [`Shortfall`] if there are questions and none is answered by a quorum.
pub fn read<T: Clone + Ord>(
    policy: &QuorumPolicy,
    at: BlockRef,
    count: usize,
    answers: &[Answer<Vec<Option<T>>>],
) -> Result<(Answered<T>, Vec<UpstreamName>), Shortfall> {
    let mut value = Vec::with_capacity(count);
    let mut dissenters = BTreeSet::new();
    let mut short = None;
    for index in 0..count {
        let column: Vec<Answer<T>> = answers
            .iter()
            .map(|a| Answer {
                upstream: a.upstream.clone(),
                operator: a.operator.clone(),
                value: a.value.as_ref().and_then(|row| row.get(index).cloned().flatten()),
            })
            .collect();
        match agree(policy, &column) {
            Ok(agreement) => {
                dissenters.extend(agreement.dissenters);
                value.push(Some(agreement.value));
            }
            Err(shortfall) => {
                short = Some(shortfall);
                value.push(None);
            }
        }
    }
    match short {
        Some(shortfall) if value.iter().all(Option::is_none) => Err(shortfall),
        _ => Ok((Reading { value, at }, dissenters.into_iter().collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_message::Height;
    use proptest::prelude::*;

    fn operators(names: &[&str]) -> Vec<OperatorName> {
        names.iter().map(|n| n.parse().unwrap()).collect()
    }

    fn answers<T: Copy>(list: &[(&str, Option<T>)]) -> Vec<Answer<T>> {
        list.iter()
            .enumerate()
            .map(|(i, (operator, value))| Answer {
                upstream: format!("u{i}").parse().unwrap(),
                operator: operator.parse().unwrap(),
                value: *value,
            })
            .collect()
    }

    /// Class (m): quorum with duplicate or same-operator members, zero threshold.
    #[test]
    fn r2_m_a_policy_is_a_majority_of_distinct_operators() {
        let cases = [
            (vec!["a", "b", "c"], 2, true),
            (vec!["a", "b", "c"], 3, true),
            (vec!["a", "b", "c"], 1, false),
            (vec!["a", "b", "c"], 0, false),
            (vec!["a", "b", "c"], 4, false),
            (vec!["a", "b"], 1, false),
            (vec!["a", "a", "a"], 2, false),
            (vec!["a", "a", "b"], 2, true),
            (vec!["a"], 1, true),
            (vec!["a"], 0, false),
        ];
        for (names, threshold, good) in cases {
            let policy = QuorumPolicy::new(&operators(&names), threshold);
            assert_eq!(policy.is_ok(), good, "{names:?} {threshold}");
        }
        assert_eq!(QuorumPolicy::new(&[], 1), Err(BadPolicy::NoUpstreams));
    }

    /// Class (h): one upstream lies, the majority lies, all but liars are down.
    #[test]
    fn r2_h_a_quorum_never_shrinks() {
        let policy = QuorumPolicy::new(&operators(&["a", "b", "c"]), 2).unwrap();
        let one_lies = answers(&[("a", Some(1)), ("b", Some(1)), ("c", Some(9))]);
        let agreed = agree(&policy, &one_lies).unwrap();
        assert_eq!((agreed.value, agreed.agreeing, agreed.dissenters.len()), (1, 2, 1));

        let short = |list: &[(&str, Option<i32>)]| agree(&policy, &answers(list)).unwrap_err();
        let all_but_liars_down = short(&[("a", None), ("b", None), ("c", Some(9))]);
        assert_eq!(all_but_liars_down, Shortfall { agreeing: 1, needed: 2, configured: 3 });
        assert_eq!(short(&[("a", Some(1)), ("b", Some(2)), ("c", None)]).agreeing, 1);
        assert_eq!(short(&[]).agreeing, 0);
    }

    #[test]
    fn r2_m_upstreams_of_one_operator_count_once_and_must_agree_among_themselves() {
        let policy = QuorumPolicy::new(&operators(&["a", "b", "c"]), 2).unwrap();
        assert!(agree(&policy, &answers(&[("a", Some(1)), ("a", Some(1))])).is_err());
        let split = [("a", Some(1)), ("a", Some(2)), ("b", Some(1))];
        assert!(agree(&policy, &answers(&split)).is_err());
    }

    /// Class (i): a stale or a boastful upstream does not move the height.
    #[test]
    fn i_the_height_reached_is_the_mth_highest() {
        let policy = QuorumPolicy::new(&operators(&["a", "b", "c"]), 2).unwrap();
        let h = |list: &[(&str, u64)]| {
            let list: Vec<_> = list.iter().map(|(o, h)| (*o, Some(Height(*h)))).collect();
            reached(&policy, &answers(&list)).map(|h| h.0)
        };
        assert_eq!(h(&[("a", 10), ("b", 11), ("c", 9)]), Ok(10));
        assert_eq!(h(&[("a", 10), ("b", 1_000_000), ("c", 9)]), Ok(10));
        assert_eq!(h(&[("a", 10), ("b", 10), ("c", 0)]), Ok(10));
        assert_eq!(h(&[("a", 10), ("a", 99), ("b", 8)]), Ok(8));
        assert!(h(&[("a", 10), ("a", 99)]).is_err());
    }

    /// R6: one question without an answer takes nothing from the others.
    #[test]
    fn r6_questions_are_agreed_on_one_by_one() {
        let policy = QuorumPolicy::new(&operators(&["a", "b", "c"]), 2).unwrap();
        let at =
            BlockRef { height: Height(1), hash: postrider_message::BlockHash(Default::default()) };
        let rows = [
            ("a", Some(vec![Some(1), Some(2), None])),
            ("b", Some(vec![Some(1), Some(9), None])),
            ("c", Some(vec![Some(7), None])),
        ];
        let answers: Vec<_> = rows
            .into_iter()
            .map(|(name, value)| Answer {
                upstream: name.parse().unwrap(),
                operator: name.parse().unwrap(),
                value,
            })
            .collect();
        let (reading, dissenters) = read(&policy, at, 3, &answers).unwrap();
        assert_eq!(reading.value(), &[Some(1), None, None]);
        assert_eq!(dissenters, ["c".parse().unwrap()]);
        assert!(read(&policy, at, 1, &answers[..1]).is_err());
        assert!(read(&policy, at, 0, &answers).is_ok());
    }

    proptest! {
        /// With 2M > N, no set of answers can give two different values a quorum; so whatever the
        /// order of the answers, the agreed value is the same.
        #[test]
        fn r2_agreement_does_not_depend_on_order(
            votes in prop::collection::vec((0u8..5, prop::option::of(0u8..3)), 0..10),
            threshold in 1u32..6,
        ) {
            let names: Vec<String> = votes.iter().map(|(o, _)| format!("op{o}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let Ok(policy) = QuorumPolicy::new(&operators(&names), threshold) else {
                return Ok(());
            };
            let list: Vec<_> = names.iter().copied().zip(votes.iter().map(|(_, v)| *v)).collect();
            let mut reversed = list.clone();
            reversed.reverse();
            let forward = agree(&policy, &answers(&list)).map(|a| a.value);
            let backward = agree(&policy, &answers(&reversed)).map(|a| a.value);
            prop_assert_eq!(forward, backward);
        }
    }
}
