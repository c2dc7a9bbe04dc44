//! Reads the configurations of LayerZero pathways on both chains, through the quorum.
//!
//! Each network is asked for all of its sides together, at one block: a few rounds of calls,
//! however many pathways there are. What cannot be read stays unread, and is a finding of its own.

use crate::{check, config::Config, context::Network};
use alloy_primitives::Address;
use futures::future::join_all;
use postrider_evm::{CallOutcome, Code, EthCall, Finality, Sequence, Step, Upstream, Upstreams};
use postrider_layerzero::{
    pathway::{End, Ends, Finding, Known, PathwayFacts, SAME_OPERATOR, Severity, examine},
    wire::Eid,
};
use postrider_message::{Lane, NetworkName};
use postrider_verification::{Answer, Shortfall, evm::AnchoredBlock, quorum::agree};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The most pathways that are examined at once.
pub const MAX_PATHWAYS: usize = 100;
/// The longest that one network's sides may take; what is not read until then stays unread.
const NETWORK_TIME: Duration = Duration::from_secs(60);
/// The most calls in one reading.
const MAX_CALLS: usize = 200;

/// A pathway and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// What was read.
    pub facts: PathwayFacts,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// Pathways, and how many were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Those that were examined.
    pub pathways: Vec<Inspected>,
    /// How many were not: more than [`MAX_PATHWAYS`], or not between configured EVM networks.
    pub left_out: u64,
}

/// Why a pathway cannot be examined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("LayerZero on {0} is not configured; the file needs [networks.{0}] and [layerzero.{0}]")]
pub struct NotConfigured(pub NetworkName);

impl Inspection {
    /// The dangers and warnings as `check` shows them, each under its lane.
    ///
    /// An application's settings are its own, and anyone may send on a lane that is set up badly: no
    /// finding here may make `check` fail, so each counts one step less. How many operators tell us
    /// is found there already, for each network.
    #[must_use]
    pub fn as_checked(&self) -> Vec<check::Finding> {
        self.pathways.iter().flat_map(Inspected::as_checked).collect()
    }
}

impl Inspected {
    /// How the pathway is shown: as its lane.
    #[must_use]
    pub fn name(&self) -> String {
        let Ends { src_eid, sender, dst_eid, receiver } = &self.facts.ends;
        let (from, to) = (&self.facts.source.known.network, &self.facts.destination.known.network);
        format!("layerzero: {from} {src_eid}/{sender:#x} -> {to} {dst_eid}/{receiver:#x}")
    }

    fn as_checked(&self) -> Vec<check::Finding> {
        let one = |finding: &Finding| {
            let severity = match finding.severity {
                _ if finding.code == SAME_OPERATOR => return None,
                Severity::Danger => check::Severity::Warning,
                Severity::Warning => check::Severity::Note,
                Severity::Note => return None,
            };
            Some(check::Finding {
                severity,
                place: self.name(),
                what: format!("{} ({})", finding.what, finding.code),
                risk: finding.risk.to_owned(),
                remedy: finding.remedy.to_owned(),
            })
        };
        self.findings.iter().filter_map(one).collect()
    }
}

/// The pathway between two applications on configured networks.
///
/// # Errors
/// [`NotConfigured`] if the file does not tell of LayerZero on one of them.
pub fn ends(
    config: &Config,
    (from, sender): (&NetworkName, Address),
    (to, receiver): (&NetworkName, Address),
) -> Result<Ends, NotConfigured> {
    let eid = |network: &NetworkName| {
        let deployment = config.deployments.on(network).map(|here| here.eid);
        deployment.ok_or_else(|| NotConfigured(network.clone()))
    };
    Ok(Ends { src_eid: eid(from)?, sender, dst_eid: eid(to)?, receiver })
}

/// Examines the pathways of `lanes`, at most [`MAX_PATHWAYS`] of them; `more` lanes there are besides.
pub async fn inspect_lanes(config: &Config, lanes: &[Lane], more: u64) -> Inspection {
    let all: Vec<Ends> = lanes.iter().filter_map(Ends::of).take(MAX_PATHWAYS).collect();
    let pathways = inspect(config, &all).await;
    let left_out = lanes.len().saturating_sub(pathways.len());
    let left_out = u64::try_from(left_out).unwrap_or(u64::MAX).saturating_add(more);
    Inspection { pathways, left_out }
}

