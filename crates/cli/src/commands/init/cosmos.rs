//! The section of a Cosmos network: an example, or what its nodes tell.

use crate::{failure::Failure, output::Output};
use postrider_devnet::Progress;
use postrider_message::NetworkName;
use postrider_node::introduce::{CosmosChainId, Introduction, RpcUrl, introduce};
use serde::Serialize;
use std::{fmt::Write as _, time::Duration};

/// Where nobody tells how long stake is bound, which is three weeks on most chains.
const USUAL_UNBONDING: Duration = Duration::from_secs(21 * 24 * 3600);

/// A Cosmos network to write.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    name: NetworkName,
    chain_id: CosmosChainId,
    /// Its nodes' URLs, as given.
    urls: Vec<(String, RpcUrl)>,
}

/// The block that a light client is to begin with, as it was told.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Root {
    network: NetworkName,
    chain_id: String,
    height: u64,
    hash: String,
    time: String,
    told_by: usize,
}

/// Reads `NAME=CHAINID` or `NAME=CHAINID@URL,URL`.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    let usage = "write NAME=CHAINID, for example hub=cosmoshub-4, or NAME=CHAINID@URL,URL";
    let (name, rest) = text.split_once('=').ok_or(usage)?;
    let (chain_id, urls) = rest.split_once('@').map_or((rest, None), |(id, urls)| (id, Some(urls)));
    let urls = urls.into_iter().flat_map(|urls| urls.split(','));
    Ok(Wanted {
        name: name.parse().map_err(|e| format!("{e}"))?,
        chain_id: chain_id.parse().map_err(|e| format!("{e}"))?,
        urls: urls
            .map(|url| Ok((url.to_owned(), RpcUrl::new(url).map_err(|e| e.to_string())?)))
            .collect::<Result<_, String>>()?,
    })
}

impl Wanted {
    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// What its nodes tell; `None` if none is given.
    pub(super) async fn ask(&self, output: &Output) -> Result<Option<Introduction>, Failure> {
        if self.urls.is_empty() {
            return Ok(None);
        }
        output.step(&format!("asking the nodes of {}", self.name));
        let urls: Vec<RpcUrl> = self.urls.iter().map(|(_, url)| url.clone()).collect();
        let told = introduce(&self.name, &self.chain_id, &urls).await;
        told.map(Some).map_err(|error| Failure::Other(format!("--cosmos {}: {error}", self.name)))
    }

    pub(super) fn root(&self, told: &Introduction) -> Root {
        Root {
            network: self.name.clone(),
            chain_id: self.chain_id.to_string(),
            height: told.height.0,
            hash: hash(told),
            time: told.time.to_string(),
            told_by: self.urls.len(),
        }
    }

    /// The section; commented out where its nodes were not asked.
    pub(super) fn section(&self, told: Option<&Introduction>) -> String {
        let unbonding = told.and_then(|told| told.unbonding);
        let hours = (unbonding.unwrap_or(USUAL_UNBONDING) / 3 * 2).as_secs() / 3600;
        let prefix = told.and_then(|told| told.prefix.as_deref()).unwrap_or("cosmos");
        let price = told.and_then(|told| told.price.as_ref()).map(ToString::to_string);
        let staked = told.and_then(|told| told.staked.as_deref()).unwrap_or("uatom");
        let price = price.unwrap_or_else(|| format!("0.025{staked}"));
        let text = NETWORK
            .replace("{name}", self.name())
            .replace("{chain_id}", &quoted(self.chain_id.as_str()))
            .replace("{prefix}", prefix)
            .replace("{price}", &price)
            .replace("{hours}", &hours.max(1).to_string())
            .replace("{guesses}", &told.map(guesses).unwrap_or_default())
            .replace("{height}", &told.map_or(1, |told| told.height.0).to_string())
            .replace("{hash}", &told.map_or_else(|| "11".repeat(32), hash))
            .replace("{origin}", &told.map_or_else(String::new, |told| self.origin(told)));
        let text = text + &self.upstreams();
        match told {
            Some(_) => text,
            None => commented(&text),
        }
    }

