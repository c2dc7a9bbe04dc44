//! `postrider layerzero inspect`, and what `postrider check` says of pathways.

use super::ConfigFile;
use crate::{
    failure::Failure,
    output::{Output, table},
};
use alloy_primitives::Address;
use clap::Args;
use postrider_devnet::Progress;
use postrider_layerzero::{
    pathway::{Defaults, End, Owner, PathwayFacts, Quote, Side, Verifiers},
    wire::Address32,
};
use postrider_message::{Lane, NetworkName};
use postrider_node::{
    Config,
    node::store_path,
    pathway::{Inspected, Inspection, MAX_PATHWAYS, ends, inspect, inspect_lanes},
};
use postrider_store::{MAX_LOOK, SqliteStore, Store, StoreError};

/// What is shown for what could not be read.
const UNREAD: &str = "not read";

/// Reads how applications have set up the ways of their messages, on both chains, and says what is
/// wrong: for the lanes in the store, at most 100, or for the two applications given.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Only pathways from this network.
    #[arg(long, requires = "to")]
    from: Option<NetworkName>,
    /// Only pathways to this network.
    #[arg(long, requires = "from")]
    to: Option<NetworkName>,
    /// The sending application, on `--from`; it need not be in the store.
    #[arg(long, requires_all = ["receiver", "from"])]
    sender: Option<Address>,
    /// The receiving application, on `--to`.
    #[arg(long, requires_all = ["sender", "to"])]
    receiver: Option<Address>,
    #[command(flatten)]
    file: ConfigFile,
}

impl Inspect {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the file does not tell of a network, or the store cannot be read. What the
    /// chains do not tell is a finding.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.file.load()?;
        output.step("asking the networks");
        let found = self.inspect(&config).await?;
        for pathway in &found.pathways {
            for line in lines(pathway) {
                output.line(&line);
            }
        }
        output.line(&summary(&found));
        output.document(&found);
        Ok(())
    }

    async fn inspect(&self, config: &Config) -> Result<Inspection, Failure> {
        if let (Some(from), Some(to), Some(sender), Some(receiver)) =
            (&self.from, &self.to, self.sender, self.receiver)
        {
            let pathway = ends(config, (from, sender), (to, receiver))
                .map_err(|error| Failure::Other(error.to_string()))?;
            let pathways = inspect(config, &[pathway]).await;
            return Ok(Inspection { pathways, left_out: 0 });
        }
        let (mut lanes, more) = lanes(config, MAX_LOOK).await?;
        lanes.retain(|lane| {
            self.from.as_ref().is_none_or(|from| *from == lane.source.network)
                && self.to.as_ref().is_none_or(|to| *to == lane.destination.network)
        });
        Ok(inspect_lanes(config, &lanes, more).await)
    }
}

/// The pathways of the store's lanes as [`super::check`] needs them; `None` where there is no store
/// yet.
///
/// # Errors
/// [`StoreError`] if there is a store that cannot be read.
pub(super) async fn of_store(config: &Config) -> Result<Option<Inspection>, StoreError> {
    if !store_path(config).exists() {
        return Ok(None);
    }
    let (lanes, more) = lanes(config, u32::try_from(MAX_PATHWAYS).unwrap_or(MAX_LOOK)).await?;
    Ok(Some(inspect_lanes(config, &lanes, more).await))
}

async fn lanes(config: &Config, limit: u32) -> Result<(Vec<Lane>, u64), StoreError> {
    let store = SqliteStore::open_read_only(&store_path(config)).await?;
    let list = store.lanes(limit).await?;
    Ok((list.lanes.into_iter().map(|row| row.lane).collect(), list.more))
}

/// How many were examined, and how many not.
pub(super) fn summary(found: &Inspection) -> String {
    let (examined, left_out) = (found.pathways.len(), found.left_out);
    let plural = if examined == 1 { "" } else { "s" };
    let rest = if left_out == 0 { String::new() } else { format!(", {left_out} left out") };
    format!("{examined} pathway{plural} examined{rest}")
}

/// Both configurations side by side, and what is wrong.
fn lines(pathway: &Inspected) -> Vec<String> {
    let facts = &pathway.facts;
    let head = [
        String::new(),
        format!("send, {}", facts.source.known.network),
        format!("receive, {}", facts.destination.known.network),
    ];
    let mut lines = vec![pathway.name(), String::new()];
    lines.extend(table(&head.each_ref().map(String::as_str), &rows(facts)));
    lines.push(String::new());
    for finding in &pathway.findings {
        lines.push(format!("  {:<8} {}: {}", finding.severity, finding.code, finding.what));
        lines.push(format!("  {:<8} {}", "risk", finding.risk));
        lines.push(format!("  {:<8} {}", "remedy", finding.remedy));
        lines.push(String::new());
    }
    if pathway.findings.is_empty() {
        lines.push("  nothing is wrong".to_owned());
        lines.push(String::new());
    }
    lines
}

