//! What an account can pay for.

use crate::bundle::Outgoing;
use alloy_primitives::U256;
use std::collections::HashSet;

/// Calls by whether an account can pay for them.
#[derive(Debug, Default)]
pub(crate) struct Afforded {
    /// It can, in their order.
    pub(crate) able: Vec<Outgoing>,
    /// It has too little for these.
    pub(crate) unable: Vec<Outgoing>,
    /// What goes over the pathways of those may build on them: to be planned again without them.
    pub(crate) behind: usize,
}

/// What a call may cost at worst, in wei.
pub(crate) fn cost(max_fee: u128, gas_limit: u64, value: U256) -> U256 {
    U256::from(max_fee).saturating_mul(U256::from(gas_limit)).saturating_add(value)
}

/// Divides calls by whether `left` wei pay for them at this price. R6: one that is too dear takes nothing
/// from those over other pathways.
pub(crate) fn afford(calls: Vec<Outgoing>, max_fee: u128, mut left: U256) -> Afforded {
    let mut afforded = Afforded::default();
    let mut stopped = HashSet::new();
    for call in calls {
        let mut pathways = call.steps.iter().map(|(_, step)| step.pathway());
        if pathways.any(|pathway| stopped.contains(&pathway)) {
            afforded.behind += 1;
            continue;
        }
        match left.checked_sub(cost(max_fee, call.payload.gas_limit, call.payload.value)) {
            Some(rest) => {
                left = rest;
                afforded.able.push(call);
            }
            None => {
                stopped.extend(call.steps.iter().map(|(_, step)| step.pathway()));
                afforded.unable.push(call);
            }
        }
    }
    afforded
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256, Bytes};
    use postrider_evm::transaction::Payload;
    use postrider_layerzero::{plan::AheadStep, view::Pathway};
    use postrider_message::{DutyId, DutyKind};

    fn call(pathways: &[u8], value: u64) -> Outgoing {
        let step = |n: &u8| {
            let end = Address::repeat_byte(*n);
            let pathway = Pathway { src_eid: 1, sender: end.into_word(), receiver: end };
            (DutyId(B256::repeat_byte(*n)), AheadStep::new(pathway, 1, DutyKind::Execute))
        };
        let payload = Payload {
            to: Address::ZERO,
            data: Bytes::new(),
            value: U256::from(value),
            gas_limit: 10,
        };
        let steps: Vec<_> = pathways.iter().map(step).collect();
        let duties = steps.iter().map(|(duty, _)| *duty).collect();
        Outgoing { payload, duties, purpose: String::new(), steps, expected_gas: 10 }
    }

    fn values(calls: &[Outgoing]) -> Vec<u64> {
        calls.iter().map(|call| call.payload.value.to()).collect()
    }

    #[test]
    fn r6_what_is_too_dear_takes_nothing_from_other_pathways() {
        let calls = vec![call(&[1], 5), call(&[2], 900), call(&[2], 6), call(&[3], 7)];
        // Each takes 10 gas at 2 wei beside its value.
        let Afforded { able, unable, behind } = afford(calls, 2, U256::from(100));
        assert_eq!((values(&able), values(&unable), behind), (vec![5, 7], vec![900], 1));
    }

    #[test]
    fn no_more_is_promised_than_there_is() {
        let calls = vec![call(&[1], 30), call(&[2], 30), call(&[3], 30)];
        let Afforded { able, unable, behind } = afford(calls.clone(), 2, U256::from(100));
        assert_eq!((values(&able), values(&unable), behind), (vec![30, 30], vec![30], 0));
        let Afforded { able, unable, .. } = afford(calls, 2, U256::ZERO);
        assert_eq!((able.len(), unable.len()), (0, 3));
    }
}