/// Examines pathways, in their order; those that are not between configured networks are left out.
pub async fn inspect(config: &Config, pathways: &[Ends]) -> Vec<Inspected> {
    let mut all: Vec<PathwayFacts> =
        pathways.iter().filter_map(|ends| unread(config, *ends)).collect();
    let mut sides: BTreeMap<NetworkName, Vec<Reading>> = BTreeMap::new();
    for (place, facts) in all.iter().enumerate() {
        for (end, side) in End::BOTH.into_iter().zip([&facts.source, &facts.destination]) {
            let reading = Reading { place, end, facts: facts.clone() };
            sides.entry(side.known.network.clone()).or_default().push(reading);
        }
    }
    let asked = sides.into_iter().map(|(network, sides)| of_network(config, network, sides));
    for Reading { place, end, facts } in join_all(asked).await.into_iter().flatten() {
        if let Some(into) = all.get_mut(place) {
            end.take_over(into, facts);
        }
    }
    all.into_iter().map(|facts| Inspected { findings: examine(&facts), facts }).collect()
}

/// What the file says of a pathway's networks, with nothing read yet.
fn unread(config: &Config, ends: Ends) -> Option<PathwayFacts> {
    let known = |end: End, eid: Eid| {
        let network = config.deployments.network_of(eid)?;
        let (here, settings) = (config.deployments.on(network)?, config.networks.get(network)?);
        let libraries = match end {
            End::Source => &here.send_libraries,
            End::Destination => &here.receive_libraries,
        };
        let finality_depth = match settings.finality {
            Finality::Confirmations(depth) => Some(depth),
            Finality::Safe | Finality::Finalized => None,
        };
        let (operators, quorum) = (settings.policy.configured(), settings.policy.threshold());
        let known = Known::new(network, here, libraries);
        Some(Known { finality_depth, operators, quorum, ..known })
    };
    let source = known(End::Source, ends.src_eid)?;
    Some(PathwayFacts::unread(ends, source, known(End::Destination, ends.dst_eid)?))
}

/// One side of one pathway while it is read.
struct Reading {
    place: usize,
    end: End,
    facts: PathwayFacts,
}

/// Reads the sides on one network, each network for itself: one that is down leaves the others be.
async fn of_network(config: &Config, name: NetworkName, mut sides: Vec<Reading>) -> Vec<Reading> {
    let (Some(settings), Some(here)) = (config.networks.get(&name), config.deployments.on(&name))
    else {
        return sides;
    };
    let network = match Network::new(name.clone(), settings.clone()) {
        Ok(network) => network,
        Err(error) => {
            tracing::warn!(network = %name, %error, "pathways are not read");
            return sides;
        }
    };
    let read = read(&network.upstreams, here.endpoint, &mut sides);
    match tokio::time::timeout(NETWORK_TIME, read).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(network = %name, %error, "pathways are not read whole"),
        Err(_) => tracing::warn!(network = %name, "pathways are not read in time"),
    }
    sides
}

async fn read(
    upstreams: &Upstreams,
    endpoint: Address,
    sides: &mut [Reading],
) -> Result<(), Shortfall> {
    let at = upstreams.anchor_latest().await?;
    let heads = upstreams.heads().await?;
    let depth = heads.final_height.map(|height| heads.head.0.saturating_sub(height.0));
    for side in &mut *sides {
        side.end.take_chain(&mut side.facts, depth, at.header().base_fee_per_gas);
    }
    let calls = sides.iter().map(|s| s.end.ask_endpoint(&s.facts.ends, endpoint)).collect();
    let answers = known(upstreams, &at, calls).await;
    for (side, answers) in sides.iter_mut().zip(&answers) {
        side.end.take_endpoint(&mut side.facts, answers);
    }
    let calls = sides.iter().map(|s| s.end.ask_library(&s.facts)).collect();
    let answers = known(upstreams, &at, calls).await;
    for (side, answers) in sides.iter_mut().zip(&answers) {
        side.end.take_library(&mut side.facts, answers);
    }
    let workers = sides.iter().flat_map(|s| s.end.workers(&s.facts));
    let has_code = codes(upstreams, workers.collect()).await;
    for side in &mut *sides {
        for worker in side.end.workers(&side.facts) {
            if let Some(has_code) = has_code.get(&worker) {
                side.end.take_code(&mut side.facts, worker, *has_code);
            }
        }
    }
    // What follows is strangers' code, which may take its time.
    let calls = sides.iter().map(|s| s.end.ask_quotes(&s.facts)).collect();
    let answers = of_strangers(upstreams, &at, calls).await;
    for (side, answers) in sides.iter_mut().zip(&answers) {
        side.end.take_quotes(&mut side.facts, answers);
    }
    let calls = sides.iter().map(|s| s.end.ask_rates(&s.facts)).collect();
    let answers = of_strangers(upstreams, &at, calls).await;
    for (side, answers) in sides.iter_mut().zip(&answers) {
        side.end.take_rates(&mut side.facts, answers);
    }
    let calls = sides.iter().map(|s| s.end.ask_application(&s.facts.ends)).collect();
    let answers = of_strangers(upstreams, &at, calls).await;
    for (side, answers) in sides.iter_mut().zip(&answers) {
        side.end.take_application(&mut side.facts, answers);
    }
    Ok(())
}

