//! How much gas transactions on a network are given, what is offered for a unit of it, and what was paid in
//! vain. Knows no chain: it is told what happened.

use super::Outgoing;
use crate::config::CosmosConfig;
use ibc_proto::google::protobuf::Any;
use postrider_cosmos::{Fee, GasPrice};
use postrider_ibc::{UsedSequence, messages};
use postrider_message::{DutyId, TxHash, UnixMillis};
use std::collections::HashMap;

/// What a transaction needs before its first message, where nothing is learnt of it.
const BASE_GAS: u64 = 100_000;
/// The same as it is taken off of what transactions used, to learn what a message uses.
const LEARNT_BASE: u64 = 60_000;
/// What a byte of a transaction uses (`x/auth` `tx_size_cost_per_byte`, which chains hardly change).
const BYTE_GAS: u64 = 10;
/// What ran out of gas is given so much more, in thousandths.
const MORE_GAS: u64 = 1_500;
/// Where a price is refused, it is raised by so much, in thousandths.
const MORE_PRICE: u64 = 1_250;
/// A price that was raised stays so long, in milliseconds.
const STAYS_RAISED: u64 = 600_000;
/// A price that is refused and may not be raised is offered again after this time, in milliseconds.
const TOO_DEAR: u64 = 15_000;
/// What the fee market says is offered with so much more, in thousandths: it moves with each block.
const MARKET_MARGIN: u64 = 1_100;
/// The fee market is asked once in this time at most, in milliseconds.
const ASK_MARKET: u64 = 5_000;
/// The most transactions and duties that are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// Gas that is offered for a message before anything is learnt of it.
fn first_gas(kind: &str) -> u64 {
    match kind {
        "MsgUpdateClient" => 600_000,
        "MsgRecvPacket" => 260_000,
        "MsgAcknowledgement" | "MsgTimeout" => 220_000,
        // A module may make an account, or begin more, when a channel opens.
        kind if kind.starts_with("MsgChannelOpen") => 500_000,
        _ => 300_000,
    }
}

