//! The section of a network that is known: its facts are in use, what only the operator knows is
//! asked for.

use postrider_evm::{
    Finality,
    presets::{DataFee, Preset},
};
use postrider_layerzero::presets as layerzero;

/// The section for `preset`.
pub(super) fn section(preset: &Preset) -> String {
    let name = preset.name;
    let text = NETWORK.replace("{known}", &facts(preset)) + &deployment(preset);
    text.replace("{name}", name)
        .replace("{title}", preset.title)
        .replace("{NAME}", &name.to_uppercase().replace('-', "_"))
        .replace("{chain_id}", &preset.chain_id.to_string())
        .replace("{finality}", &finality(preset.finality))
        .replace("{final_when}", preset.final_when)
        .replace("{poll_ms}", &poll_ms(preset).to_string())
}

/// What is known of the network beyond its settings, one comment a fact.
fn facts(preset: &Preset) -> String {
    let mut facts = Vec::new();
    if let Some(why) = preset.watch_only {
        facts.push(format!("It may only be watched: {why}."));
    }
    match preset.block_time_ms {
        Some(ms) => facts.push(format!("A block comes about every {ms} ms.")),
        None => facts.push("Its validators set the time between blocks.".to_owned()),
    }
    if let Some(gas) = preset.transaction_gas_cap {
        facts.push(format!("A transaction may ask for {gas} gas at most."));
    }
    if preset.min_tip > 1 {
        let gwei = preset.min_tip / 1_000_000_000;
        facts.push(format!("Its nodes take no tip below {gwei} gwei; none is offered."));
    }
    match preset.data_fee {
        DataFee::None => {}
        DataFee::OnTop => facts.push("Data posted to Ethereum costs extra, beyond gas.".to_owned()),
        DataFee::InGas => facts.push("Data posted to Ethereum is charged as gas.".to_owned()),
    }
    facts.iter().map(|fact| format!("## {fact}\n")).collect()
}

fn finality(rule: Finality) -> String {
    match rule {
        Finality::Finalized => "\"finalized\"".to_owned(),
        Finality::Safe => "\"safe\"".to_owned(),
        Finality::Confirmations(n) => format!("{{ confirmations = {n} }}"),
    }
}

/// Twice a block, but neither so often that upstreams mind nor so seldom that it costs time.
fn poll_ms(preset: &Preset) -> u64 {
    preset.block_time_ms.map_or(1000, |ms| (ms / 2).clamp(500, 3000))
}

/// LayerZero on the network; nothing where its contracts are not known.
fn deployment(preset: &Preset) -> String {
    let Some(known) = layerzero::by_chain_id(preset.chain_id) else {
        return String::new();
    };
    let send_libraries = match preset.watch_only {
        None => format!("send_libraries = [\"{}\"]\n", known.send_library),
        Some(_) => "## None is named: no work is taken from a network that may only be watched.\n\
                    ## send_libraries = []\n"
            .to_owned(),
    };
    let signing = if preset.watch_only.is_none() { SIGNING } else { "" };
    LAYERZERO
        .replace("{send_libraries}", &send_libraries)
        .replace("{eid}", &known.eid.to_string())
        .replace("{endpoint}", &known.endpoint.to_string())
        .replace("{receive_library}", &known.receive_library.to_string())
        + &signing
            .replace("{dvn}", &known.dvn.to_string())
            .replace("{executor}", &known.executor.to_string())
}

const NETWORK: &str = r###"
## ---------------------------------------------------------------------------------------------
## {name}: {title}
## ---------------------------------------------------------------------------------------------
##
{known}
[networks.{name}]
kind = "evm"
chain_id = {chain_id}
## How many operators of upstreams must agree before anything is believed: more than half of them.
quorum = 2
## A block is final when {final_when}.
finality = {finality}
poll_ms = {poll_ms}
## The first block to read when the node starts for the first time. Default: the newest final one.
# start_height = 0
## The most that is paid for a unit of gas, tip included, in gwei. Default: 500.
# max_fee_gwei = 500
## The key that pays for transactions there; `postrider keys new {name}-payer` makes it. Needed for
## the roles "attest" and "execute". It must not be one of the DVN's keys.
# signer = "{name}-payer"

## Fill in: three upstreams, of operators who are independent of each other, one of them yourself if
## you can. Whoever runs as many of them as `quorum` says decides what this node believes. They must
## serve eth_getBlockReceipts. Each variable holds a URL; write url = "…" where it is no secret.
[[networks.{name}.upstreams]]
name = "first"
operator = "operator-a"
url_env = "{NAME}_RPC_URL_1"

