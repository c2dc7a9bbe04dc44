//! What is deployed, and how the workers are configured.

use alloy_primitives::Address;

use crate::error::DevnetError;

/// The LayerZero deployment, the same on every chain of a development network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerZeroPlan {
    /// The DVNs. Each is one contract a chain.
    pub dvns: Vec<DvnPlan>,
    /// Indexes into `dvns` of those that must attest every message; with none named, all that are
    /// not optional.
    pub required: Option<Vec<usize>>,
    /// Indexes into `dvns` of those of which `optional_threshold` must attest.
    pub optional: Vec<usize>,
    /// How many of the optional DVNs must attest; 0 only without optional ones.
    pub optional_threshold: u8,
    /// Who may call the Executor, besides the deployer.
    pub executor_admins: Vec<Address>,
    /// How many blocks a DVN must have seen on top, in the send and the receive configuration.
    pub confirmations: u64,
    /// Deploys a Treasury that takes this share of all fees, in basis points.
    pub treasury_bps: Option<u16>,
}

/// One DVN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DvnPlan {
    /// Who may sign for it, without repetition.
    pub signers: Vec<Address>,
    /// How many of them must sign.
    pub quorum: u64,
    /// Who may call `execute`, besides the deployer.
    pub admins: Vec<Address>,
}

impl DvnPlan {
    /// A DVN with one signer, who also submits.
    #[must_use]
    pub fn single(signer: Address) -> Self {
        Self { signers: vec![signer], quorum: 1, admins: vec![signer] }
    }
}

impl LayerZeroPlan {
    /// All DVNs required, one confirmation, no treasury.
    #[must_use]
    pub fn new(dvns: Vec<DvnPlan>, executor_admins: Vec<Address>) -> Self {
        Self {
            dvns,
            required: None,
            optional: Vec::new(),
            optional_threshold: 0,
            executor_admins,
            confirmations: 1,
            treasury_bps: None,
        }
    }

    /// The indexes of the required DVNs.
    pub(crate) fn required_indexes(&self) -> Vec<usize> {
        self.required.clone().unwrap_or_else(|| {
            (0..self.dvns.len()).filter(|index| !self.optional.contains(index)).collect()
        })
    }

    /// Finds what the contracts would refuse with a bare revert.
    pub(crate) fn check(&self) -> Result<(), DevnetError> {
        let refuse = |reason: String| Err(DevnetError::Plan(reason));
        for (index, dvn) in self.dvns.iter().enumerate() {
            let mut distinct = dvn.signers.clone();
            distinct.sort();
            distinct.dedup();
            if distinct.len() != dvn.signers.len() || distinct.contains(&Address::ZERO) {
                return refuse(format!("DVN {index} names a signer twice, or the zero address"));
            }
            if dvn.quorum == 0 || dvn.quorum > distinct.len() as u64 {
                let signers = distinct.len();
                return refuse(format!(
                    "DVN {index} has {signers} signers and a quorum of {}; use 1 to {signers}",
                    dvn.quorum
                ));
            }
        }
        let required = self.required_indexes();
        for list in [&required, &self.optional] {
            let mut distinct = list.clone();
            distinct.sort_unstable();
            distinct.dedup();
            if distinct.len() != list.len()
                || distinct.last().is_some_and(|i| *i >= self.dvns.len())
            {
                return refuse(format!(
                    "the DVN indexes {list:?} must be distinct and below {}",
                    self.dvns.len()
                ));
            }
        }
        let threshold = usize::from(self.optional_threshold);
        if threshold > self.optional.len() || (threshold == 0) != self.optional.is_empty() {
            return refuse(format!(
                "{threshold} of {} optional DVNs; use 1 to their number, or 0 without any",
                self.optional.len()
            ));
        }
        if required.is_empty() && threshold == 0 {
            return refuse("no DVN is required and none is optional; name at least one".to_owned());
        }
        if self.dvns.len() > 30 {
            return refuse(format!("{} DVNs; use at most 30", self.dvns.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dvn(signers: &[u8], quorum: u64) -> DvnPlan {
        let signers = signers.iter().map(|byte| Address::repeat_byte(*byte)).collect();
        DvnPlan { signers, quorum, admins: Vec::new() }
    }

    fn plan(required: Option<Vec<usize>>, optional: Vec<usize>, threshold: u8) -> LayerZeroPlan {
        LayerZeroPlan {
            required,
            optional,
            optional_threshold: threshold,
            ..LayerZeroPlan::new(vec![dvn(&[1], 1), dvn(&[1, 2], 2), dvn(&[3], 1)], Vec::new())
        }
    }

    #[test]
    fn plans_are_checked() {
        for (good, required) in [
            (plan(None, vec![], 0), vec![0, 1, 2]),
            (plan(None, vec![2, 1], 1), vec![0]),
            (plan(Some(vec![]), vec![0, 1, 2], 2), vec![]),
            (plan(Some(vec![1]), vec![1], 1), vec![1]),
        ] {
            good.check().unwrap();
            assert_eq!(good.required_indexes(), required);
        }
        let with = |dvns| LayerZeroPlan::new(dvns, Vec::new());
        for (name, bad) in [
            ("index", plan(Some(vec![3]), vec![], 0)),
            ("twice", plan(Some(vec![1, 1]), vec![], 0)),
            ("threshold above", plan(None, vec![1], 2)),
            ("threshold alone", plan(None, vec![], 1)),
            ("optional alone", plan(None, vec![1], 0)),
            ("nobody", plan(Some(vec![]), vec![], 0)),
            ("no DVN", with(vec![])),
            ("no quorum", with(vec![dvn(&[1], 0)])),
            ("quorum", with(vec![dvn(&[1], 2)])),
            ("signer twice", with(vec![dvn(&[1, 1], 1)])),
            ("zero signer", with(vec![dvn(&[0], 1)])),
            ("too many", with(vec![dvn(&[1], 1); 31])),
        ] {
            assert!(matches!(bad.check(), Err(DevnetError::Plan(_))), "{name}");
        }
    }
}
