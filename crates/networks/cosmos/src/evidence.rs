//! Evidence against validators who signed two chains, for the chain that punishes them (CometBFT RPC
//! `broadcast_evidence`).

use crate::upstream::Upstream;
use postrider_jsonrpc::UpstreamError;
use postrider_verification::tendermint::{Attack, Misbehaviour};
use serde_json::{Value, json};
use tendermint::validator::Info;

impl Upstream {
    /// Hands in what convicts validators of having signed two chains. A node takes what is about the
    /// chain that is not its own, so that it is enough if one of the two is taken. One that knows it
    /// already takes it again.
    ///
    /// # Errors
    /// [`UpstreamError`] if neither is taken; the node's words for the last.
    pub async fn convict(&self, misbehaviour: &Misbehaviour) -> Result<(), UpstreamError> {
        let mut error = UpstreamError::Missing("a kind of misbehaviour that CometBFT punishes");
        for attack in misbehaviour.attacks() {
            let params = json!({ "evidence": evidence(&attack) });
            match self.ask::<Value>("broadcast_evidence", params).await {
                Ok(_) => return Ok(()),
                Err(said) => error = said,
            }
        }
        Err(error)
    }
}

/// `LightClientAttackEvidence` as CometBFT's JSON has it: fields without names of their own have Go's.
fn evidence(attack: &Attack<'_>) -> Value {
    let set = attack.conflicting.validators();
    let validators: Vec<Value> = set.validators().iter().map(validator).collect();
    json!({
        "type": "tendermint/LightClientAttackEvidence",
        "value": {
            "ConflictingBlock": {
                "signed_header": attack.conflicting.signed_header(),
                "validator_set": {
                    "validators": validators,
                    "proposer": set.proposer().as_ref().map(validator),
                },
            },
            "CommonHeight": attack.common_height.to_string(),
            "ByzantineValidators": attack.byzantine.iter().map(|v| validator(v)).collect::<Vec<_>>(),
            "TotalVotingPower": attack.total_power.to_string(),
            "Timestamp": attack.time,
        },
    })
}

fn validator(info: &Info) -> Value {
    json!({
        "address": info.address,
        "pub_key": info.pub_key,
        "voting_power": info.power().to_string(),
        "proposer_priority": "0",
    })
}
