//! `postrider init`.

use super::ConfigFile;
use crate::{failure::Failure, output::Output};
use clap::Args;
use postrider_message::NetworkName;
use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::Path,
};

/// Writes a configuration to begin with, in which every setting is explained.
///
/// The networks in it are examples, and commented out.
#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    config: ConfigFile,
    /// Overwrite the file if there is one.
    #[arg(long)]
    force: bool,
    /// A network to write an example of, with its EIP-155 chain id: `--network base=8453`. Can be
    /// given several times.
    #[arg(long = "network", value_name = "NAME=CHAINID", value_parser = example)]
    networks: Vec<Example>,
}

/// A network to write an example of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Example {
    name: NetworkName,
    chain_id: u64,
}

fn example(text: &str) -> Result<Example, String> {
    let (name, chain_id) =
        text.split_once('=').ok_or("write NAME=CHAINID, for example base=8453")?;
    Ok(Example {
        name: name.parse().map_err(|e| format!("{e}"))?,
        chain_id: chain_id
            .parse()
            .map_err(|_| format!("`{chain_id}` is not a chain id; it is a number"))?,
    })
}

impl Init {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if there is a file already, two examples have one name, or the file cannot be
    /// written.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        let mut networks = self.networks;
        if networks.is_empty() {
            let defaults = ["ethereum=1", "base=8453"].map(example);
            networks.extend(defaults.into_iter().flatten());
        }
        let text = configuration(&networks)?;
        let path = &self.config.config;
        write(path, &text, self.force)?;
        output.line(&format!("wrote {}", path.display()));
        output.line("");
        let next = next(path);
        output.line("next:");
        for (number, step) in (1..).zip(&next) {
            output.line(&format!("  {number}. {step}"));
        }
        output.document(&serde_json::json!({ "config": path, "next": next }));
        Ok(())
    }
}

fn next(path: &Path) -> Vec<String> {
    let option = if path == Path::new("postrider.toml") {
        String::new()
    } else {
        format!(" --config {}", path.display())
    };
    vec![
        format!("edit {}: your networks, upstreams and contracts", path.display()),
        format!(
            "postrider keys new NAME{option} for each `signer`, and with --purpose attest for each \
             of the DVN's keys"
        ),
        format!("postrider check{option}"),
        format!("postrider start{option}"),
    ]
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let what = || format!("writing {}", path.display());
    let mut options = OpenOptions::new();
    // Without --force the system itself refuses an existing file, so none is lost to a race.
    let options = options.write(true).create(force).truncate(force).create_new(!force);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failure::Other(format!(
                "{} is there already and was left as it is; name another file with --config, or \
                 overwrite it with --force",
                path.display()
            )));
        }
        Err(error) => return Err(Failure::io(what())(error)),
    };
    file.write_all(text.as_bytes()).map_err(Failure::io(what()))
}

/// The whole file. A line that begins with `##` explains; one that begins with `# ` is a setting
/// that counts once `# ` is taken away.
fn configuration(networks: &[Example]) -> Result<String, Failure> {
    let mut text = HEAD.to_owned();
    let mut seen = Vec::new();
    for (number, network) in (1..).zip(networks) {
        if seen.contains(&&network.name) {
            let name = &network.name;
            return Err(Failure::Other(format!(
                "--network names {name} twice; give each its own name"
            )));
        }
        seen.push(&network.name);
        let known = EIDS.iter().find(|(chain_id, _)| *chain_id == network.chain_id);
        let eid = known.map_or(30_000 + number, |(_, eid)| *eid);
        let name = network.name.as_str();
        let section = NETWORK
            .replace("{name}", name)
            .replace("{NAME}", &name.to_uppercase().replace('-', "_"))
            .replace("{chain_id}", &network.chain_id.to_string())
            .replace("{eid}", &eid.to_string());
        text.push_str(&section);
    }
    Ok(text)
}

/// LayerZero's endpoint ids of some chains, by chain id.
const EIDS: [(u64, u32); 5] =
    [(1, 30_101), (10, 30_111), (8453, 30_184), (42_161, 30_110), (11_155_111, 40_161)];

const HEAD: &str = r###"## The configuration of a Postrider node.
##
## Lines that begin with "##" explain. Lines that begin with a single "#" are examples: take the "# "
## away to use them. `postrider check` compares this file with the networks and says what is wrong.

[node]
## The folder of the message store, the keys and their signing journals, relative to this file.
## Default: "data".
data = "data"
"###;

const NETWORK: &str = r###"
## ---------------------------------------------------------------------------------------------
## {name}
## ---------------------------------------------------------------------------------------------

# [networks.{name}]
## The kind of chain: "evm".
# kind = "evm"
## The chain's EIP-155 id. An upstream that serves another chain is not listened to.
# chain_id = {chain_id}
## How many operators of upstreams must agree before anything is believed: more than half of them.
## Upstreams of one operator count once.
# quorum = 2
## When a block counts as final: "finalized" or "safe", as the chain itself says, or
## { confirmations = N }, when N blocks stand on top of it. Messages in blocks that are not final are
## never attested.
# finality = "finalized"
## How often upstreams are asked for news, in milliseconds, 20 to 60000. Default: 1000.
# poll_ms = 1000
## The first block to read when the node starts for the first time. Default: the newest final one.
# start_height = 0
## The most that is paid for a unit of gas, tip included, in gwei. Default: 500.
# max_fee_gwei = 500
## The key that pays for transactions there; `postrider keys new {name}-payer` makes it. Needed for
## the roles "attest" and "execute". It must not be one of the DVN's keys.
# signer = "{name}-payer"

