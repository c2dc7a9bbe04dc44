//! What a node says of a transaction before it is in a block: whether its pool takes it (CometBFT
//! RPC `broadcast_tx_sync`), and what it would do (`cosmos.tx.v1beta1.Service/Simulate`).

use crate::query::Answer;
use ibc_proto::cosmos::tx::v1beta1::SimulateResponse;
use postrider_jsonrpc::{CallResult, UpstreamError};
use postrider_message::{Detail, TxHash};
use prost::Message;
use serde::Deserialize;

use crate::wire;

/// Codes of the SDK's own codespace (`types/errors/errors.go`).
mod sdk {
    pub(super) const SPACE: &str = "sdk";
    pub(super) const INSUFFICIENT_FUNDS: u32 = 5;
    pub(super) const INSUFFICIENT_FEE: u32 = 13;
    pub(super) const IN_MEMPOOL_CACHE: u32 = 19;
    pub(super) const MEMPOOL_IS_FULL: u32 = 20;
    pub(super) const TX_TOO_LARGE: u32 = 21;
    pub(super) const WRONG_SEQUENCE: u32 = 32;
}

/// ibc-go's refusal of a transaction all of whose messages did their work already
/// (`channeltypes.ErrRedundantTx`).
const REDUNDANT: (&str, u32) = ("channel", 22);

/// Whether a node's pool takes a transaction. One that is taken may still never reach a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckTx {
    /// It is in the pool.
    Accepted(TxHash),
    /// The node saw these bytes before: they are in its pool, in a block, or were refused a moment
    /// ago.
    InCache,
    /// The account's next sequence is another one.
    SequenceMismatch {
        /// The account's next sequence, as far as this node's pool knows; `None` where its words
        /// do not tell.
        expected: Option<u64>,
        /// The transaction's; `None` where its words do not tell.
        got: Option<u64>,
    },
    /// It offers less for a unit of gas than the node takes.
    InsufficientFee(Detail),
    /// The account, or who grants its fees, cannot pay the fee.
    InsufficientFunds(Detail),
    /// The pool is full: try later, or another node.
    MempoolFull,
    /// It is larger than the pool takes.
    TooLarge(Detail),
    /// All that it would do is done already: nothing was paid for finding out.
    Redundant,
    /// Anything else.
    Other {
        /// Whose code it is: a module's name; empty for the node itself.
        codespace: String,
        /// The code.
        code: i64,
        /// The words, cut.
        log: Detail,
    },
}

#[derive(Debug, Deserialize)]
struct JsonCheckTx {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    codespace: String,
    #[serde(default)]
    log: String,
    hash: String,
}

impl CheckTx {
    /// Reads the answer to `broadcast_tx_sync` of the transaction with this hash.
    pub(crate) fn read(
        result: CallResult,
        sent: TxHash,
        blank: impl FnOnce(&str) -> String,
    ) -> Result<Self, UpstreamError> {
        let json = match result {
            Ok(json) => json,
            Err(error) => return Ok(Self::by_node(error.code, &wire::error_text(&error))),
        };
        let told: JsonCheckTx = serde_json::from_str(json.get())
            .map_err(|e| UpstreamError::Garbage(e.to_string().into()))?;
        if told.code != 0 {
            return Ok(Self::by_application(told.codespace, told.code, &blank(&told.log)));
        }
        if told.hash.parse() != Ok(sent) {
            let what = format!("hash `{}` for the transaction {sent}", blank(&told.hash));
            return Err(UpstreamError::Garbage(what.into()));
        }
        Ok(Self::Accepted(sent))
    }

    /// What the node itself refuses, it tells only in words (CometBFT `mempool/errors.go`).
    fn by_node(code: i64, words: &str) -> Self {
        if words.contains("tx already exists in cache") {
            Self::InCache
        } else if words.contains("mempool is full") {
            Self::MempoolFull
        } else if words.to_ascii_lowercase().contains("too large") {
            Self::TooLarge(words.into())
        } else {
            Self::Other { codespace: String::new(), code, log: words.into() }
        }
    }