    fn origin(&self, told: &Introduction) -> String {
        let count = self.urls.len();
        let nodes = if count == 1 { "the node".to_owned() } else { format!("all {count} nodes") };
        format!(
            "## This one, of {}, is what {nodes} below told, which proves nothing: COMPARE IT with a source\n\
             ## that is none of them, such as an explorer of another operator, before you start.\n",
            told.time
        )
    }

    fn upstreams(&self) -> String {
        let name = self.name();
        let mut text = String::new();
        let example = [("http://127.0.0.1:26657".to_owned(), None::<RpcUrl>)];
        let urls: Vec<&str> = if self.urls.is_empty() {
            example.iter().map(|(url, _)| url.as_str()).collect()
        } else {
            self.urls.iter().map(|(url, _)| url.as_str()).collect()
        };
        for (number, url) in (1..).zip(urls) {
            let url = quoted(url);
            let _ = write!(
                text,
                "\n[[networks.{name}.upstreams]]\nname = \"node-{number}\"\noperator = \
                 \"operator-{number}\"\nurl = \"{url}\"\n"
            );
        }
        text + &IBC.replace("{name}", name)
    }
}

/// A text without line breaks, as it stands between quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn hash(told: &Introduction) -> String {
    told.hash.to_string().trim_start_matches("0x").to_uppercase()
}

/// What the nodes did not tell and was guessed.
fn guesses(told: &Introduction) -> String {
    let mut text = String::new();
    for (is_told, what) in [
        (told.prefix.is_some(), "`prefix`"),
        (told.price.is_some(), "the price of gas"),
        (told.unbonding.is_some(), "`period_hours`"),
    ] {
        if !is_told {
            let _ = writeln!(text, "## Its nodes do not tell {what}: see whether it is right.");
        }
    }
    text
}

/// Explanations stay; settings become examples.
fn commented(text: &str) -> String {
    let line = |line: &str| match line {
        "" => "\n".to_owned(),
        line if line.starts_with('#') => format!("{line}\n"),
        line => format!("# {line}\n"),
    };
    text.lines().map(line).collect()
}

impl Root {
    /// For people, who are to compare it.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { network, chain_id, height, hash, time, told_by } = self;
        let plural = if *told_by == 1 { "node tells" } else { "nodes tell" };
        vec![
            format!("{network}: the light client is to begin with this block of {chain_id},"),
            format!("  height  {height}"),
            format!("  hash    {hash}"),
            format!("  time    {time}"),
            format!(
                "as {told_by} {plural}. Compare it with a source that is none of them before you start."
            ),
        ]
    }
}

const NETWORK: &str = r###"
## ---------------------------------------------------------------------------------------------
## {name}
## ---------------------------------------------------------------------------------------------
##
{guesses}
[networks.{name}]
## The kind of chain: "cosmos", talked to over CometBFT's RPC alone.
kind = "cosmos"
## The chain's id. An upstream that serves another chain is not listened to.
chain_id = "{chain_id}"
## What its addresses begin with.
prefix = "{prefix}"
## What is offered for a unit of gas. `max` bounds the gas of a transaction; default: no bound.
gas = { price = "{price}" }
## The block where the light client begins when nothing is recorded yet, and how long a block is believed:
## two thirds of the time for which the chain's stake is bound, or less.
{origin}trust = { height = {height}, hash = "{hash}", period_hours = {hours} }
## How often upstreams are asked for news, in milliseconds, 20 to 60000. Default: 1000.
poll_ms = 1000
## The key that pays for transactions there; `postrider keys new {name}-payer` makes it. Needed for the
## role "relay".
# signer = "{name}-payer"

