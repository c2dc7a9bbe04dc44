//! Whether an application's pathway is set up so that its messages arrive, and only its messages.
//!
//! A pathway has two configurations, one a chain, which nothing keeps in step; most of what is in
//! them may be a default that somebody else can change. [`facts`] holds what was read, [`ask`] the
//! questions, [`finding`] what can be wrong, and [`examine`] finds it. A fact that is missing is
//! itself a finding: nothing is concluded from it.

pub mod ask;
pub mod facts;
pub mod finding;
mod quote;

pub use ask::End;
pub use facts::{
    Defaults, Ends, Execution, Known, Owner, PathwayFacts, Quote, Rate, Side, Verifiers,
};
pub use finding::{CODES, Finding, SAME_OPERATOR, Severity};

use alloy_primitives::Address;
use finding::{
    CONFIGURATIONS_DISAGREE, CONFIRMATIONS_DISAGREE, CONFIRMATIONS_TOO_FEW, DEAD_DVN,
    DEFAULT_CONFIGURATION, DEFAULT_LIBRARY, Kind, LIBRARY_NOT_PINNED, NO_PEER, ONE_OPERATOR,
    ONE_SIDED_PEER, ORDERED_WITHOUT_EXECUTOR, SINGLE_DVN, UNKNOWN_DVN, UNKNOWN_EXECUTOR,
    UNREADABLE, ZERO_ADDRESS,
};
use std::collections::BTreeSet;

