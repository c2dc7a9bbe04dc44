//! From proven or hinted logs to messages and facts.

use crate::{
    batch,
    deployment::{Deployment, Deployments, header_of},
    events::{
        ComposeKey, DestinationEvent, DestinationLog, Origin, RawLog, SentPacket,
        destination_event, sent_packets,
    },
    revert::reason_text,
    wire::{Address32, Guid, PacketHeader},
};
use alloy_primitives::{Address, Bytes, U256};
use postrider_evm::ReceiptLogs;
use postrider_message::{
    Confirmations, Fact, Message, MessageNonce, NetworkName, Payload, PayloadHash, Role, Subject,
};
use postrider_verification::evm::{Assignment, ReceiptLog, SentDecoder, SentMessage};
use std::collections::{BTreeSet, HashMap};

/// How a delivered message left the endpoint, by the call that its transaction made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Its receiver was run.
    Executed,
    /// Its application took it off the list.
    Cleared,
    /// The call does not tell.
    Unknown,
}

/// A packet that logs name by its guid alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// What facts about it are about.
    pub subject: Subject,
    /// Who receives it.
    pub receiver: Address,
}

impl Packet {
    /// The packet of a message that is known; `None` if it is not LayerZero's.
    #[must_use]
    pub fn of(message: &Message) -> Option<(Guid, Self)> {
        let header = header_of(message).ok()?;
        let payload = Some(message.payload.hash());
        let subject = Subject { lane: message.lane.id(), nonce: message.nonce, payload };
        Some((header.guid(), Self { subject, receiver: header.receiver.as_evm_address()? }))
    }
}

/// A fact with the position, among its receipt's logs, of the log that tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedFact {
    /// What it is about.
    pub subject: Subject,
    /// What is said.
    pub fact: Fact,
    /// Where among the receipt's logs.
    pub index_in_receipt: u64,
}

impl SentDecoder for Deployments {
    fn sent_in(&self, network: &NetworkName, logs: &[ReceiptLog]) -> Vec<SentMessage> {
        let Some(deployment) = self.on(network) else { return Vec::new() };
        sent_packets(deployment.endpoint, &raw(logs))
            .into_iter()
            // A packet that cannot be read is nobody's job; the others of its transaction stand.
            .filter_map(Result::ok)
            .filter(|sent| sent.packet.header().src_eid == deployment.eid)
            .filter_map(|sent| self.sent_message(deployment, sent))
            .collect()
    }
}

impl Deployments {
    fn sent_message(&self, deployment: &Deployment, sent: SentPacket) -> Option<SentMessage> {
        let header = *sent.packet.header();
        let lane = self.lane(&header)?;
        let mut payload = sent.packet.guid().0.to_vec();
        payload.extend_from_slice(sent.packet.message());
        let assignments = if deployment.send_libraries.contains(&sent.send_library) {
            assignments(&sent)
        } else {
            Vec::new()
        };
        Some(SentMessage {
            message: Message {
                lane,
                nonce: MessageNonce(header.nonce.get()),
                payload: Payload::Known {
                    bytes: payload.into(),
                    hash: PayloadHash(sent.packet.payload_hash().0),
                },
                options: sent.options,
                reference: Some(sent.packet.guid().0),
            },
            assignments,
            index_in_receipt: sent.log_index,
        })
    }

    /// What the logs of one receipt on `network` say became of messages. Logs of contracts that
    /// are not pinned say nothing. `delivery` tells how the transaction delivered, and `known` what
    /// the packets named by [`Deployments::guids_in`] are.
    #[must_use]
    pub fn facts_in(
        &self,
        network: &NetworkName,
        receipt: &ReceiptLogs,
        delivery: Delivery,
        known: &HashMap<Guid, Packet>,
    ) -> Vec<LoggedFact> {
        let Some(here) = self.on(network) else { return Vec::new() };
        let logs: Vec<DestinationLog> = raw(&receipt.logs)
            .iter()
            .filter_map(destination_event)
            .filter_map(Result::ok)
            .collect();
        // What is composed comes before the word that its packet was delivered.
        let mut packets = known.clone();
        for log in logs.iter().filter(|log| log.emitter == here.endpoint) {
            if let DestinationEvent::PacketDelivered { origin, receiver } = log.event {
                let header = header_at(here, origin, receiver);
                if let Some(subject) = self.subject(&header, None) {
                    packets.insert(header.guid(), Packet { subject, receiver });
                }
            }
        }
        let by_guid = receipt.logs.iter().filter_map(|log| failed_in_batch(here, log, &packets));
        logs.into_iter()
            .filter_map(|log| self.fact(here, log, delivery, &packets))
            .chain(by_guid)
            .collect()
    }