fn rows(facts: &PathwayFacts) -> Vec<Vec<String>> {
    let row = |name: &str, cells: [String; 2]| [vec![name.to_owned()], cells.to_vec()].concat();
    let both = |cell: fn(&Side) -> String| End::BOTH.map(|end| cell(end.of(facts)));
    let mut rows = vec![
        row("library", both(library)),
        row("confirmations", both(confirmations)),
        row("optional needed", both(threshold)),
        row("peer", both(peer)),
    ];
    for (name, dvns, is_default) in [
        ("required DVN", both_lists(facts, true), (|d| d.required) as fn(Defaults) -> bool),
        ("optional DVN", both_lists(facts, false), |d| d.optional),
    ] {
        let marks = End::BOTH.map(|end| mark(end.of(facts).defaults.map(is_default)));
        let longest = dvns.iter().map(Vec::len).max().unwrap_or(0);
        for place in 0..longest {
            let cell = |(list, mark): (&Vec<String>, &str)| {
                list.get(place).map(|dvn| format!("{dvn}{mark}")).unwrap_or_default()
            };
            let [send, receive] = [0, 1]
                .map(|i| dvns.get(i).zip(marks.get(i).copied()).map(cell).unwrap_or_default());
            rows.push(row(name, [send, receive]));
        }
    }
    let executor = facts.execution.map_or(UNREAD.to_owned(), |found| {
        let owner = facts.source.known.executors.get(&found.executor);
        let default = mark(facts.execution_is_default);
        format!("{}{default}", owned(found.executor, owner))
    });
    rows.push(row("executor", [executor, String::new()]));
    let asked = |worker: Option<Address>| match worker.and_then(|w| facts.source.quotes.get(&w)) {
        None => UNREAD.to_owned(),
        Some(Quote::Fee(fee)) => format!("{fee} wei"),
        Some(Quote::Refused(reason)) => format!("none: {reason}"),
    };
    for dvn in facts.source.verifiers.iter().flat_map(Verifiers::all) {
        rows.push(row("fee of a DVN", [asked(Some(dvn)), String::new()]));
    }
    let executor = facts.execution.map(|found| found.executor);
    rows.push(row("fee of the executor", [asked(executor), String::new()]));
    let told = |value: Option<String>| value.unwrap_or_else(|| UNREAD.to_owned());
    let accepted = facts.accepted.map(|yes| if yes { "yes" } else { "no" }.to_owned());
    rows.push(row("accepted", [String::new(), told(accepted)]));
    let order = facts.next_nonce.map(|next| match next {
        0 => "any".to_owned(),
        next => format!("next is {next}"),
    });
    rows.push(row("order", [String::new(), told(order)]));
    rows
}

fn both_lists(facts: &PathwayFacts, required: bool) -> [Vec<String>; 2] {
    End::BOTH.map(|end| {
        let side = end.of(facts);
        let Some(found) = &side.verifiers else { return vec![UNREAD.to_owned()] };
        let list = if required { &found.required } else { &found.optional };
        list.iter().map(|dvn| owned(*dvn, side.known.dvns.get(dvn))).collect()
    })
}

fn owned(address: Address, owner: Option<&Owner>) -> String {
    match owner {
        Some(Owner::Ours) => format!("{address:#x} (yours)"),
        Some(Owner::LayerZeroLabs) => format!("{address:#x} (LayerZero Labs)"),
        None => format!("{address:#x}"),
    }
}

fn mark(is_default: Option<bool>) -> &'static str {
    if is_default == Some(true) { " (default)" } else { "" }
}

fn library(side: &Side) -> String {
    let default = mark(side.library_is_default);
    side.library.map_or(UNREAD.to_owned(), |library| format!("{library:#x}{default}"))
}

fn confirmations(side: &Side) -> String {
    let default = mark(side.defaults.map(|d| d.confirmations));
    let found = side.verifiers.as_ref();
    found.map_or(UNREAD.to_owned(), |found| format!("{}{default}", found.confirmations))
}

fn threshold(side: &Side) -> String {
    let found = side.verifiers.as_ref();
    found.map_or(UNREAD.to_owned(), |f| format!("{} of {}", f.threshold, f.optional.len()))
}

fn peer(side: &Side) -> String {
    let shown = |peer: Address32| match peer.as_evm_address() {
        Some(address) => format!("{address:#x}"),
        None if peer.0.is_zero() => "none".to_owned(),
        None => format!("{:#x}", peer.0),
    };
    side.peer.map_or(UNREAD.to_owned(), shown)
}