type Answers = Vec<Option<CallOutcome>>;

/// The answers of LayerZero's own contracts, as they were asked together.
async fn known(
    upstreams: &Upstreams,
    at: &AnchoredBlock,
    groups: Vec<Vec<EthCall>>,
) -> Vec<Answers> {
    let calls: Vec<EthCall> = groups.iter().flatten().cloned().collect();
    let mut answers = Vec::with_capacity(calls.len());
    for part in calls.chunks(MAX_CALLS) {
        match upstreams.read(at, part).await {
            Ok(reading) => answers.extend(reading.value().iter().cloned()),
            Err(_) => answers.extend(vec![None; part.len()]),
        }
    }
    let mut answers = answers.into_iter();
    groups.iter().map(|group| answers.by_ref().take(group.len()).collect()).collect()
}

/// The answers of applications. Where no quorum tells of all of them at once, which one of them
/// alone can bring about, they are asked in halves: what cannot be told at all takes nothing from
/// the others (R6), and no upstream is blamed for it.
async fn of_strangers(
    upstreams: &Upstreams,
    at: &AnchoredBlock,
    groups: Vec<Vec<EthCall>>,
) -> Vec<Answers> {
    let one = |call: EthCall| Step { call, alone: true };
    let lengths: Vec<usize> = groups.iter().map(Vec::len).collect();
    let all: Vec<Sequence> =
        groups.into_iter().flatten().map(|call| Sequence::new(vec![one(call)])).collect();
    let mut answers: Answers = Vec::with_capacity(all.len());
    let mut portions: Vec<&[Sequence]> = all.chunks(MAX_CALLS).rev().collect();
    while let Some(portion) = portions.pop() {
        match upstreams.rehearse(at, portion, Code::Strangers).await {
            Ok(reading) => {
                let told = reading.value().iter();
                answers.extend(told.map(|s| s.first().cloned().flatten().map(|t| t.outcome)));
            }
            Err(_) if portion.len() > 1 => {
                let (first, second) = portion.split_at(portion.len() / 2);
                portions.extend([second, first]);
            }
            Err(_) => answers.extend(vec![None; portion.len()]),
        }
    }
    let mut answers = answers.into_iter();
    lengths.into_iter().map(|length| answers.by_ref().take(length).collect()).collect()
}

/// Which addresses hold code in the newest state; one of which no quorum tells the same is left out.
async fn codes(upstreams: &Upstreams, addresses: BTreeSet<Address>) -> BTreeMap<Address, bool> {
    let addresses: Vec<Address> = addresses.into_iter().collect();
    let usable = upstreams.all().iter().filter(|u| u.is_usable());
    let addresses = &addresses;
    let asked = usable.map(|upstream| async move {
        let mut told = Vec::with_capacity(addresses.len());
        for part in addresses.chunks(MAX_CALLS) {
            match upstream.codes(part).await {
                Ok(codes) if codes.len() == part.len() => {
                    told.extend(codes.iter().map(|code| Some(!code.is_empty())));
                }
                _ => told.extend(vec![None; part.len()]),
            }
        }
        (upstream, told)
    });
    let told = join_all(asked).await;
    let one = |(place, address): (usize, &Address)| {
        let answer = |(upstream, told): &(&Arc<Upstream>, Vec<Option<bool>>)| Answer {
            upstream: upstream.name().clone(),
            operator: upstream.operator().clone(),
            value: told.get(place).copied().flatten(),
        };
        let answers: Vec<Answer<bool>> = told.iter().map(answer).collect();
        Some((*address, agree(upstreams.policy(), &answers).ok()?.value))
    };
    addresses.iter().enumerate().filter_map(one).collect()
}