/// What is wrong with a pathway, the worst first; of one severity in the order of a message's way.
#[must_use]
pub fn examine(facts: &PathwayFacts) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    found.unreadable(facts);
    found.peers(facts);
    for (side, word) in [(&facts.source, "send"), (&facts.destination, "receive")] {
        found.library(side, word);
        found.workers(side, word);
        found.depth(side, word, facts.source.known.finality_depth);
        found.operators(side);
    }
    found.defaults(facts);
    found.fewest(&facts.destination);
    found.agreement(facts);
    found.executor(facts);
    found.quotes(facts);
    found.0.sort_by_key(|finding| finding.severity);
    found.0
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, severity: Severity, kind: Kind, what: String) {
        let Kind(code, risk, remedy) = kind;
        self.0.push(Finding { severity, code, what, risk, remedy });
    }

    fn danger(&mut self, kind: Kind, what: String) {
        self.add(Severity::Danger, kind, what);
    }

    fn warning(&mut self, kind: Kind, what: String) {
        self.add(Severity::Warning, kind, what);
    }

    fn note(&mut self, kind: Kind, what: String) {
        self.add(Severity::Note, kind, what);
    }

    fn unreadable(&mut self, facts: &PathwayFacts) {
        let mut missing = Vec::new();
        for (side, word) in [(&facts.source, "send"), (&facts.destination, "receive")] {
            let network = &side.known.network;
            let mut need = |is_there: bool, what: &str| {
                if !is_there {
                    missing.push(format!("{what} on {network}"));
                }
            };
            need(side.library.is_some(), &format!("the {word} library"));
            need(
                side.library_is_default.is_some(),
                &format!("whether the {word} library is the default"),
            );
            need(side.verifiers.is_some(), &format!("the {word} configuration"));
            need(
                side.defaults.is_some(),
                &format!("what of the {word} configuration is the default"),
            );
            need(side.peer.is_some(), "the peer");
            for dvn in side.verifiers.iter().flat_map(Verifiers::all).filter(|dvn| !dvn.is_zero()) {
                need(side.code.contains_key(&dvn), &format!("the code of DVN {dvn:#x}"));
                need(side.quotes.contains_key(&dvn), &format!("the fee of DVN {dvn:#x}"));
            }
        }
        let (from, to) = (&facts.source.known.network, &facts.destination.known.network);
        let mut need = |is_there: bool, what: String| {
            if !is_there {
                missing.push(what);
            }
        };
        need(facts.execution.is_some(), format!("the executor on {from}"));
        need(
            facts.execution_is_default.is_some(),
            format!("whether the executor is the default on {from}"),
        );
        if let Some(executor) = facts.execution.map(|e| e.executor).filter(|e| !e.is_zero()) {
            let is_there = facts.source.code.contains_key(&executor);
            need(is_there, format!("the code of executor {executor:#x} on {from}"));
            let is_there = facts.source.quotes.contains_key(&executor);
            need(is_there, format!("the fee of executor {executor:#x} on {from}"));
        }
        need(
            facts.is_open == Some(true) || facts.accepted.is_some(),
            format!("whether the receiver accepts the pathway on {to}"),
        );
        need(facts.next_nonce.is_some(), format!("the order the receiver asks for on {to}"));
        if !missing.is_empty() {
            self.warning(UNREADABLE, format!("could not be read: {}", missing.join(", ")));
        }
    }

    fn peers(&mut self, facts: &PathwayFacts) {
        let (sender, receiver) = (facts.ends.sender, facts.ends.receiver);
        let (from, to) = (&facts.source.known.network, &facts.destination.known.network);
        let sends = facts.source.names(receiver);
        let takes = facts.destination.names(sender);
        match (sends, takes) {
            (Some(false), Some(false)) => self.danger(
                NO_PEER,
                format!("{sender:#x} on {from} and {receiver:#x} on {to} do not name each other"),
            ),
            // What could not be read is said elsewhere; what could is a finding all the same.
            (_, Some(false)) => self.danger(
                ONE_SIDED_PEER,
                format!("{receiver:#x} on {to} does not name its sender {sender:#x} as its peer"),
            ),
            (Some(false), _) => self.danger(
                ONE_SIDED_PEER,
                format!(
                    "{sender:#x} on {from} does not name its receiver {receiver:#x} as its peer"
                ),
            ),
            _ if facts.is_open != Some(true) && facts.accepted == Some(false) => self.danger(
                ONE_SIDED_PEER,
                format!("{receiver:#x} on {to} does not accept the pathway's first message"),
            ),
            _ => {}
        }
    }

    fn library(&mut self, side: &Side, word: &str) {
        let network = &side.known.network;
        if side.library_is_default == Some(true) {
            self.warning(
                DEFAULT_LIBRARY,
                format!("the {word} library on {network} is the default"),
            );
        }
        match side.library {
            Some(library) if library.is_zero() => {
                self.danger(
                    ZERO_ADDRESS,
                    format!("the {word} library on {network} is the zero address"),
                );
            }
            Some(library) if !side.known.libraries.contains(&library) => self.warning(
                LIBRARY_NOT_PINNED,
                format!(
                    "the {word} library on {network} is {library:#x}, which the file does not list"
                ),
            ),
            _ => {}
        }
    }

    fn workers(&mut self, side: &Side, word: &str) {
        let network = &side.known.network;
        let Some(verifiers) = &side.verifiers else { return };
        for dvn in verifiers.all() {
            let named = format!("{word} configuration on {network}");
            if dvn.is_zero() {
                self.danger(ZERO_ADDRESS, format!("the {named} names the zero address as a DVN"));
            } else if side.code.get(&dvn) == Some(&false) {
                let is_required = verifiers.required.contains(&dvn);
                let severity = if is_required { Severity::Danger } else { Severity::Warning };
                self.add(
                    severity,
                    DEAD_DVN,
                    format!("the {named} names the DVN {dvn:#x}, where there is no code"),
                );
            } else if !side.known.dvns.contains_key(&dvn) {
                self.note(
                    UNKNOWN_DVN,
                    format!("the {named} names the DVN {dvn:#x}, which the file does not"),
                );
            }
        }
    }

    fn depth(&mut self, side: &Side, word: &str, finality_depth: Option<u64>) {
        let Some(asked) = side.verifiers.as_ref().map(|v| v.confirmations) else { return };
        let network = &side.known.network;
        if asked == 0 {
            self.danger(
                CONFIRMATIONS_TOO_FEW,
                format!("the {word} configuration on {network} asks for no confirmation at all"),
            );
        } else if let Some(depth) = finality_depth.filter(|depth| asked < *depth) {
            self.warning(
                CONFIRMATIONS_TOO_FEW,
                format!(
                    "the {word} configuration on {network} asks for {asked} confirmations; the file \
                     takes the source for final after {depth}"
                ),
            );
        }
    }

    fn operators(&mut self, side: &Side) {
        let Known { network, operators, quorum, .. } = &side.known;
        if *operators <= 1 || *quorum <= 1 {
            let what =
                format!("{network} is read by a quorum of {quorum} among {operators} operators");
            self.warning(ONE_OPERATOR, what);
        }
    }

    fn defaults(&mut self, facts: &PathwayFacts) {
        let executor = facts.execution_is_default == Some(true);
        let sides = [(&facts.source, "send", executor), (&facts.destination, "receive", false)];
        for (side, word, executor) in sides {
            let defaults = side.defaults.unwrap_or_default();
            let parts: Vec<&str> = [
                (defaults.confirmations, "confirmations"),
                (defaults.required, "required DVNs"),
                (defaults.optional, "optional DVNs"),
                (executor, "executor"),
            ]
            .into_iter()
            .filter_map(|(is_default, part)| is_default.then_some(part))
            .collect();
            if parts.is_empty() {
                continue;
            }
            // Optional DVNs by default can only be added to what the application requires itself.
            let is_weak = defaults.confirmations || defaults.required;
            let severity = if is_weak { Severity::Warning } else { Severity::Note };
            let (parts, network) = (parts.join(", "), &side.known.network);
            let what = format!("the {word} configuration on {network} has by default: {parts}");
            self.add(severity, DEFAULT_CONFIGURATION, what);
        }
    }

    fn fewest(&mut self, receive: &Side) {
        let Some(fewest) = receive.verifiers.as_ref().map(Verifiers::fewest) else { return };
        let network = &receive.known.network;
        match fewest {
            0 => self.danger(SINGLE_DVN, format!("on {network} no DVN need attest a message")),
            1 => self.danger(SINGLE_DVN, format!("on {network} one DVN's word is enough")),
            _ => {}
        }
    }

    fn agreement(&mut self, facts: &PathwayFacts) {
        let (Some(send), Some(receive)) = (&facts.source.verifiers, &facts.destination.verifiers)
        else {
            return;
        };
        let (from, to) = (&facts.source.known.network, &facts.destination.known.network);
        if receive.confirmations > send.confirmations {
            self.danger(
                CONFIRMATIONS_DISAGREE,
                format!(
                    "{to} asks for {} confirmations, and {from} tells its workers {}",
                    receive.confirmations, send.confirmations
                ),
            );
        }
        let matched = Matched::of(facts);
        let [asked, counted, needed] = [
            matched.split(&facts.source.known, send.all()),
            matched.split(&facts.destination.known, receive.all()),
            matched.split(&facts.destination.known, receive.required.iter().copied()),
        ];
        for owner in counted.owners.difference(&asked.owners) {
            let is_needed = needed.owners.contains(owner);
            let severity = if is_needed { Severity::Danger } else { Severity::Warning };
            let what =
                format!("the DVN of {} counts on {to} and is not asked on {from}", owner.name());
            self.add(severity, CONFIGURATIONS_DISAGREE, what);
        }
        for owner in asked.owners.difference(&counted.owners) {
            let what = format!(
                "the DVN of {} is asked on {from} and does not count on {to}",
                owner.name()
            );
            self.warning(CONFIGURATIONS_DISAGREE, what);
        }
        if asked.others != counted.others {
            let is_short = needed.others > asked.others;
            let severity = if is_short { Severity::Danger } else { Severity::Warning };
            let what = format!(
                "{from} asks {} DVNs that cannot be matched, and {to} counts {}, {} of them required",
                asked.others, counted.others, needed.others
            );
            self.add(severity, CONFIGURATIONS_DISAGREE, what);
        }
    }

    fn executor(&mut self, facts: &PathwayFacts) {
        let Some(executor) = facts.execution.map(|e| e.executor) else { return };
        let network = &facts.source.known.network;
        let has_code = facts.source.code.get(&executor).copied();
        let is_absent = executor.is_zero() || has_code == Some(false);
        if executor.is_zero() {
            self.danger(ZERO_ADDRESS, format!("the executor on {network} is the zero address"));
        } else if is_absent {
            let what = format!("at the executor {executor:#x} on {network} there is no code");
            self.warning(UNKNOWN_EXECUTOR, what);
        } else if !facts.source.known.executors.contains_key(&executor) {
            let what =
                format!("the executor on {network} is {executor:#x}, which the file does not name");
            self.note(UNKNOWN_EXECUTOR, what);
        }
        let (to, receiver) = (&facts.destination.known.network, facts.ends.receiver);
        let who = match (facts.next_nonce, facts.enforces_order) {
            (Some(next), _) if next != 0 => format!("{receiver:#x} on {to} asks for order"),
            (_, Some(true)) => format!("{:#x} on {network} asks for order", facts.ends.sender),
            _ => return,
        };
        let is_known = facts.source.known.executors.contains_key(&executor);
        if is_absent {
            let what = format!("{who}, and there is no executor on {network}");
            self.warning(ORDERED_WITHOUT_EXECUTOR, what);
        } else if !is_known {
            let what =
                format!("{who}, and whether the executor {executor:#x} keeps it is not known");
            self.warning(ORDERED_WITHOUT_EXECUTOR, what);
        } else if facts.enforces_order == Some(false) {
            let what = format!("{who}, and its messages carry no option for it unless each asks");
            self.warning(ORDERED_WITHOUT_EXECUTOR, what);
        }
    }
}

/// The owners whose DVNs are known on both networks: only theirs can be told to be the same.
struct Matched(BTreeSet<Owner>);

struct Split {
    owners: BTreeSet<Owner>,
    others: usize,
}

impl Matched {
    fn of(facts: &PathwayFacts) -> Self {
        let owners = |known: &Known| known.dvns.values().copied().collect::<BTreeSet<_>>();
        let (source, destination) = (&facts.source.known, &facts.destination.known);
        Self(&owners(source) & &owners(destination))
    }

    fn split(&self, known: &Known, dvns: impl Iterator<Item = Address>) -> Split {
        let mut split = Split { owners: BTreeSet::new(), others: 0 };
        for dvn in dvns {
            match known.dvns.get(&dvn).filter(|owner| self.0.contains(*owner)) {
                Some(owner) => {
                    split.owners.insert(*owner);
                }
                None => split.others += 1,
            }
        }
        split
    }
}

impl Owner {
    /// How the owner is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "this node's operator",
            Self::LayerZeroLabs => "LayerZero Labs",
        }
    }
}

#[cfg(test)]
mod tests;
