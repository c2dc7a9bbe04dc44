//! Hands transactions in, and reads what pools say of them.

use super::{Submitter, To};
use futures::{FutureExt, future::join_all};
use postrider_cosmos::{CheckTx, Need, UpstreamError};

impl Submitter {
    /// Hands transactions in to one upstream; to all, where that one refuses them for a reason of its own.
    pub(super) async fn hand_in(
        &self,
        raw: &[&[u8]],
        to: To,
    ) -> Result<Vec<CheckTx>, UpstreamError> {
        let upstreams = &self.network.upstreams;
        if to == To::One {
            let told = upstreams
                .first(Need::Newest, |u| async move { u.broadcast_all(raw).await }.boxed());
            let told = told.await?;
            if !told.iter().any(is_of_the_node) {
                return Ok(told);
            }
        }
        let usable = upstreams.by_preference();
        let nobody = UpstreamError::Unreachable("no upstream is usable now".into());
        let mut best: Result<Vec<CheckTx>, _> = Err(nobody);
        for told in join_all(usable.iter().map(|u| u.broadcast_all(raw))).await {
            best = match (best, told) {
                // What one of them takes is on its way.
                (Ok(best), Ok(told)) => {
                    let better = |(a, b)| if why_refused(&a).is_none() { a } else { b };
                    Ok(best.into_iter().zip(told).map(better).collect())
                }
                (Ok(best), Err(_)) => Ok(best),
                (Err(_), told) => told,
            };
        }
        best
    }
}

/// Whether a node refuses what another one may take.
fn is_of_the_node(told: &CheckTx) -> bool {
    match told {
        CheckTx::MempoolFull | CheckTx::TooLarge(_) | CheckTx::InsufficientFee(_) => true,
        CheckTx::Other { codespace, .. } => codespace.is_empty(),
        _ => false,
    }
}

/// Why a pool did not take a transaction; `None` if it did.
pub(super) fn why_refused(told: &CheckTx) -> Option<String> {
    Some(match told {
        CheckTx::Accepted(_) | CheckTx::InCache => return None,
        CheckTx::SequenceMismatch { expected, got } => {
            format!("the account is at sequence {expected:?}, not {got:?}")
        }
        CheckTx::InsufficientFee(why) => format!("the fee is too small: {why}"),
        CheckTx::InsufficientFunds(why) => format!("the account has too little: {why}"),
        CheckTx::MempoolFull => "the pool is full".to_owned(),
        CheckTx::TooLarge(why) => format!("it is too large: {why}"),
        CheckTx::Redundant => "others have done it already".to_owned(),
        CheckTx::Other { codespace, code, log } => format!("{codespace} {code}: {log}"),
    })
}