[[networks.{name}.upstreams]]
name = "second"
operator = "operator-b"
url_env = "{NAME}_RPC_URL_2"

[[networks.{name}.upstreams]]
name = "third"
operator = "operator-c"
url_env = "{NAME}_RPC_URL_3"
"###;

const LAYERZERO: &str = r###"
## LayerZero V2 on {name}: its own contracts.
[layerzero.{name}]
eid = {eid}
endpoint = "{endpoint}"
## The libraries whose word on paid fees is taken.
{send_libraries}## The libraries that are signed for.
receive_libraries = ["{receive_library}"]
## What this node does for messages that arrive there.
roles = ["watch"]
"###;

const SIGNING: &str = r###"## To verify or to deliver: roles = ["attest", "execute"], `signer` above, and your own DVN and executor
## here. LayerZero Labs runs the DVN {dvn}
## and the executor {executor}; their jobs are not yours.
# dvn = { address = "0x4444444444444444444444444444444444444444", keys = ["{name}-dvn"] }
# executor = "0x5555555555555555555555555555555555555555"
## The least depth, in blocks, at which a message that arrives there is attested, even if its receiver
## asks for less. Default: 1.
# min_confirmations = 1
"###;

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_evm::presets;
    use postrider_node::Config;
    use std::path::Path;

    /// The placeholders filled: every variable that holds a URL is one.
    fn filled(text: &str) -> String {
        let lines = text.lines().map(|line| match line.strip_prefix("url_env = ") {
            Some(_) => "url = \"https://node.example\"",
            None => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn parse(text: &str) -> Result<Config, postrider_node::ConfigError> {
        Config::parse(text, Path::new("postrider.toml"), Path::new("/tmp"))
    }

    #[test]
    fn every_preset_is_a_configuration_once_its_upstreams_are_filled_in() {
        for preset in presets::all() {
            let text = section(preset);
            let mut braces = text.split('{').skip(1);
            assert!(braces.all(|rest| rest.starts_with(' ')), "a placeholder is left: {text}");
            let config = parse(&filled(&text)).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let name = preset.name.parse().unwrap();
            let network = &config.networks[&name];
            assert_eq!((network.chain_id, network.finality), (preset.chain_id, preset.finality));
            assert_eq!((network.upstreams.len(), network.policy.configured()), (3, 3));
            assert_eq!(network.fees.min_tip, preset.min_tip);
            let known = layerzero::by_chain_id(preset.chain_id).unwrap();
            let deployment = config.deployments.on(&name).unwrap();
            assert_eq!((deployment.eid, deployment.endpoint), (known.eid, known.endpoint));
            assert_eq!(deployment.receive_libraries, [known.receive_library]);
            assert_eq!(deployment.send_libraries.is_empty(), preset.watch_only.is_some());
        }
    }

    #[test]
    fn all_presets_together_are_one_configuration() {
        let text: String = presets::all().iter().map(section).collect();
        assert_eq!(parse(&filled(&text)).unwrap().networks.len(), presets::all().len());
    }

    /// As it is written, what is missing is named: the variables of the upstreams.
    #[test]
    fn as_it_is_written_the_upstreams_are_asked_for() {
        let error = parse(&section(&presets::all()[0])).unwrap_err();
        assert!(error.to_string().contains("ETHEREUM_RPC_URL_1"), "{error}");
    }

    #[test]
    fn with_its_roles_a_preset_signs_unless_it_may_only_be_watched() {
        for preset in presets::all() {
            let text = filled(&section(preset))
                .replace("roles = [\"watch\"]", "roles = [\"attest\", \"execute\"]")
                .replace("\n# ", "\n");
            let parsed = parse(&text);
            assert_eq!(parsed.is_err(), preset.watch_only.is_some(), "{}", preset.name);
            if let Err(error) = parsed {
                assert!(error.to_string().contains("may only be watched"), "{error}");
            }
        }
    }

    #[test]
    fn polling_keeps_pace_with_the_chain() {
        let poll = |name: &str| poll_ms(presets::by_name(name).unwrap());
        assert_eq!(["ethereum", "base", "arbitrum"].map(poll), [3000, 1000, 500]);
        assert_eq!(poll("avalanche"), 1000);
    }
}
