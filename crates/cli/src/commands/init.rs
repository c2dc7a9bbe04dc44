//! `postrider init`.

mod cosmos;
mod known;

use super::ConfigFile;
use crate::{failure::Failure, output::Output};
use clap::Args;
use postrider_evm::presets::{self, Preset};
use postrider_message::NetworkName;
use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::Path,
};

/// Writes a configuration to begin with, in which every setting is explained.
///
/// A network that is known is written with its facts, and asks for upstreams. Others are examples,
/// and commented out.
#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    config: ConfigFile,
    /// Overwrite the file if there is one.
    #[arg(long)]
    force: bool,
    /// A network: one that is known (ethereum, arbitrum, polygon, base, optimism, bnb, avalanche),
    /// or any other as an example, with its EIP-155 chain id: `--network my-chain=77`. Can be given
    /// several times.
    #[arg(long = "network", value_name = "NAME[=CHAINID]", value_parser = choice)]
    networks: Vec<Choice>,
    /// A Cosmos network, with its chain id, as an example: `--cosmos hub=cosmoshub-4`. With the URLs of
    /// CometBFT RPC nodes, of operators who are independent of each other, it is filled in from what they
    /// tell: `--cosmos hub=cosmoshub-4@https://one.example,https://two.example`. Can be given several
    /// times.
    #[arg(long, value_name = "NAME=CHAINID[@URL,…]", value_parser = cosmos::wanted)]
    cosmos: Vec<cosmos::Wanted>,
}

/// A network to write.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    /// One that is known, with its facts.
    Known(&'static Preset),
    /// Any, as an example.
    Example(Example),
}

impl Choice {
    fn name(&self) -> &str {
        match self {
            Self::Known(preset) => preset.name,
            Self::Example(example) => example.name.as_str(),
        }
    }
}