    /// The packets of configured lanes that a receipt says were delivered.
    #[must_use]
    pub fn delivered_in(&self, network: &NetworkName, receipt: &ReceiptLogs) -> BTreeSet<Guid> {
        let Some(here) = self.on(network) else { return BTreeSet::new() };
        let logs = raw(&receipt.logs);
        let delivered = logs.iter().filter_map(destination_event).filter_map(|log| {
            match log.ok().filter(|log| log.emitter == here.endpoint)?.event {
                DestinationEvent::PacketDelivered { origin, receiver } => {
                    let header = header_at(here, origin, receiver);
                    self.lane(&header).map(|_| header.guid())
                }
                _ => None,
            }
        });
        delivered.collect()
    }

    /// The packets that a receipt's logs name by their guid alone, and that must be looked up.
    #[must_use]
    pub fn guids_in(&self, network: &NetworkName, receipt: &ReceiptLogs) -> BTreeSet<Guid> {
        let Some(here) = self.on(network) else { return BTreeSet::new() };
        let logs = raw(&receipt.logs);
        let composed = logs.iter().filter_map(destination_event).filter_map(|log| {
            match log.ok().filter(|log| log.emitter == here.endpoint)?.event {
                DestinationEvent::ComposeSent { key, .. }
                | DestinationEvent::ComposeDelivered { key }
                | DestinationEvent::LzComposeAlert { key, .. } => Some(key.guid),
                _ => None,
            }
        });
        let failed = receipt
            .logs
            .iter()
            .filter(|log| Some(log.address) == here.batch)
            .filter_map(|log| Some(batch::failed_item(&log.topics, &log.data)?.guid));
        composed.chain(failed).collect()
    }

    fn subject(&self, header: &PacketHeader, payload: Option<PayloadHash>) -> Option<Subject> {
        let nonce = MessageNonce(header.nonce.get());
        Some(Subject { lane: self.lane(header)?.id(), nonce, payload })
    }