    fn by_application(codespace: String, code: u32, log: &str) -> Self {
        if (codespace.as_str(), code) == REDUNDANT {
            return Self::Redundant;
        }
        if codespace == sdk::SPACE {
            match code {
                sdk::WRONG_SEQUENCE => {
                    let (expected, got) = sequences(log).unzip();
                    return Self::SequenceMismatch { expected, got };
                }
                sdk::INSUFFICIENT_FEE => return Self::InsufficientFee(log.into()),
                sdk::INSUFFICIENT_FUNDS => return Self::InsufficientFunds(log.into()),
                sdk::IN_MEMPOOL_CACHE => return Self::InCache,
                sdk::MEMPOOL_IS_FULL => return Self::MempoolFull,
                sdk::TX_TOO_LARGE => return Self::TooLarge(log.into()),
                _ => {}
            }
        }
        Self::Other { codespace, code: code.into(), log: log.into() }
    }
}

/// The sequences that a mismatch names: the one expected and the one given.
///
/// "account sequence mismatch, expected 7, got 5: incorrect account sequence" (SDK `x/auth/ante`);
/// the sequence itself may stand in quotes, in chains that format it otherwise.
fn sequences(log: &str) -> Option<(u64, u64)> {
    let (_, after) = log.split_once("sequence mismatch")?;
    let (_, after) = after.split_once("expected")?;
    let (expected, got) = after.split_once("got")?;
    Some((first_number(expected)?, first_number(got)?))
}

fn first_number(text: &str) -> Option<u64> {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// How a transaction would end, by one node's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Simulation {
    /// It would succeed, using so much gas.
    GasUsed(u64),
    /// It would not.
    Fails(SimulationFailure),
}

/// Why a transaction would fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimulationFailure {
    /// The account's next sequence is another one; see [`CheckTx::SequenceMismatch`].
    SequenceMismatch {
        /// The account's next sequence.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// A message fails.
    Message {
        /// Which one, from 0.
        index: usize,
        /// The words, cut.
        log: Detail,
    },
    /// All that it would do is done already.
    Redundant,
    /// The request with it is larger than the node takes.
    TooLarge,
    /// It fails before its messages are run, or the node cannot tell.
    Other {
        /// Whose code it is.
        codespace: String,
        /// The code.
        code: u32,
        /// The words, cut.
        log: Detail,
    },
}

impl Simulation {
    /// Reads the answer of the simulation service.
    pub(crate) fn read(answer: Answer) -> Result<Self, UpstreamError> {
        if answer.code != 0 {
            return Ok(Self::Fails(SimulationFailure::of(answer)));
        }
        let told = SimulateResponse::decode(answer.value.as_slice())
            .map_err(|e| UpstreamError::Garbage(format!("the simulation: {e}").into()))?;
        let gas = told.gas_info.map(|gas| gas.gas_used);
        gas.map(Self::GasUsed)
            .ok_or_else(|| UpstreamError::Garbage("a simulation without gas".into()))
    }
}

impl SimulationFailure {
    /// The service wraps every error in one code, so only the words tell what failed.
    fn of(answer: Answer) -> Self {
        let log = answer.log.to_string();
        if let Some((expected, got)) = sequences(&log) {
            return Self::SequenceMismatch { expected, got };
        }
        if log.contains("packet messages are redundant") {
            return Self::Redundant;
        }
        match message_index(&log) {
            Some(index) => Self::Message { index, log: answer.log },
            None => Self::Other { codespace: answer.codespace, code: answer.code, log: answer.log },
        }
    }
}

