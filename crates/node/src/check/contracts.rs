//! Whether the contracts on a network are those the file takes them for, and let us work.

use super::{Findings, tokens};
use crate::{
    config::{DvnPeer, LayerZeroConfig},
    context::Network,
};
use alloy_primitives::{Address, U256};
use futures::{FutureExt, future::join_all};
use postrider_evm::{CallOutcome, EthCall};
use postrider_layerzero::{Deployment, Deployments, Question, View};
use postrider_message::{KeyName, NetworkName, Role};
use postrider_verification::{Answer, Reading, Shortfall, quorum::agree};
use std::collections::{BTreeMap, BTreeSet};

/// The version of the libraries that this node speaks with: ULN 3.0.2 on endpoint V2.
const LIBRARY_VERSION: (u64, u8, u8) = (3, 0, 2);
/// LayerZero numbers its DVNs on a chain by the endpoint's id modulo this.
const VID_MODULUS: u32 = 30_000;
/// How often a quorum is asked for the newest state: upstreams may differ about the newest block.
const TRIES: u32 = 3;

/// What is expected of LayerZero on one network.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    name: &'a NetworkName,
    deployment: &'a Deployment,
    /// LayerZero on every network.
    all: &'a Deployments,
    attests: bool,
    executes: bool,
    /// The accounts that pay there, where they are known and needed.
    accounts: Vec<Address>,
    /// How many keys are configured for our DVN.
    keys: usize,
    /// Those whose addresses are known.
    signers: Vec<(&'a KeyName, Address)>,
    /// Those of other processes.
    peers: &'a [DvnPeer],
}

impl<'a> Ours<'a> {
    /// What the file says; `keys` holds the addresses of those keys that could be opened.
    pub(super) fn new(
        network: &'a Network,
        (deployment, all): (&'a Deployment, &'a Deployments),
        config: &'a LayerZeroConfig,
        keys: &BTreeMap<KeyName, Address>,
    ) -> Self {
        let attests = config.roles.contains(&Role::Attest);
        let executes = config.roles.contains(&Role::Execute);
        let pays = attests || executes;
        let payers = network.config.signers.iter().filter(|_| pays);
        Self {
            name: &network.name,
            deployment,
            all,
            attests,
            executes,
            accounts: payers.filter_map(|key| keys.get(key)).copied().collect(),
            keys: config.dvn_keys.len(),
            signers: config
                .dvn_keys
                .iter()
                .filter_map(|key| Some((key, *keys.get(key)?)))
                .collect(),
            peers: &config.dvn_peers,
        }
    }

    fn place(&self, setting: &str) -> String {
        format!("layerzero.{}.{setting}", self.name)
    }

    /// Every contract that the file names, with its place.
    fn contracts(&self) -> Vec<(String, Address)> {
        let here = self.deployment;
        let mut contracts = vec![(self.place("endpoint"), here.endpoint)];
        let mut libraries = |setting: &str, list: &[Address]| {
            contracts.extend(list.iter().map(|a| (self.place(&format!("{setting}.{a:#x}")), *a)));
        };
        libraries("send_libraries", &here.send_libraries);
        libraries("receive_libraries", &here.receive_libraries);
        contracts.extend(here.dvn.map(|a| (self.place("dvn"), a)));
        contracts.extend(here.executor.map(|a| (self.place("executor"), a)));
        contracts.extend(here.batch.map(|a| (self.place("batch"), a)));
        let tokens = here.tokens.iter().map(|token| token.contract);
        contracts.extend(tokens.map(|a| (self.place(&format!("tokens.{a:#x}")), a)));
        contracts
    }

    /// Compares all of it.
    pub(super) async fn check(&self, network: &Network, findings: &mut Findings) {
        for account in &self.accounts {
            balance(network, *account, findings).await;
        }
        let contracts = self.contracts();
        let addresses: Vec<Address> = contracts.iter().map(|(_, address)| *address).collect();
        let (has_code, view) = match self.read(network, &addresses).await {
            Ok(read) => read,
            Err(short) => {
                findings.error(
                    &format!("layerzero.{}", self.name),
                    format!("its contracts could not be read: {short}"),
                    "whether they are those that the file takes them for is not known",
                    "see that the upstreams answer `eth_call` at recent blocks, and check again",
                );
                return;
            }
        };
        for ((place, address), _) in
            contracts.iter().zip(&has_code).filter(|(_, has_code)| !**has_code)
        {
            findings.error(
                place,
                format!("there is no contract at {address:#x}"),
                "nothing sent there has any effect, and nothing is heard from there",
                "correct the address; LayerZero lists its own for each chain, your DVN's is yours",
            );
        }
        let with_code = addresses.iter().zip(has_code).filter(|(_, has)| *has);
        self.judge(&with_code.map(|(address, _)| *address).collect(), &view, findings);
    }

