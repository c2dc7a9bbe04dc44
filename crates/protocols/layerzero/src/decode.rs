//! From proven or hinted logs to messages and facts.

use crate::{
    deployment::{Deployment, Deployments},
    events::{
        DestinationEvent, DestinationLog, Origin, RawLog, SentPacket, destination_event,
        sent_packets,
    },
    revert::reason_text,
    wire::{Address32, PacketHeader},
};
use alloy_primitives::{Address, Bytes, U256};
use postrider_evm::ReceiptLogs;
use postrider_message::{
    Confirmations, Fact, Message, MessageNonce, NetworkName, Payload, PayloadHash, Role, Subject,
};
use postrider_verification::evm::{Assignment, ReceiptLog, SentDecoder, SentMessage};

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
    /// are not pinned say nothing. `delivery` tells how the transaction delivered.
    #[must_use]
    pub fn facts_in(
        &self,
        network: &NetworkName,
        receipt: &ReceiptLogs,
        delivery: Delivery,
    ) -> Vec<LoggedFact> {
        let Some(deployment) = self.on(network) else { return Vec::new() };
        raw(&receipt.logs)
            .iter()
            .filter_map(destination_event)
            .filter_map(Result::ok)
            .filter_map(|log| self.fact(deployment, log, delivery))
            .collect()
    }

    fn fact(
        &self,
        here: &Deployment,
        log: DestinationLog,
        delivery: Delivery,
    ) -> Option<LoggedFact> {
        use DestinationEvent as E;
        let index_in_receipt = log.log_index;
        let from_endpoint = log.emitter == here.endpoint;
        let subject = |origin: Origin, receiver: Address, payload: Option<PayloadHash>| {
            let receiver = Address32::from(receiver);
            let header = PacketHeader {
                nonce: origin.nonce,
                src_eid: origin.src_eid,
                sender: origin.sender,
                dst_eid: here.eid,
                receiver,
            };
            let nonce = MessageNonce(origin.nonce.get());
            Some(Subject { lane: self.lane(&header)?.id(), nonce, payload })
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
            _ => return None,
        };
        Some(LoggedFact { subject, fact, index_in_receipt })
    }
}

/// Whether a receipt on this deployment says that a message was delivered.
#[must_use]
pub fn delivers(deployment: &Deployment, receipt: &ReceiptLogs) -> bool {
    use alloy_sol_types::SolEvent;
    receipt.logs.iter().any(|log| {
        log.address == deployment.endpoint
            && log.topics.first()
                == Some(&crate::contracts::EndpointV2::PacketDelivered::SIGNATURE_HASH)
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

fn raw(logs: &[ReceiptLog]) -> Vec<RawLog> {
    logs.iter()
        .map(|log| RawLog {
            address: log.address,
            topics: log.topics.clone(),
            data: Bytes::clone(&log.data),
            index: log.index_in_receipt,
        })
        .collect()
}