    fn fact(
        &self,
        here: &Deployment,
        log: DestinationLog,
        delivery: Delivery,
        packets: &HashMap<Guid, Packet>,
    ) -> Option<LoggedFact> {
        use DestinationEvent as E;
        let index_in_receipt = log.log_index;
        let from_endpoint = log.emitter == here.endpoint;
        let subject = |origin: Origin, receiver: Address, payload: Option<PayloadHash>| {
            self.subject(&header_at(here, origin, receiver), payload)
        };
        // Anyone may compose in any packet's name: only its receiver's word counts.
        let composed = |key: ComposeKey| {
            let packet = packets.get(&key.guid)?;
            (packet.receiver == key.from).then_some(packet.subject)
        };
        let (subject, fact) = match log.event {
            E::PayloadVerified { library, dvn, header, confirmations, proof_hash } => {
                if !here.receive_libraries.contains(&library) || header.dst_eid != here.eid {
                    return None;
                }
                let subject = Subject {
                    lane: self.lane(&header)?.id(),
                    nonce: MessageNonce(header.nonce.get()),
                    payload: Some(PayloadHash(proof_hash.0)),
                };
                let by = text(dvn);
                (subject, Fact::Attested { by, confirmations: Confirmations(confirmations) })
            }
            E::PacketVerified { origin, receiver, payload_hash } if from_endpoint => {
                (subject(origin, receiver, Some(PayloadHash(payload_hash.0)))?, Fact::Committed)
            }
            E::PacketDelivered { origin, receiver } if from_endpoint => {
                let fact = match delivery {
                    Delivery::Executed => Fact::Executed,
                    Delivery::Cleared => Fact::Cleared,
                    Delivery::Unknown => Fact::Consumed,
                };
                (subject(origin, receiver, None)?, fact)
            }
            E::Skipped { origin, receiver } if from_endpoint => {
                (subject(origin, receiver, None)?, Fact::Skipped)
            }
            E::Nilified { origin, receiver, payload_hash } if from_endpoint => {
                // Nilifying may also strike a nonce that holds nothing yet: whatever is there.
                let hash = (!payload_hash.0.is_zero()).then_some(PayloadHash(payload_hash.0));
                (subject(origin, receiver, hash)?, Fact::Nilified)
            }
            E::Burnt { origin, receiver, .. } if from_endpoint => {
                (subject(origin, receiver, None)?, Fact::Burnt)
            }
            E::LzReceiveAlert { receiver, executor, origin, payload_hash, reason, .. }
                if from_endpoint && Some(executor) == here.executor =>
            {
                let subject = subject(origin, receiver, Some(PayloadHash(payload_hash.0)))?;
                (subject, Fact::ExecutionFailed { detail: reason_text(&reason.data) })
            }
            E::NativeDropApplied { origin, oapp, drops, .. }
                if Some(log.emitter) == here.executor =>
            {
                let failed = drops.iter().filter(|drop| !drop.success).count();
                let failed = u32::try_from(failed).unwrap_or(u32::MAX);
                (subject(origin, oapp, None)?, Fact::NativeDropped { failed })
            }
            E::ComposeSent { key, message } if from_endpoint => {
                let to = text(key.to);
                (composed(key)?, Fact::ComposeSent { part: key.index, to, message })
            }
            E::ComposeDelivered { key } if from_endpoint => {
                (composed(key)?, Fact::ComposeDelivered { part: key.index })
            }
            E::LzComposeAlert { key, executor, reason, .. }
                if from_endpoint && Some(executor) == here.executor =>
            {
                let detail = reason_text(&reason.data);
                (composed(key)?, Fact::ComposeFailed { part: key.index, detail })
            }
            _ => return None,
        };
        Some(LoggedFact { subject, fact, index_in_receipt })
    }
}

pub(crate) fn header_at(here: &Deployment, origin: Origin, receiver: Address) -> PacketHeader {
    PacketHeader {
        nonce: origin.nonce,
        src_eid: origin.src_eid,
        sender: origin.sender,
        dst_eid: here.eid,
        receiver: Address32::from(receiver),
    }
}

fn failed_in_batch(
    here: &Deployment,
    log: &ReceiptLog,
    packets: &HashMap<Guid, Packet>,
) -> Option<LoggedFact> {
    if Some(log.address) != here.batch {
        return None;
    }
    let failed = batch::failed_item(&log.topics, &log.data)?;
    Some(LoggedFact {
        subject: packets.get(&failed.guid)?.subject,
        fact: Fact::ExecutionFailed { detail: failed.detail },
        index_in_receipt: log.index_in_receipt,
    })
}

fn assignments(sent: &SentPacket) -> Vec<Assignment> {
    let executor = sent.executor_fee.iter().map(|paid| Assignment {
        role: Role::Execute,
        worker: text(paid.executor),
        fee: paid.fee.to_string(),
    });
    let mut dvns: Vec<Address> =
        sent.dvn_fees.required.iter().chain(&sent.dvn_fees.optional).copied().collect();
    // One DVN may be both required and optional: it is one job.
    dvns.sort_unstable();
    dvns.dedup();
    let dvns = dvns.into_iter().map(|dvn| Assignment {
        role: Role::Attest,
        worker: text(dvn),
        fee: sent.dvn_fees.fee_of(dvn).unwrap_or(U256::ZERO).to_string(),
    });
    executor.chain(dvns).collect()
}

/// An address in canonical text.
#[must_use]
pub fn text(address: Address) -> String {
    format!("{address:#x}")
}

pub(crate) fn raw(logs: &[ReceiptLog]) -> Vec<RawLog> {
    logs.iter()
        .map(|log| RawLog {
            address: log.address,
            topics: log.topics.clone(),
            data: Bytes::clone(&log.data),
            index: log.index_in_receipt,
        })
        .collect()
}

#[cfg(test)]
mod tests;
