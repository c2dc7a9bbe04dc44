//! Escrow and vouchers in a list.

use postrider_message::UnixMillis;
use postrider_store::{EscrowList, EscrowRow};
use serde::Serialize;

/// A token that was sent over IBC: what is kept for it, and its vouchers, in its smallest unit, as decimal
/// numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EscrowReport {
    /// From where the token is kept to where its vouchers are.
    pub lane: String,
    /// Its way and its name, as the destination has them.
    pub denom: String,
    /// How much of it is kept.
    pub escrow: String,
    /// How much of the voucher there is.
    pub vouchers: String,
    /// Whether there is as much of the one as of the other.
    pub even: bool,
    /// Whether there are more vouchers than is kept for them.
    pub breached: bool,
    /// For how many seconds the last alarm over it has been raised.
    pub alarm_seconds: Option<f64>,
    /// The source's block whose state was read.
    pub source_height: u64,
    /// The destination's block whose state was read.
    pub destination_height: u64,
    /// Seconds since then.
    pub age_seconds: f64,
}

/// Tokens that were sent over IBC, breaches first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EscrowReports {
    /// The tokens.
    pub escrows: Vec<EscrowReport>,
    /// How many more there are.
    pub more: u64,
}

impl EscrowReports {
    /// Tokens as they are shown at `now`.
    #[must_use]
    pub fn new(list: &EscrowList, now: UnixMillis) -> Self {
        let escrows = list.escrows.iter().map(|row| EscrowReport::new(row, now)).collect();
        Self { escrows, more: list.more }
    }
}

impl EscrowReport {
    fn new(row: &EscrowRow, now: UnixMillis) -> Self {
        Self {
            lane: row.lane.to_string(),
            denom: row.denom.clone(),
            escrow: row.escrow.to_string(),
            vouchers: row.vouchers.to_string(),
            even: row.escrow == row.vouchers,
            breached: row.is_breached(),
            alarm_seconds: row.breached.map(|at| now.seconds_since(at)),
            source_height: row.source_height.0,
            destination_height: row.destination_height.0,
            age_seconds: now.seconds_since(row.at),
        }
    }
}
