//! The proof that a message was sent: from an anchor, through a receipt, to the message itself.

use super::{
    anchor::AnchoredBlock,
    receipts::{ReceiptEvidence, ReceiptLog},
};
use crate::verdict::{Refutation, Verdict, Verified};
use postrider_message::{BlockRef, Message, NetworkName, Role};

/// Work that the source assigned to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The work.
    pub role: Role,
    /// The worker's address on the source, in canonical text.
    pub worker: String,
    /// The fee promised, in the source's smallest unit, decimal.
    pub fee: String,
}

/// A message as a source's logs tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMessage {
    /// The message.
    pub message: Message,
    /// The work assigned for it.
    pub assignments: Vec<Assignment>,
    /// The position, among its receipt's logs, of the log that says so.
    pub index_in_receipt: u64,
}

/// Reads messages out of one receipt's logs. A protocol implements it; it must take logs of its
/// own deployment only, and must not fail as a whole because one log is malformed.
pub trait SentDecoder {
    /// The messages that the logs of one receipt on `network` tell of.
    fn sent_in(&self, network: &NetworkName, logs: &[ReceiptLog]) -> Vec<SentMessage>;
}

/// Decides whether `message` was sent: the evidence must belong to the anchored `block`, lead from
/// its receipts root to a receipt, and that receipt's logs, read by `decoder`, must tell of exactly
/// this message: same network, deployment, lane, nonce, payload and options.
#[must_use]
pub fn prove_sent(
    block: &AnchoredBlock,
    evidence: &ReceiptEvidence,
    decoder: &dyn SentDecoder,
    message: &Message,
) -> Verdict<SentMessage> {
    match check(block, evidence, decoder, message) {
        Ok(sent) => Verdict::Accepted(Verified::new(sent, block.basis())),
        Err(refutation) => Verdict::Refuted(refutation),
    }
}

fn check(
    block: &AnchoredBlock,
    evidence: &ReceiptEvidence,
    decoder: &dyn SentDecoder,
    message: &Message,
) -> Result<SentMessage, Refutation> {
    let bad = |e: super::BadReceipts| Refutation::BadEvidence(e.to_string().into());
    let found: BlockRef = evidence.block().map_err(bad)?;
    if found != block.block() {
        return Err(Refutation::OtherBlock { anchored: block.block(), found });
    }
    let logs = evidence.check().map_err(bad)?;
    if message.lane.source.network != *block.network() {
        return Err(Refutation::NotThisMessage);
    }
    decoder
        .sent_in(block.network(), &logs)
        .into_iter()
        .find(|sent| sent.message == *message)
        .ok_or(Refutation::NotThisMessage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evm::{
        ProvenReceipts,
        anchor::tests::{anchored, header},
        receipts::tests::{block_of, log, receipt},
    };
    use alloy_primitives::{B256, Bytes, keccak256};
    use postrider_message::{Lane, LaneEnd, MessageNonce, Payload, Point, Protocol};

    /// Takes logs of contract 0x11…11: the first byte is the nonce, the rest the payload.
    struct Toy;

    impl SentDecoder for Toy {
        fn sent_in(&self, network: &NetworkName, logs: &[ReceiptLog]) -> Vec<SentMessage> {
            logs.iter()
                .filter(|l| l.address.0[0] == 0x11)
                .filter_map(|l| l.data.split_first().map(|(nonce, payload)| (l, *nonce, payload)))
                .map(|(l, nonce, payload)| SentMessage {
                    message: message(network.as_str(), nonce, payload),
                    assignments: vec![],
                    index_in_receipt: l.index_in_receipt,
                })
                .collect()
        }
    }

    fn message(network: &str, nonce: u8, payload: &[u8]) -> Message {
        let end = |network: &str| LaneEnd {
            network: network.parse().unwrap(),
            point: Point::try_from("1".to_owned()).unwrap(),
        };
        Message {
            lane: Lane {
                protocol: Protocol::LayerZero,
                source: end(network),
                destination: end("base"),
            },
            nonce: MessageNonce(nonce.into()),
            payload: Payload::Known {
                bytes: payload.to_vec().into(),
                hash: keccak256(payload).into(),
            },
            options: Bytes::new(),
            reference: None,
        }
    }

    /// Class (d): a proof that is valid but not bound to this message.
    #[test]
    fn r1_d_a_verdict_is_bound_to_its_message() {
        let receipts = vec![receipt(1, vec![log(0x22, b"\x01hello"), log(0x11, b"\x01hello")])];
        let block = block_of(&receipts);
        let proven = ProvenReceipts::new(block.clone(), receipts).unwrap();
        let evidence = proven.evidence(&[0]).remove(0);

        let right = message("ethereum", 1, b"hello");
        let Verdict::Accepted(verified) = prove_sent(&block, &evidence, &Toy, &right) else {
            panic!("refused")
        };
        assert_eq!(verified.value().message, right);
        assert_eq!(verified.basis().depth.0, 1);

        for wrong in [
            message("ethereum", 2, b"hello"),
            message("ethereum", 1, b"hullo"),
            message("base", 1, b"hello"),
        ] {
            let verdict = prove_sent(&block, &evidence, &Toy, &wrong);
            assert_eq!(verdict, Verdict::Refuted(Refutation::NotThisMessage));
        }
        let mut other_options = right;
        other_options.options = Bytes::from_static(&[1]);
        let verdict = prove_sent(&block, &evidence, &Toy, &other_options);
        assert_eq!(verdict, Verdict::Refuted(Refutation::NotThisMessage));
    }

    /// Class (f): an event that no anchored state commits to.
    #[test]
    fn r1_f_sound_evidence_of_another_block_proves_nothing() {
        let receipts = vec![receipt(1, vec![log(0x11, b"\x01hello")])];
        let evidence =
            ProvenReceipts::new(block_of(&receipts), receipts).unwrap().evidence(&[0]).remove(0);
        let canonical = anchored(&header(5, B256::repeat_byte(3)), 6);
        let verdict = prove_sent(&canonical, &evidence, &Toy, &message("ethereum", 1, b"hello"));
        assert!(matches!(verdict, Verdict::Refuted(Refutation::OtherBlock { .. })));
    }
}