fn permille(gas: u64, permille: u64) -> u64 {
    let scaled = u128::from(gas).saturating_mul(u128::from(permille)).div_ceil(1000);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Transactions that changed nothing, since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InVain {
    /// How many failed in a block.
    pub failed: u64,
    /// The gas that those used.
    pub failed_gas: u64,
    /// How many found all done by others.
    pub late: u64,
    /// The gas that those used.
    pub late_gas: u64,
}

/// A transaction that was signed.
#[derive(Debug, Clone)]
struct Tried {
    kind: String,
    count: u64,
    gas: u64,
    /// What its messages' bytes use.
    bytes_gas: u64,
    duties: Vec<DutyId>,
}

/// What a message is short of: it ran out with so much.
#[derive(Debug, Clone, Copy)]
struct Short {
    /// Gas of its transaction, by the message.
    each: u64,
    /// Whether it was alone in it.
    alone: bool,
}

/// What is known of gas and prices on one network, and shared by all who pay there.
#[derive(Debug, Default)]
pub struct Gauge {
    /// What a message of a kind uses.
    learnt: HashMap<String, u64>,
    tried: HashMap<TxHash, Tried>,
    short: HashMap<DutyId, Short>,
    /// By how much prices are raised, in thousandths, and until when.
    raised: Option<(u64, UnixMillis)>,
    /// Until when nothing is offered: the highest price was refused.
    too_dear: Option<UnixMillis>,
    market: Option<GasPrice>,
    market_asked: Option<UnixMillis>,
    /// The most gas of a block; `None` before it was asked for, or where there is no limit.
    block_limit: Option<u64>,
    block_asked: bool,
    in_vain: InVain,
    /// Whether something that others may stand on was lost.
    lost: bool,
}

fn bytes_gas(message: &Any) -> u64 {
    u64::try_from(message.value.len()).unwrap_or(u64::MAX).saturating_mul(BYTE_GAS)
}

impl Gauge {
    /// What was paid in vain since the node started.
    #[must_use]
    pub fn in_vain(&self) -> InVain {
        self.in_vain
    }

    /// Whether anything is known of what a kind of message uses.
    pub(super) fn knows(&self, kind: &str) -> bool {
        self.learnt.contains_key(kind)
    }

    /// Whether a block's limit is still to be asked for; true once.
    pub(super) fn asks_block(&mut self) -> bool {
        !std::mem::replace(&mut self.block_asked, true)
    }

    /// The most gas of a block, as an upstream says.
    pub(super) fn block_holds(&mut self, limit: Option<u64>) {
        self.block_limit = limit.filter(|limit| *limit > 0);
    }

    /// The most gas of a transaction.
    pub(super) fn most_gas(&self, config: &CosmosConfig) -> u64 {
        config.gas.max_gas.min(self.block_limit.unwrap_or(u64::MAX))
    }

    fn base(&self, kind: &str, config: &CosmosConfig) -> u64 {
        let multiplier = u64::from(config.gas.multiplier_permille);
        if self.knows(kind) { permille(LEARNT_BASE, multiplier) } else { BASE_GAS }
    }

    /// What a message of a kind is given, that serves a duty.
    fn each(
        &self,
        (kind, message): (&str, &Any),
        duty: Option<&DutyId>,
        config: &CosmosConfig,
    ) -> u64 {
        let multiplier = u64::from(config.gas.multiplier_permille);
        let usual =
            self.learnt.get(kind).map_or(first_gas(kind), |used| permille(*used, multiplier));
        let usual = usual.saturating_add(permille(bytes_gas(message), multiplier));
        let short = duty.and_then(|duty| self.short.get(duty));
        short.map_or(usual, |short| usual.max(permille(short.each, MORE_GAS)))
    }

    /// The gas that a transaction is given: what it may need, and no more than is allowed.
    pub(super) fn gas(&self, call: &Outgoing, config: &CosmosConfig) -> u64 {
        let kind = call.kind();
        let each = |(index, message)| self.each((kind, message), call.duties.get(index), config);
        let gas = call.messages.iter().enumerate().map(each);
        gas.fold(self.base(kind, config), u64::saturating_add).min(self.most_gas(config))
    }

    /// The same messages, in as many transactions as it takes for each to stay within what is allowed.
    pub(super) fn split(&self, call: Outgoing, config: &CosmosConfig) -> Vec<Outgoing> {
        let (kind, most) = (call.kind().to_owned(), self.most_gas(config));
        let base = self.base(&kind, config);
        let Outgoing { messages, purpose, duties } = call;
        let mut parts: Vec<Outgoing> = Vec::new();
        let mut gas = u64::MAX;
        for (index, message) in messages.into_iter().enumerate() {
            let duty = duties.get(index);
            let each = self.each((&kind, &message), duty, config);
            gas = gas.saturating_add(each);
            if gas > most || parts.is_empty() {
                let (messages, duties) = (Vec::new(), Vec::new());
                parts.push(Outgoing { messages, purpose: purpose.clone(), duties });
                gas = base.saturating_add(each);
            }
            if let Some(part) = parts.last_mut() {
                part.messages.push(message);
                part.duties.extend(duty);
            }
        }
        parts
    }

    /// Whether a transaction would run out of gas again: its only message did with all that is allowed.
    pub(super) fn is_hopeless(&self, call: &Outgoing, config: &CosmosConfig) -> bool {
        let [duty] = call.duties.as_slice() else { return false };
        let short = self.short.get(duty);
        short.is_some_and(|short| short.alone && short.each >= self.most_gas(config))
    }

    /// A transaction was signed with so much gas.
    pub(super) fn tried(&mut self, hash: TxHash, call: &Outgoing, gas: u64) {
        if self.tried.len() >= MAX_REMEMBERED {
            self.tried.clear();
        }
        let count = u64::try_from(call.messages.len()).unwrap_or(u64::MAX);
        let kind = call.kind().to_owned();
        let (bytes_gas, duties) = (call.bytes_gas(), call.duties.clone());
        self.tried.insert(hash, Tried { kind, count, gas, bytes_gas, duties });
    }

    /// A simulation of so many messages of a kind used so much gas.
    pub(super) fn simulated(&mut self, call: &Outgoing, used: u64) {
        let count = u64::try_from(call.messages.len()).unwrap_or(u64::MAX);
        self.learn(call.kind().to_owned(), count, used.saturating_sub(call.bytes_gas()));
    }

    /// What is dear is learnt at once, and forgotten slowly.
    fn learn(&mut self, kind: String, count: u64, used: u64) {
        let each = used.saturating_sub(LEARNT_BASE) / count.max(1);
        let learnt = self.learnt.entry(kind).or_insert(each);
        *learnt = each.max(*learnt - learnt.saturating_sub(each) / 8);
    }

    /// One of our transactions is in a block.
    pub fn included(&mut self, hash: TxHash, used: &UsedSequence) {
        let gas = used.gas_used;
        if !used.succeeded {
            self.in_vain.failed = self.in_vain.failed.saturating_add(1);
            self.in_vain.failed_gas = self.in_vain.failed_gas.saturating_add(gas);
        } else if used.idle {
            self.in_vain.late = self.in_vain.late.saturating_add(1);
            self.in_vain.late_gas = self.in_vain.late_gas.saturating_add(gas);
        }
        let Some(tried) = self.tried.remove(&hash) else { return };
        if used.succeeded {
            for duty in &tried.duties {
                self.short.remove(duty);
            }
            // What does nothing uses little, and says nothing of what does something.
            if !used.idle {
                let used = gas.saturating_sub(tried.bytes_gas);
                self.learn(tried.kind, tried.count, used);
            }
            return;
        }
        self.lost |= tried.duties.is_empty();
        if used.ran_out {
            self.give_more(tried);
        }
    }

    /// A pool found that a transaction has too little gas even for its checks.
    pub(super) fn ran_out(&mut self, hash: TxHash) {
        if let Some(tried) = self.tried.remove(&hash) {
            self.give_more(tried);
        }
    }

    fn give_more(&mut self, tried: Tried) {
        let Tried { kind, count, gas: given, bytes_gas, duties } = tried;
        if duties.is_empty() {
            // Nothing else tells it from others of its kind.
            self.learn(kind, count, permille(given, MORE_GAS).saturating_sub(bytes_gas));
            return;
        }
        if self.short.len() >= MAX_REMEMBERED {
            self.short.clear();
        }
        let (each, alone) = (given / count.max(1), count == 1);
        self.short.extend(duties.into_iter().map(|duty| (duty, Short { each, alone })));
    }

    /// Something was not sent, or not taken.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether something was lost since this was last asked: an update of a client may be among it, that
    /// further messages would have stood on.
    pub(in crate::ibc) fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Whether the fee market is to be asked now; true once in five seconds at most.
    pub(super) fn asks_market(&mut self, config: &CosmosConfig, now: UnixMillis) -> bool {
        let since = self.market_asked.map(|at| now.0.saturating_sub(at.0));
        let asks = config.paying.dynamic && since.is_none_or(|since| since >= ASK_MARKET);
        if asks {
            self.market_asked = Some(now);
        }
        asks
    }

    /// The fee market's price.
    pub(super) fn market_asks(&mut self, price: GasPrice) {
        self.market = Some(price);
    }

    /// What is offered for a unit of gas.
    pub(in crate::ibc) fn price(&self, config: &CosmosConfig, now: UnixMillis) -> GasPrice {
        let (least, most) = (&config.gas.price, &config.paying.max_price);
        let market = self.market.as_ref().map(|price| price.times_permille(MARKET_MARGIN));
        let mut price = market.filter(|price| least.is_below(price)).unwrap_or(least.clone());
        if let Some((raised, until)) = self.raised
            && now < until
        {
            price = price.times_permille(raised);
        }
        if most.is_below(&price) { most.clone() } else { price }
    }

    /// What is offered for so much gas.
    pub(super) fn fee(&self, gas: u64, config: &CosmosConfig, now: UnixMillis) -> Fee {
        self.price(config, now).fee_of(gas)
    }

    /// A pool took no transaction at the price of `now`: the next ones offer more, up to what is allowed.
    pub(in crate::ibc) fn refused(&mut self, config: &CosmosConfig, now: UnixMillis) {
        if !self.price(config, now).is_below(&config.paying.max_price) {
            self.too_dear = Some(UnixMillis(now.0.saturating_add(TOO_DEAR)));
            return;
        }
        let raised =
            self.raised.filter(|(_, until)| now < *until).map_or(1000, |(raised, _)| raised);
        let raised = raised.saturating_mul(MORE_PRICE).div_ceil(1000);
        self.raised = Some((raised, UnixMillis(now.0.saturating_add(STAYS_RAISED))));
    }

    /// Whether the highest price that is allowed was refused a moment ago.
    pub(super) fn is_too_dear(&self, now: UnixMillis) -> bool {
        self.too_dear.is_some_and(|until| now < until)
    }
}

impl Outgoing {
    /// The kind of its messages.
    pub(super) fn kind(&self) -> &str {
        self.messages.first().map_or("", messages::kind)
    }

    fn bytes_gas(&self) -> u64 {
        self.messages.iter().map(bytes_gas).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