fn choice(text: &str) -> Result<Choice, String> {
    if text.contains('=') {
        return example(text).map(Choice::Example);
    }
    presets::by_name(text).map(Choice::Known).ok_or_else(|| {
        let known: Vec<&str> = presets::all().iter().map(|preset| preset.name).collect();
        format!(
            "`{text}` is not known; known are {}; write NAME=CHAINID for an example of any other",
            known.join(", ")
        )
    })
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
    /// [`Failure`] if there is a file already, two networks have one name, a Cosmos network's nodes do
    /// not tell what is asked, or the file cannot be written.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let mut networks = self.networks;
        if networks.is_empty() && self.cosmos.is_empty() {
            let defaults = ["ethereum=1", "base=8453"].map(choice);
            networks.extend(defaults.into_iter().flatten());
        }
        distinct(&networks, &self.cosmos)?;
        let mut text = configuration(&networks);
        let mut roots = Vec::new();
        for wanted in &self.cosmos {
            let told = wanted.ask(output).await?;
            text.push_str(&wanted.section(told.as_ref()));
            roots.extend(told.map(|told| wanted.root(&told)));
        }
        let path = &self.config.config;
        write(path, &text, self.force)?;
        output.line(&format!("wrote {}", path.display()));
        for root in &roots {
            output.line("");
            root.lines().iter().for_each(|line| output.line(line));
        }
        output.line("");
        let next = next(path);
        output.line("next:");
        for (number, step) in (1..).zip(&next) {
            output.line(&format!("  {number}. {step}"));
        }
        output.document(&serde_json::json!({ "config": path, "next": next, "roots": roots }));
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
fn configuration(networks: &[Choice]) -> String {
    let mut text = HEAD.to_owned();
    for (number, network) in (1..).zip(networks) {
        text.push_str(&match network {
            Choice::Known(preset) => known::section(preset),
            Choice::Example(example) => example.section(number),
        });
    }
    text
}

fn distinct(networks: &[Choice], cosmos: &[cosmos::Wanted]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let names = networks.iter().map(Choice::name).chain(cosmos.iter().map(cosmos::Wanted::name));
    for name in names {
        if !seen.insert(name) {
            let what = format!("the network {name} is named twice; give each its own name");
            return Err(Failure::Other(what));
        }
    }
    Ok(())
}

/// The endpoint id of a test network that examples are often made for.
const SEPOLIA: (u64, u32) = (11_155_111, 40_161);

impl Example {
    /// The section for the network, commented out. `number` makes an endpoint id up where none is
    /// known.
    fn section(&self, number: u32) -> String {
        let known = postrider_layerzero::presets::by_chain_id(self.chain_id);
        let eid = match known {
            Some(known) => known.eid.0,
            None if self.chain_id == SEPOLIA.0 => SEPOLIA.1,
            None => 30_000 + number,
        };
        let name = self.name.as_str();
        NETWORK
            .replace("{name}", name)
            .replace("{NAME}", &name.to_uppercase().replace('-', "_"))
            .replace("{chain_id}", &self.chain_id.to_string())
            .replace("{eid}", &eid.to_string())
    }
}

const HEAD: &str = r###"## The configuration of a Postrider node.
##
## Lines that begin with "##" explain. Lines that begin with a single "#" are examples: take the "# "
## away to use them. `postrider check` compares this file with the networks and says what is wrong.

[node]
## The folder of the message store, the keys and their signing journals, relative to this file.
## Default: "data".
data = "data"

## HTTP for programs: health, readiness, messages, lanes and metrics, for reading. Off without this.
# [api]
## Address and port. An address that other machines reach also needs `allow_remote = true`: there is no
## password.
# listen = "127.0.0.1:9600"
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

    fn networks(list: &[&str]) -> Vec<Choice> {
        list.iter().map(|text| choice(text).unwrap()).collect()
    }

    /// The file with every example in use.
    fn in_use(text: &str) -> String {
        let lines: Vec<&str> =
            text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        lines.join("\n")
    }

    #[test]
    fn the_examples_are_valid_when_they_are_used() {
        let text = configuration(&networks(&["ethereum=1", "base=8453", "my-chain=77"]));
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
        let text = configuration(&networks(&["ethereum=1"]));
        let error = Config::parse(&text, Path::new("f"), Path::new(".")).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(error.problems[0].what.contains("no network"), "{error}");
    }

    /// What the file calls a default is the default: leaving it out changes nothing.
    #[test]
    fn the_defaults_it_names_are_the_defaults() {
        let full = in_use(&configuration(&networks(&["base=8453"])));
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
        assert_eq!(example("base=8453").unwrap().chain_id, 8453);
        for bad in ["my-chain", "Base", "", "Base=1", "base=", "base=x", "=1"] {
            assert!(choice(bad).is_err(), "{bad}");
        }
        let hub = [cosmos::wanted("hub=hub-1").unwrap()];
        assert!(distinct(&networks(&["base", "a=2"]), &hub).is_ok());
        assert!(distinct(&networks(&["a=1", "a=2"]), &[]).is_err());
        assert!(distinct(&networks(&["base", "base=2"]), &[]).is_err());
        assert!(distinct(&networks(&["hub=1"]), &hub).is_err());
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_are_known() {
        let error = choice("solana").unwrap_err();
        for preset in presets::all() {
            assert!(error.contains(preset.name), "{error}");
        }
    }

    /// The help names every preset.
    #[test]
    fn the_help_names_what_is_known() {
        let help = Init::augment_args(clap::Command::new("init")).render_long_help().to_string();
        for preset in presets::all() {
            assert!(help.contains(preset.name), "{help}");
        }
    }

    #[test]
    fn what_is_known_and_examples_stand_in_one_file() {
        let text = configuration(&networks(&["ethereum", "my-chain=77"]));
        assert!(text.contains("\n[networks.ethereum]\n"), "{text}");
        assert!(text.contains("\n# [networks.my-chain]\n"), "{text}");
    }
}