## The upstreams: RPC nodes, of two or more operators who are independent of each other. Whoever runs
## as many of them as `quorum` says decides what this node believes, so one should be your own.
# [[networks.{name}.upstreams]]
# name = "own"
# operator = "self"
## Its URL; or, if it holds a secret, url_env = "{NAME}_RPC_URL": the variable that holds it.
# url = "http://127.0.0.1:8545"
## The longest that a request may take, in milliseconds. Default: 10000.
# timeout_ms = 10000
## The most requests a second. Default: no limit.
# requests_per_second = 25
## The most calls in a request, 1 to 1000. Default: 100.
# batch = 100

# [[networks.{name}.upstreams]]
# name = "second"
# operator = "operator-b"
# url = "https://{name}.operator-b.example"

# [[networks.{name}.upstreams]]
# name = "third"
# operator = "operator-c"
# url = "https://{name}.operator-c.example"

## LayerZero V2 on {name}. The addresses here are made up: LayerZero lists its own for each chain, and
## the DVN and the executor are yours.
# [layerzero.{name}]
## The endpoint's id.
# eid = {eid}
## EndpointV2. Only its events are taken for messages.
# endpoint = "0x1111111111111111111111111111111111111111"
## The send libraries (SendUln302) whose word on paid fees is taken. Default: none.
# send_libraries = ["0x2222222222222222222222222222222222222222"]
## The receive libraries (ReceiveUln302) that are signed for. Default: none; needed for "attest".
# receive_libraries = ["0x3333333333333333333333333333333333333333"]
## What this node does for messages that arrive there: "attest" as a DVN, "execute" as an executor,
## "watch" and sign nothing. Default: none.
# roles = ["attest", "execute"]
## Our DVN there, and the keys that sign for it: as many as its quorum needs, each used on this network
## alone; `postrider keys new {name}-dvn --purpose attest` makes one. Needed for "attest".
# dvn = { address = "0x4444444444444444444444444444444444444444", keys = ["{name}-dvn"] }
## The executor whose jobs are ours. Needed for "execute".
# executor = "0x5555555555555555555555555555555555555555"
## The least depth, in blocks, at which a message that arrives there is attested, even if its receiver
## asks for less. Default: 1.
# min_confirmations = 1
"###;

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_node::Config;

    fn networks(list: &[&str]) -> Vec<Example> {
        list.iter().map(|text| example(text).unwrap()).collect()
    }

    /// The file with every example in use.
    fn in_use(text: &str) -> String {
        let lines: Vec<&str> =
            text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        lines.join("\n")
    }

    #[test]
    fn the_examples_are_valid_when_they_are_used() {
        let text = configuration(&networks(&["ethereum=1", "base=8453", "my-chain=77"])).unwrap();
        let config =
            Config::parse(&in_use(&text), Path::new("postrider.toml"), Path::new("/tmp")).unwrap();
        let names: Vec<&str> = config.networks.keys().map(NetworkName::as_str).collect();
        assert_eq!(names, ["base", "ethereum", "my-chain"]);
        assert_eq!(config.layerzero.len(), 3);
        let base = &config.networks[&"base".parse().unwrap()];
        assert_eq!((base.chain_id, base.upstreams.len()), (8453, 3));
        let deployment = config.deployments.on(&"base".parse().unwrap()).unwrap();
        assert_eq!(deployment.eid.0, 30_184);
    }

    /// As it is written it names no network yet, and that is all that is wrong with it.
    #[test]
    fn as_it_is_written_only_networks_are_missing() {
        let text = configuration(&networks(&["ethereum=1"])).unwrap();
        let error = Config::parse(&text, Path::new("f"), Path::new(".")).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(error.problems[0].what.contains("no network"), "{error}");
    }

    /// What the file calls a default is the default: leaving it out changes nothing.
    #[test]
    fn the_defaults_it_names_are_the_defaults() {
        let full = in_use(&configuration(&networks(&["base=8453"])).unwrap());
        let lines: Vec<&str> = full.lines().collect();
        let with_defaults = ["data", "poll_ms", "max_fee_gwei", "timeout_ms", "batch", "min_conf"];
        let short: Vec<&str> = lines
            .iter()
            .filter(|line| !with_defaults.iter().any(|setting| line.starts_with(setting)))
            .copied()
            .collect();
        assert_eq!(lines.len() - short.len(), with_defaults.len());
        let parse = |lines: &[&str]| {
            let config = Config::parse(&lines.join("\n"), Path::new("f"), Path::new("."));
            format!("{:?}", config.unwrap())
        };
        assert_eq!(parse(&short), parse(&lines));
    }

    #[test]
    fn an_existing_file_is_overwritten_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postrider.toml");
        write(&path, "a longer text", false).unwrap();
        let error = write(&path, "new", false).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a longer text");
        write(&path, "new", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        let nowhere = folder.path().join("none").join("postrider.toml");
        assert!(matches!(write(&nowhere, "", false), Err(Failure::Io { .. })));
    }

    #[test]
    fn networks_on_the_command_line_are_checked() {
        assert_eq!(networks(&["base=8453"])[0].chain_id, 8453);
        for bad in ["base", "Base=1", "base=", "base=x", "=1"] {
            assert!(example(bad).is_err(), "{bad}");
        }
        assert!(configuration(&networks(&["a=1", "a=2"])).is_err());
    }
}