/// "failed to execute message; message index: 3: ..." (SDK `baseapp.runMsgs`).
fn message_index(log: &str) -> Option<usize> {
    let (_, after) = log.split_once("message index: ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ibc_proto::cosmos::base::abci::v1beta1::GasInfo;
    use postrider_message::Height;
    use serde_json::{json, value::to_raw_value};

    const SENT: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn check(code: u32, codespace: &str, log: &str) -> CheckTx {
        let told = json!({"code": code, "codespace": codespace, "log": log, "hash": SENT});
        CheckTx::read(Ok(to_raw_value(&told).unwrap()), SENT.parse().unwrap(), str::to_owned)
            .unwrap()
    }

    fn refused(data: &str) -> CheckTx {
        let error = json!({"code": -32603, "message": "Internal error", "data": data}).to_string();
        let error = serde_json::from_str(&error).unwrap();
        CheckTx::read(Err(error), SENT.parse().unwrap(), str::to_owned).unwrap()
    }

    #[test]
    fn what_a_pool_says_is_told_apart() {
        assert_eq!(check(0, "", ""), CheckTx::Accepted(SENT.parse().unwrap()));
        let log = "account sequence mismatch, expected 7, got 5: incorrect account sequence";
        let mismatch = CheckTx::SequenceMismatch { expected: Some(7), got: Some(5) };
        assert_eq!(check(32, "sdk", log), mismatch);
        let unclear = CheckTx::SequenceMismatch { expected: None, got: None };
        assert_eq!(check(32, "sdk", "incorrect account sequence"), unclear);
        let fee = "insufficient fees; got: 1stake required: 2stake";
        assert_eq!(check(13, "sdk", fee), CheckTx::InsufficientFee(fee.into()));
        assert_eq!(check(5, "sdk", "no"), CheckTx::InsufficientFunds("no".into()));
        assert_eq!(check(19, "sdk", ""), CheckTx::InCache);
        assert_eq!(check(20, "sdk", ""), CheckTx::MempoolFull);
        assert_eq!(check(21, "sdk", "x"), CheckTx::TooLarge("x".into()));
        assert_eq!(check(22, "channel", "packet messages are redundant"), CheckTx::Redundant);
        let other = |codespace: &str, code, log: &str| CheckTx::Other {
            codespace: codespace.into(),
            code,
            log: log.into(),
        };
        assert_eq!(check(32, "bank", "x"), other("bank", 32, "x"), "another module's code");
        assert_eq!(refused("tx already exists in cache"), CheckTx::InCache);
        assert_eq!(
            refused("mempool is full: number of txs 5000 (max: 5000)"),
            CheckTx::MempoolFull
        );
        let large = "tx too large. Max size is 1048576, but got 2000000";
        assert_eq!(refused(large), CheckTx::TooLarge(large.into()));
        assert_eq!(refused("strange"), other("", -32603, "strange"));
    }

    #[test]
    fn r10_a_hash_of_something_else_is_garbage() {
        let told = json!({"code": 0, "hash": "00"});
        let read =
            CheckTx::read(Ok(to_raw_value(&told).unwrap()), SENT.parse().unwrap(), str::to_owned);
        assert!(matches!(read, Err(UpstreamError::Garbage(_))), "{read:?}");
    }

    fn answer(code: u32, log: &str, value: Vec<u8>) -> Answer {
        let (codespace, height) = ("sdk".to_owned(), Height(1));
        Answer { code, codespace, log: log.into(), value, height, proof: None }
    }

    #[test]
    fn a_simulation_names_what_fails() {
        let gas_info = Some(GasInfo { gas_wanted: 9, gas_used: 70_000 });
        let good = SimulateResponse { gas_info, result: None }.encode_to_vec();
        assert_eq!(Simulation::read(answer(0, "", good)), Ok(Simulation::GasUsed(70_000)));
        let fails = |log: &str| match Simulation::read(answer(6, log, vec![])) {
            Ok(Simulation::Fails(failure)) => failure,
            other => panic!("{other:?}"),
        };
        let log = "failed to execute message; message index: 3: client state not found";
        assert_eq!(fails(log), SimulationFailure::Message { index: 3, log: log.into() });
        let log = "account sequence mismatch, expected 1, got 2: incorrect account sequence";
        assert_eq!(fails(log), SimulationFailure::SequenceMismatch { expected: 1, got: 2 });
        assert_eq!(fails("packet messages are redundant"), SimulationFailure::Redundant);
        let log: Detail = "message index: x".into();
        let other = SimulationFailure::Other { codespace: "sdk".into(), code: 6, log };
        assert_eq!(fails("message index: x"), other);
        let garbage = [vec![0xff], SimulateResponse::default().encode_to_vec()];
        for value in garbage {
            let read = Simulation::read(answer(0, "", value));
            assert!(matches!(read, Err(UpstreamError::Garbage(_))));
        }
    }

    proptest::proptest! {
        #[test]
        fn r10_no_words_of_a_node_are_too_strange(log: String) {
            let _ = sequences(&log);
            let _ = message_index(&log);
            let _ = refused(&log);
        }

        #[test]
        fn sequences_are_read_as_the_sdk_writes_them(expected: u64, got: u64) {
            let log = format!("account sequence mismatch, expected {expected}, got {got}: x");
            proptest::prop_assert_eq!(sequences(&log), Some((expected, got)));
        }
    }
}