    /// Which of `addresses` hold code, and the answers to [`Self::questions`].
    async fn read(
        &self,
        network: &Network,
        addresses: &[Address],
    ) -> Result<(Vec<bool>, View), Shortfall> {
        let has_code = codes(network, addresses).await?;
        let questions: Vec<Question> = self
            .questions()
            .into_iter()
            .chain(tokens::questions(self.deployment, self.all))
            .collect();
        let calls: Vec<EthCall> =
            questions.iter().map(|q| q.call(self.deployment.endpoint)).collect();
        let mut reading = newest(network, &calls).await;
        for _ in 1..TRIES {
            if reading.is_err() {
                reading = newest(network, &calls).await;
            }
        }
        Ok((has_code, View::new(questions, &reading?)))
    }

    fn questions(&self) -> Vec<Question> {
        let here = self.deployment;
        let mut questions = vec![Question::Eid];
        let libraries = here.send_libraries.iter().chain(&here.receive_libraries);
        questions.extend(libraries.map(|library| Question::Version(*library)));
        if let Some(dvn) = here.dvn.filter(|_| self.attests) {
            questions.extend([Question::Vid(dvn), Question::Quorum(dvn)]);
            questions.extend(self.signers.iter().map(|(_, key)| Question::Signer(dvn, *key)));
            questions.extend(self.peers.iter().map(|peer| Question::Signer(dvn, peer.signer)));
            questions.extend(self.accounts.iter().map(|account| Question::Admin(dvn, *account)));
        }
        if let Some(executor) = here.executor.filter(|_| self.executes) {
            let admin = |account: &Address| Question::Admin(executor, *account);
            questions.extend(self.accounts.iter().map(admin));
        }
        questions
    }

    /// Compares the answers with the file, for those contracts that are there.
    fn judge(&self, is_there: &BTreeSet<Address>, view: &View, findings: &mut Findings) {
        let here = self.deployment;
        if is_there.contains(&here.endpoint) {
            self.judge_endpoint(view, findings);
        }
        let send = here.send_libraries.iter().map(|a| ("send_libraries", *a));
        let receive = here.receive_libraries.iter().map(|a| ("receive_libraries", *a));
        for (setting, library) in send.chain(receive).filter(|(_, a)| is_there.contains(a)) {
            self.judge_library(setting, library, view, findings);
        }
        tokens::judge(self.name, here, self.all, view, is_there, findings);
        if let Some(dvn) = here.dvn.filter(|a| self.attests && is_there.contains(a)) {
            self.judge_dvn(dvn, view, findings);
            self.judge_admin("dvn", dvn, view, findings);
        }
        if let Some(executor) = here.executor.filter(|a| self.executes && is_there.contains(a)) {
            self.judge_admin("executor", executor, view, findings);
        }
    }

    fn judge_endpoint(&self, view: &View, findings: &mut Findings) {
        let expected = self.deployment.eid;
        match view.eid() {
            Some(found) if found == expected => {}
            Some(found) => findings.error(
                &self.place("eid"),
                format!("the endpoint's id is {found}, not {expected}"),
                "messages would be taken for those of another chain",
                &format!("set `eid = {found}`, or correct `endpoint`"),
            ),
            None => findings.error(
                &self.place("endpoint"),
                format!("{:#x} does not answer as an endpoint", self.deployment.endpoint),
                "nothing is heard from there, and nothing arrives",
                "correct the address to that of EndpointV2 on this chain",
            ),
        }
    }

    fn judge_library(&self, setting: &str, library: Address, view: &View, findings: &mut Findings) {
        let version = view.version(library);
        if version == Some(LIBRARY_VERSION) {
            return;
        }
        let what = match version {
            Some((major, minor, endpoint)) => {
                format!("the library has version {major}.{minor}.{endpoint}, not 3.0.2")
            }
            None => format!("{library:#x} does not answer as a message library"),
        };
        findings.error(
            &self.place(&format!("{setting}.{library:#x}")),
            what,
            "its words may mean something else than this node takes them for",
            "give the address of SendUln302 or ReceiveUln302 on this chain, or remove it",
        );
    }

    fn judge_dvn(&self, dvn: Address, view: &View, findings: &mut Findings) {
        let place = self.place("dvn");
        let (Some(vid), Some(quorum)) = (view.vid(dvn), view.quorum(dvn)) else {
            findings.error(
                &place,
                format!("{dvn:#x} does not answer as a DVN"),
                "nothing is attested to messages that arrive here",
                "correct the address to that of your DVN contract",
            );
            return;
        };
        // By the chain's own word: a wrong `eid` in the file is a finding of its own.
        let usual = view.eid().unwrap_or(self.deployment.eid).0 % VID_MODULUS;
        if vid != usual {
            findings.warning(
                &place,
                format!("the DVN's vid is {vid}, where {usual} is usual on this chain"),
                "a signature counts on every DVN with the same vid and signers, on other chains too",
                "see that no DVN elsewhere has this vid and one of these keys",
            );
        }
        self.judge_quorum(&place, quorum, findings);
        for peer in self.peers {
            if view.is_signer(dvn, peer.signer) != Some(true) {
                let (name, signer) = (&peer.name, peer.signer);
                findings.error(
                    &self.place(&format!("dvn.peers.{name}")),
                    format!("{signer:#x} of peer `{name}` is not a signer of the DVN {dvn:#x}"),
                    "the DVN refuses every call that carries its signature",
                    "ask its operator for the address of its key, or have the signers approve it",
                );
            }
        }
        for (name, key) in &self.signers {
            if view.is_signer(dvn, *key) != Some(true) {
                findings.error(
                    &self.place(&format!("dvn.keys.{name}")),
                    format!("key `{name}` ({key:#x}) is not a signer of the DVN {dvn:#x}"),
                    "the DVN refuses every call that it signed",
                    "have the DVN's signers approve it, or name the key that is one of them",
                );
            }
        }
    }

