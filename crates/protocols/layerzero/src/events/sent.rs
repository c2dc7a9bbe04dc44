//! Packets a transaction sent, each with the fees that its send library collected for it.

use super::{EventError, EventProblem, MAX_DVNS, RawLog, bounded, event_name, same_count};
use crate::{
    contracts::{EndpointV2, SendUln302},
    wire::{Packet, options::MAX_OPTIONS_SIZE},
};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolEvent;

/// A packet as its source endpoint sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPacket {
    /// The packet.
    pub packet: Packet,
    /// What its sender asked of the workers, see [`crate::wire::Options::decode`]. Kept as bytes,
    /// because a DVN need not understand what an executor is asked.
    pub options: Bytes,
    /// The library that sent it. The fees below are its word, so it must be one the caller knows.
    pub send_library: Address,
    /// Who is paid to execute it; `None` where the library named nobody.
    pub executor_fee: Option<ExecutorFee>,
    /// Who is paid to attest it; empty where the library named nobody.
    pub dvn_fees: DvnFees,
    /// The position of its `PacketSent` in the block.
    pub log_index: u64,
}

/// The executor's assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorFee {
    /// The executor contract on the source chain.
    pub executor: Address,
    /// In the source chain's smallest native unit; may be zero.
    pub fee: U256,
}

/// The DVNs' assignments. Addresses are those of contracts on the source chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DvnFees {
    /// All of these must attest.
    pub required: Vec<Address>,
    /// A threshold of these must attest.
    pub optional: Vec<Address>,
    /// One for each required and then each optional DVN, in the source chain's smallest native
    /// unit; may be zero.
    pub fees: Vec<U256>,
}

impl DvnFees {
    /// What `dvn` is paid; `None` where it was given no job. One DVN may be in both lists.
    #[must_use]
    pub fn fee_of(&self, dvn: Address) -> Option<U256> {
        let dvns = self.required.iter().chain(&self.optional);
        dvns.zip(&self.fees)
            .filter_map(|(listed, fee)| (*listed == dvn).then_some(*fee))
            .reduce(U256::saturating_add)
    }
}

/// The packets that `endpoint` sent in one transaction, in order. `logs` are all logs of its
/// receipt, in order.
///
/// A send emits the library's fee logs and then `PacketSent`, and the endpoint does not re-enter,
/// so the fee logs after the previous `PacketSent` are this one's. Only those of the library that
/// the endpoint names count: anyone can emit the same shape from elsewhere.
///
/// # Errors
/// An [`EventError`] in the place of each packet whose logs are malformed; the others stand.
#[must_use]
pub fn sent_packets(endpoint: Address, logs: &[RawLog]) -> Vec<Result<SentPacket, EventError>> {
    let mut rest = logs;
    let mut sent = Vec::new();
    let is_sent = |log: &RawLog| log.address == endpoint && log.is::<EndpointV2::PacketSent>();
    while let Some(position) = rest.iter().position(is_sent) {
        let (before, from) = rest.split_at(position);
        let Some((log, after)) = from.split_first() else {
            break;
        };
        let packet = sent_packet(log, before);
        sent.push(packet.map_err(|problem| log.error::<EndpointV2::PacketSent>(problem)));
        rest = after;
    }
    sent
}

fn sent_packet(log: &RawLog, before: &[RawLog]) -> Result<SentPacket, EventProblem> {
    let event: EndpointV2::PacketSent = log.decode()?;
    bounded(event.options.len(), MAX_OPTIONS_SIZE)?;
    let packet = Packet::decode(&event.encodedPayload)?;
    let executor_fee =
        fee_log::<SendUln302::ExecutorFeePaid, _>(event.sendLibrary, before, |paid| {
            Ok(ExecutorFee { executor: paid.executor, fee: paid.fee })
        })?;
    let dvn_fees = fee_log::<SendUln302::DVNFeePaid, _>(event.sendLibrary, before, dvn_fees)?;
    Ok(SentPacket {
        packet,
        options: event.options,
        send_library: event.sendLibrary,
        executor_fee,
        dvn_fees: dvn_fees.unwrap_or_default(),
        log_index: log.index,
    })
}

/// The one fee log of kind `E` that `library` emitted.
fn fee_log<E: SolEvent, T>(
    library: Address,
    logs: &[RawLog],
    read: impl FnOnce(E) -> Result<T, EventProblem>,
) -> Result<Option<T>, EventProblem> {
    let event = event_name::<E>();
    let mut found = logs.iter().filter(|log| log.address == library && log.is::<E>());
    let Some(log) = found.next() else {
        return Ok(None);
    };
    if let Some(second) = found.next() {
        return Err(EventProblem::DuplicateFee { event, log_index: second.index });
    }
    let fee = log.decode::<E>().and_then(read).map_err(|problem| EventProblem::Fee {
        event,
        log_index: log.index,
        problem: Box::new(problem),
    })?;
    Ok(Some(fee))
}

fn dvn_fees(paid: SendUln302::DVNFeePaid) -> Result<DvnFees, EventProblem> {
    bounded(paid.requiredDVNs.len(), MAX_DVNS)?;
    bounded(paid.optionalDVNs.len(), MAX_DVNS)?;
    let dvns = paid.requiredDVNs.len() + paid.optionalDVNs.len();
    same_count("fees", paid.fees.len(), dvns)?;
    Ok(DvnFees { required: paid.requiredDVNs, optional: paid.optionalDVNs, fees: paid.fees })
}

#[cfg(test)]
mod tests;
