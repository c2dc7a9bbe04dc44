//! Whether the token contracts on a network are what the file takes them for, and know each other.

use super::Findings;
use alloy_primitives::Address;
use postrider_layerzero::{Deployment, Deployments, Question, Token, View};
use postrider_message::{NetworkName, SharedDecimals};
use std::collections::BTreeSet;

/// The layout of messages that this node reads amounts from.
const LAYOUT: u64 = 1;

/// What must be known of the token contracts of `here`.
pub(super) fn questions(here: &Deployment, all: &Deployments) -> Vec<Question> {
    let mut questions = Vec::new();
    for token in &here.tokens {
        let at = token.contract;
        questions.extend([
            Question::SharedDecimals(at),
            Question::ConversionRate(at),
            Question::OftVersion(at),
        ]);
        let others = all.iter().filter(|(_, other)| other.eid != here.eid);
        questions.extend(others.map(|(_, other)| Question::Peer(at, other.eid)));
    }
    questions
}

/// Compares the answers with the file.
pub(super) fn judge(
    name: &NetworkName,
    here: &Deployment,
    all: &Deployments,
    view: &View,
    is_there: &BTreeSet<Address>,
    findings: &mut Findings,
) {
    for token in here.tokens.iter().filter(|token| is_there.contains(&token.contract)) {
        let place = format!("layerzero.{name}.tokens.{:#x}", token.contract);
        judge_layout(&place, token, view, findings);
        judge_decimals(&place, token, view, findings);
        for (other, there) in all.iter().filter(|(_, other)| other.eid != here.eid) {
            judge_peer(&place, token, (other, there), view, findings);
        }
    }
}

fn judge_layout(place: &str, token: &Token, view: &View, findings: &mut Findings) {
    let what = match view.oft_version(token.contract) {
        Some(LAYOUT) => return,
        Some(version) => format!("its messages have layout {version}, not {LAYOUT}"),
        None => format!("{:#x} does not answer as an OFT", token.contract),
    };
    findings.error(
        place,
        what,
        "what its messages carry is not read, and its supply is not watched",
        "give the address of the OFT or its adapter, not that of the token behind it",
    );
}

fn judge_decimals(place: &str, token: &Token, view: &View, findings: &mut Findings) {
    let risk = "amounts would be compared in different units: false alarms, or none";
    let SharedDecimals(shared) = token.shared_decimals;
    let said = |what: Option<String>| what.unwrap_or_else(|| "nothing usable".to_owned());
    let found = view.shared_decimals(token.contract);
    if found != Some(shared) {
        let found = said(found.map(|n| n.to_string()));
        let what = format!("for its shared decimals the contract says {found}, the file {shared}");
        findings.error(place, what, risk, "set `shared_decimals` to what the contract says");
    }
    let found = view.conversion_rate(token.contract);
    if found != Some(token.rate) {
        let found = said(found.map(|n| n.to_string()));
        let what = format!(
            "for the local units in a shared one the contract says {found}, by the file it is {}",
            token.rate
        );
        let remedy = "set `local_decimals` to the decimals of the token on this network";
        findings.error(place, what, risk, remedy);
    }
}

fn judge_peer(
    place: &str,
    token: &Token,
    (name, there): (&NetworkName, &Deployment),
    view: &View,
    findings: &mut Findings,
) {
    let peer = view.peer(token.contract, there.eid).filter(|peer| !peer.0.is_zero());
    let Some(peer) = peer else { return };
    match peer.as_evm_address().and_then(|peer| there.token(peer)) {
        None => findings.warning(
            place,
            format!("it takes tokens from {:#x} on {name}, which the file does not name", peer.0),
            "whatever arrives from there raises the alarm `supply_breached`",
            &format!(
                "if that contract is the token's, name it in `tokens` of [layerzero.{name}]; if \
                 not, tell the token's owner at once"
            ),
        ),
        Some(other) if other.shared_decimals != token.shared_decimals => findings.error(
            place,
            format!(
                "it has {} shared decimals, and its peer on {name} has {}",
                token.shared_decimals.0, other.shared_decimals.0
            ),
            "what is debited on one side is another amount on the other",
            "see which of both the file has wrong; if neither, tell the token's owner at once",
        ),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests;
