//! How networks of every kind stand, in one form: whoever shows them shows all of them alike.

use crate::{
    context::{Context, Progress, Wallet},
    ibc::{hosted::ClientStanding, submit::InVain},
};
use postrider_jsonrpc::HealthReport;
use postrider_message::{NetworkName, UpstreamName};

/// How a network stands now.
#[derive(Debug, Clone)]
pub struct NetworkStanding<'a> {
    /// Its name.
    pub name: &'a NetworkName,
    /// How far it is known.
    pub progress: Progress,
    /// The accounts that pay there, of which an upstream told what they hold.
    pub wallets: Vec<Wallet>,
    /// The clients there that follow other networks.
    pub clients: Vec<ClientStanding>,
    /// Transactions that changed nothing; `None` where that is not counted.
    pub in_vain: Option<InVain>,
    /// Its upstreams.
    pub upstreams: Vec<UpstreamStanding<'a>>,
}

/// How an upstream stands now.
#[derive(Debug, Clone)]
pub struct UpstreamStanding<'a> {
    /// Its name.
    pub name: &'a UpstreamName,
    /// What was counted of it.
    pub report: HealthReport,
    /// It is asked now: it is neither in quarantine nor resting after failures.
    pub is_usable: bool,
}

impl Context {
    /// How every network stands, whatever its kind, by name.
    #[must_use]
    pub fn standings(&self) -> Vec<NetworkStanding<'_>> {
        let evm = self.networks.values().map(|network| NetworkStanding {
            name: &network.name,
            progress: *network.progress.borrow(),
            wallets: network.wallets.all(),
            clients: Vec::new(),
            in_vain: None,
            upstreams: network
                .upstreams
                .all()
                .iter()
                .map(|u| UpstreamStanding {
                    name: u.name(),
                    report: u.report(),
                    is_usable: u.is_usable(),
                })
                .collect(),
        });
        let cosmos = self.cosmos.values().map(|network| NetworkStanding {
            name: &network.name,
            progress: *network.progress.borrow(),
            wallets: network.wallets.all(),
            clients: network.hosted.standings(),
            in_vain: Some(network.gauge().in_vain()),
            upstreams: network
                .upstreams
                .all()
                .iter()
                .map(|u| UpstreamStanding {
                    name: u.name(),
                    report: u.report(),
                    is_usable: u.is_usable(),
                })
                .collect(),
        });
        let mut all: Vec<_> = evm.chain(cosmos).collect();
        all.sort_by_key(|standing| standing.name);
        all
    }
}
