//! What the workers ask for their work, and whether it pays for the gas.

use super::{
    Found,
    ask::{Answers, End, ask_application, told},
    facts::{Owner, PathwayFacts, Quote, Rate},
    finding::{DEAD_DVN, EXECUTOR_REFUSES, FEES_BELOW_GAS, Severity},
};
use crate::{
    contracts::{Dvn, Executor, PriceFeed},
    revert::reason_text,
    wire::options::{GasAndValue, Options},
};
use alloy_primitives::{Address, Bytes, U256, uint};
use alloy_sol_types::SolCall;
use postrider_evm::{CallOutcome, EthCall};

/// What of the text of a DVN that stands for "none was set" tells it (`DeadDVN.sol`).
const DEAD_WORDS: &str = "Please set your OApp";
/// The gas for the receiver with which an executor is asked for its fee.
const RECEIVER_GAS: u64 = 200_000;
/// What attesting a packet of a DVN with one signer uses (`DVN.execute` with one `verify`).
const ATTEST_GAS: u64 = 77_400;
/// What committing a packet uses, and delivering it beside the gas for its receiver.
const DELIVER_GAS: u64 = 73_400 + 40_000;
/// Endpoint ids of all versions share their prices: 30101 has those of 101
/// (`PriceFeed.estimateFeeByEid`).
const EID_SPACE: u32 = 30_000;
/// The factor in `Rate::price_ratio`.
const RATIO_UNIT: U256 = uint!(100_000_000_000_000_000_000_U256);

/// The options for [`RECEIVER_GAS`] as the send library hands them to the executor: without the
/// list's type.
fn executor_options() -> Bytes {
    let receive = GasAndValue { gas: RECEIVER_GAS.into(), value: 0 };
    let options = Options { lz_receive: Some(receive), ..Options::default() };
    options.encode().map(|bytes| bytes.slice(2..)).unwrap_or_default()
}

fn quoted<C: SolCall<Return = U256>>(answer: Option<&CallOutcome>) -> Option<Quote> {
    Some(match answer? {
        CallOutcome::Reverted(data) => Quote::Refused(reason_text(data)),
        CallOutcome::Returned(data) => match C::abi_decode_returns_validate(data) {
            Ok(fee) => Quote::Fee(fee),
            Err(_) => Quote::Refused("it answers with something else than a fee".into()),
        },
    })
}

impl End {
    /// This node's own workers here, whose prices are looked at.
    fn own_workers(self, facts: &PathwayFacts) -> Vec<Address> {
        let known = &self.of(facts).known;
        let is_ours = |worker: &Address| {
            [&known.dvns, &known.executors]
                .iter()
                .any(|owners| owners.get(worker) == Some(&Owner::Ours))
        };
        let workers = if self == Self::Source { self.workers(facts) } else { Vec::new() };
        workers.into_iter().filter(is_ours).collect()
    }

    fn executor(self, facts: &PathwayFacts) -> Option<Address> {
        facts.execution.filter(|_| self == Self::Source).map(|found| found.executor)
    }

    /// Asks each worker for its fee, and this node's own where they look up prices. A DVN that is an
    /// executor too is asked as a DVN.
    #[must_use]
    #[allow(non_snake_case)] // the names are Solidity's
    pub fn ask_quotes(self, facts: &PathwayFacts) -> Vec<EthCall> {
        let (sender, dstEid) = self.application(&facts.ends);
        let confirmations = self.of(facts).verifiers.as_ref().map_or(0, |v| v.confirmations);
        let dvn = Dvn::getFeeCall { dstEid, confirmations, sender, options: Bytes::new() };
        let execution = Executor::getFeeCall {
            dstEid,
            sender,
            calldataSize: U256::ZERO,
            options: executor_options(),
        };
        let executor = self.executor(facts);
        let fee = |worker: Address| match executor {
            Some(executor) if executor == worker => ask_application(worker, &execution),
            _ => ask_application(worker, &dvn),
        };
        let fees = self.workers(facts).into_iter().map(fee);
        let feed = |worker| ask_application(worker, &Dvn::priceFeedCall {});
        fees.chain(self.own_workers(facts).into_iter().map(feed)).collect()
    }