    fn judge_quorum(&self, place: &str, quorum: u64, findings: &mut Findings) {
        let distinct: BTreeSet<Address> = self.signers.iter().map(|(_, key)| *key).collect();
        // Keys that could not be opened are taken to be distinct.
        let keys = distinct.len() + self.keys.saturating_sub(self.signers.len());
        if quorum == 0 {
            findings.error(
                place,
                "the DVN takes calls with no signature at all",
                "anyone who may submit can attest what never happened; this node signs nothing for it",
                "have the DVN's owner set a quorum of at least 1",
            );
            return;
        }
        let quorum = usize::try_from(quorum).unwrap_or(usize::MAX);
        let peers = self.peers.len();
        if quorum > keys.saturating_add(peers) {
            let and = if peers == 0 { String::new() } else { format!(" and {peers} peers") };
            findings.error(
                place,
                format!(
                    "the DVN needs {quorum} signatures, and there are {keys} distinct keys{and}"
                ),
                "nothing is attested to messages that arrive here",
                "add the other signers' keys to `dvn.keys`, or those who hold them to `dvn.peers`",
            );
        } else if peers > 0 && quorum <= keys {
            findings.warning(
                place,
                format!("the DVN needs {quorum} signatures, and {keys} of its keys are here"),
                "this node attests without its peers: whoever deceives or controls it alone can forge",
                "leave fewer keys on this node than the DVN needs signatures",
            );
        } else if quorum == keys.saturating_add(peers) && peers > 0 {
            findings.note(
                place,
                format!("all of the {quorum} signers that are named must sign"),
                "if one of them is down, nothing is attested until it is back",
                "have more signers than the DVN needs signatures",
            );
        }
    }

    fn judge_admin(&self, setting: &str, worker: Address, view: &View, findings: &mut Findings) {
        let is_none = |account: &&Address| view.is_admin(worker, **account) != Some(true);
        for account in self.accounts.iter().filter(is_none) {
            let contract = if setting == "dvn" { "DVN" } else { "Executor" };
            findings.error(
                &self.place(setting),
                format!("{account:#x}, which pays, does not have ADMIN_ROLE on {worker:#x}"),
                &format!("the {contract} refuses its calls: they cost gas and do nothing"),
                &format!(
                    "have an admin of the {contract} grant it ADMIN_ROLE, or name another `signer` \
                     in [networks.{}]",
                    self.name
                ),
            );
        }
    }
}

/// Which addresses hold code in the newest state, as a quorum says.
async fn codes(network: &Network, addresses: &[Address]) -> Result<Vec<bool>, Shortfall> {
    let upstreams = network.upstreams.all().iter().filter(|u| u.is_usable());
    let asked = upstreams.map(|upstream| async {
        let codes = upstream.codes(addresses).await.ok();
        Answer {
            upstream: upstream.name().clone(),
            operator: upstream.operator().clone(),
            value: codes.map(|list| list.iter().map(|code| !code.is_empty()).collect::<Vec<_>>()),
        }
    });
    let answers = join_all(asked).await;
    agree(network.upstreams.policy(), &answers).map(|agreed| agreed.value)
}

async fn newest(
    network: &Network,
    calls: &[EthCall],
) -> Result<Reading<Vec<Option<CallOutcome>>>, Shortfall> {
    let block = network.upstreams.anchor_latest().await?;
    network.upstreams.read(&block, calls).await
}

async fn balance(network: &Network, account: Address, findings: &mut Findings) {
    let place = format!("networks.{}.signer", network.name);
    match network.upstreams.first(|u| u.account(account).boxed()).await {
        Ok(state) if state.balance > U256::ZERO => {}
        Ok(_) => findings.error(
            &place,
            format!("the account {account:#x}, which pays, has no coins"),
            "it can send nothing: messages to this network are neither attested nor executed",
            "send it some of the chain's own coin",
        ),
        Err(error) => findings.warning(
            &place,
            format!("the balance of {account:#x} is not known: {error}"),
            "if it has no coins, messages to this network are neither attested nor executed",
            "check again",
        ),
    }
}

#[cfg(test)]
mod tests;