## The upstreams. What they tell is proven; those of further operators are witnesses that there is no second
## chain. Name who runs each: two of one operator are no witnesses of each other. Where a URL holds a secret,
## write url_env = "…", the variable that holds it.
"###;

const IBC: &str = r###"
## IBC on {name}: "relay" brings packets, acknowledgements and timeouts there and keeps clients alive; "watch"
## sends nothing. Channels lead to the other networks of kind "cosmos" in this file.
[ibc.{name}]
roles = ["watch"]
"###;

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use postrider_message::{BlockHash, Height, Role, UnixMillis};
    use postrider_node::Config;
    use std::path::Path;

    fn told() -> Introduction {
        Introduction {
            height: Height(77),
            hash: BlockHash(B256::repeat_byte(0xab)),
            time: UnixMillis(1_700_000_000_000),
            prefix: Some("osmo".into()),
            price: Some("0.1uosmo".parse().unwrap()),
            staked: Some("uosmo".into()),
            unbonding: Some(Duration::from_secs(14 * 24 * 3600)),
        }
    }

    fn parse(text: &str) -> Config {
        let text = format!("{}{text}", super::super::HEAD);
        Config::parse(&text, Path::new("postrider.toml"), Path::new("/tmp"))
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn what_nodes_tell_is_written_ready_for_use() {
        let wanted =
            wanted("hub=osmosis-1@http://127.0.0.1:1,https://two.example/a?b=\"c").unwrap();
        let text = wanted.section(Some(&told()));
        assert!(text.contains("COMPARE IT") && text.contains("all 2 nodes"), "{text}");
        assert!(!text.contains("do not tell"), "{text}");
        let config = parse(&text);
        let hub = &config.cosmos[&"hub".parse().unwrap()];
        assert_eq!(Ok(hub.prefix.clone()), "osmo".parse());
        assert_eq!(hub.gas.price.to_string(), "0.1uosmo");
        assert_eq!(hub.root.block().height, Height(77));
        assert_eq!(hub.root.block().hash, told().hash);
        assert_eq!(hub.trust.trusting_period(), Duration::from_secs(224 * 3600));
        assert_eq!(hub.upstreams.len(), 2);
        assert_ne!(hub.upstreams[0].operator, hub.upstreams[1].operator);
        let roles = &config.ibc[&"hub".parse().unwrap()].roles;
        assert!(roles.contains(&Role::Watch) && roles.len() == 1);
    }

    #[test]
    fn what_nodes_do_not_tell_is_guessed_and_said_so() {
        let silent =
            Introduction { prefix: None, price: None, staked: None, unbonding: None, ..told() };
        let text = wanted("hub=hub-1@http://127.0.0.1:1").unwrap().section(Some(&silent));
        assert_eq!(text.matches("do not tell").count(), 3, "{text}");
        parse(&text);
    }

    #[test]
    fn an_example_is_commented_out_and_valid_when_used() {
        let text = wanted("hub=hub-1").unwrap().section(None);
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        let lines: Vec<&str> =
            text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        let config = parse(&lines.join("\n"));
        let hub = &config.cosmos[&"hub".parse().unwrap()];
        assert_eq!((hub.chain_id.as_str(), hub.signers.len()), ("hub-1", 1));
    }

    #[test]
    fn r8_r10_what_is_no_network_is_refused_without_its_urls() {
        for bad in ["", "hub", "=hub-1", "Hub=hub-1", "hub=", "hub=hub-1@", "hub=hub-1@secret-key"]
        {
            let error = wanted(bad).unwrap_err();
            assert!(!error.is_empty() && !error.contains("secret-key"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_root_is_shown_to_be_compared() {
        let root = wanted("hub=hub-1@http://127.0.0.1:1").unwrap().root(&told());
        let text = root.lines().join("\n");
        assert!(text.contains("77") && text.contains(&"AB".repeat(32)), "{text}");
        assert!(text.contains("Compare it"), "{text}");
    }
}