    /// Takes the answers to [`Self::ask_quotes`].
    pub fn take_quotes(self, facts: &mut PathwayFacts, answers: Answers<'_>) {
        let (workers, own) = (self.workers(facts), self.own_workers(facts));
        let feeds = workers.len();
        for (place, worker) in workers.into_iter().enumerate() {
            let answer = answers.get(place).and_then(Option::as_ref);
            if let Some(quote) = quoted::<Dvn::getFeeCall>(answer) {
                self.side(facts).quotes.insert(worker, quote);
            }
        }
        for (place, worker) in own.into_iter().enumerate() {
            if let Some(feed) = told::<Dvn::priceFeedCall>(answers, feeds + place) {
                self.side(facts).feeds.insert(worker, feed);
            }
        }
    }

    /// Asks the price feeds for the other network's prices.
    #[must_use]
    #[allow(non_snake_case)] // the names are Solidity's
    pub fn ask_rates(self, facts: &PathwayFacts) -> Vec<EthCall> {
        let dstEid = self.application(&facts.ends).1 % EID_SPACE;
        let price = |feed: &Address| ask_application(*feed, &PriceFeed::getPriceCall { dstEid });
        self.of(facts).feeds.values().map(price).collect()
    }

    /// Takes the answers to [`Self::ask_rates`].
    pub fn take_rates(self, facts: &mut PathwayFacts, answers: Answers<'_>) {
        let workers: Vec<Address> = self.of(facts).feeds.keys().copied().collect();
        for (place, worker) in workers.into_iter().enumerate() {
            let told = told::<PriceFeed::getPriceCall>(answers, place);
            // A price of nothing is one that nobody set.
            if let Some(price) = told.filter(|price| price.priceRatio != 0) {
                let rate = Rate { price_ratio: price.priceRatio, gas_price: price.gasPriceInUnit };
                self.side(facts).rates.insert(worker, rate);
            }
        }
    }

    /// Takes how many blocks stand on a final one now, which counts where the file does not say it,
    /// and the price of gas in wei.
    pub fn take_chain(self, facts: &mut PathwayFacts, depth: Option<u64>, gas_price: Option<u64>) {
        let side = self.side(facts);
        side.known.finality_depth = side.known.finality_depth.or(depth);
        side.gas_price = gas_price;
    }
}

impl Found {
    /// Who names no fee, and whose fee is too little.
    pub(super) fn quotes(&mut self, facts: &PathwayFacts) {
        let executor = facts.execution.map(|e| e.executor);
        for (end, word) in [(End::Source, "send"), (End::Destination, "receive")] {
            let side = end.of(facts);
            for (worker, quote) in &side.quotes {
                let Quote::Refused(reason) = quote else { continue };
                // Where there is no code, that is said already.
                if side.code.get(worker) == Some(&false) {
                    continue;
                }
                let network = &side.known.network;
                if end == End::Source && executor == Some(*worker) {
                    let what =
                        format!("the executor {worker:#x} on {network} names no fee: {reason}");
                    self.danger(EXECUTOR_REFUSES, what);
                } else if end == End::Source || reason.contains(DEAD_WORDS) {
                    let is_required =
                        side.verifiers.as_ref().is_some_and(|v| v.required.contains(worker));
                    // Whoever is asked to attest must name a fee, or nothing can be sent at all.
                    let is_danger = end == End::Source || is_required;
                    let severity = if is_danger { Severity::Danger } else { Severity::Warning };
                    let what = format!(
                        "the {word} configuration on {network} names the DVN {worker:#x}, which \
                         names no fee: {reason}"
                    );
                    self.add(severity, DEAD_DVN, what);
                }
            }
        }
        self.fees(facts, executor);
    }

    fn fees(&mut self, facts: &PathwayFacts, executor: Option<Address>) {
        let (from, to) = (&facts.source.known.network, &facts.destination.known.network);
        let Some(price) = facts.destination.gas_price else { return };
        for (worker, rate) in &facts.source.rates {
            let Some(Quote::Fee(fee)) = facts.source.quotes.get(worker) else { continue };
            let (name, gas) = if executor == Some(*worker) {
                ("executor", DELIVER_GAS + RECEIVER_GAS)
            } else {
                ("DVN", ATTEST_GAS)
            };
            // At most 2^19 x 2^64 x 2^128: it fits.
            let cost =
                U256::from(gas) * U256::from(price) * U256::from(rate.price_ratio) / RATIO_UNIT;
            if *fee < cost {
                let what = format!(
                    "the {name} {worker:#x} on {from} asks {fee} wei a message; its {gas} gas on {to} \
                     cost {cost} wei of {from} now"
                );
                self.warning(FEES_BELOW_GAS, what);
            }
        }
    }
}
