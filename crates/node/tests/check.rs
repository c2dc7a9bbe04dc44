//! The check against real chains: one difference between the file and the chain is one finding,
//! at its place and with its remedy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use alloy_primitives::{Address, U256};
use postrider_devnet::{
    Deployment, Devnet, DevnetPlan, DvnPlan, Fault, FaultyUpstream, LayerZeroPlan, Silent,
};
use postrider_node::{
    Config,
    check::{Finding, Severity, check},
};
use postrider_signing::{Journal, JournalStart, Keystore, Password};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const NETWORKS: [&str; 2] = ["alpha", "beta"];
const UPSTREAMS: [&str; 3] = ["a", "b", "c"];

/// Two chains, three upstreams before each, and keys that the contracts know.
struct World {
    folder: tempfile::TempDir,
    devnet: Devnet,
    upstreams: Vec<[FaultyUpstream; 3]>,
    keystore: Keystore,
    password: Password,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(&folder.path().join("keys")).unwrap();
        let password = Password::from("secret");
        let key = |name: String| keystore.create(&name.parse().unwrap(), &password).unwrap();
        let mut signers = Vec::new();
        let mut payers = Vec::new();
        for network in NETWORKS {
            for number in [1, 2] {
                let address = key(format!("{network}-dvn-{number}"));
                let start = JournalStart::FreshKey;
                Journal::create(keystore.folder(), address, start).await.unwrap();
                signers.push(address);
            }
            payers.push(key(format!("{network}-payer")));
        }
        let stranger = key("stranger".to_owned());
        let dvn = DvnPlan { signers, quorum: 2, admins: payers.clone() };
        let plan = LayerZeroPlan::new(vec![dvn], payers);
        let plan = DevnetPlan {
            fund: vec![stranger],
            ..DevnetPlan::two(folder.path().join("devnet"), plan, None)
        };
        let devnet = Devnet::up(&plan, &Silent).await.unwrap();
        let mut upstreams = Vec::new();
        for chain in devnet.chains() {
            let start = || async { FaultyUpstream::start(chain.url()).await.unwrap() };
            upstreams.push([start().await, start().await, start().await]);
        }
        Self { folder, devnet, upstreams, keystore, password }
    }

    fn deployment(&self, network: usize) -> &Deployment {
        self.devnet.chains()[network].deployment()
    }

    /// The file that fits.
    fn file(&self) -> String {
        let networks = NETWORKS.iter().zip(0..);
        networks.map(|(name, i)| self.network(name, i)).collect()
    }

    fn network(&self, name: &str, index: usize) -> String {
        let at = self.deployment(index);
        let upstreams: String = UPSTREAMS
            .iter()
            .zip(&self.upstreams[index])
            .map(|(upstream, proxy)| {
                format!(
                    "{{ name = \"{upstream}\", operator = \"{upstream}\", url = \"{}\" }}, ",
                    proxy.url()
                )
            })
            .collect();
        format!(
            "[networks.{name}]
kind = \"evm\"
chain_id = {}
quorum = 2
finality = {{ confirmations = 1 }}
signer = \"{name}-payer\"
upstreams = [{upstreams}]
[layerzero.{name}]
eid = {}
endpoint = \"{:#x}\"
send_libraries = [\"{:#x}\"]
receive_libraries = [\"{:#x}\"]
roles = [\"attest\", \"execute\"]
dvn = {{ address = \"{:#x}\", keys = [\"{name}-dvn-1\", \"{name}-dvn-2\"] }}
executor = \"{:#x}\"
",
            at.chain_id, at.eid, at.endpoint, at.send_uln, at.receive_uln, at.dvns[0], at.executor,
        )
    }

    async fn check(&self, file: &str) -> Vec<Finding> {
        let config = Config::parse(file, Path::new("postrider.toml"), self.folder.path()).unwrap();
        check(&config, &self.keystore, Some(&self.password), &|_| ()).await
    }

    /// The findings that are more than notes where `from` is `to` in the file that fits.
    async fn with(&self, from: &str, to: &str) -> Vec<Finding> {
        let file = self.file();
        assert!(file.contains(from), "{from}");
        serious(self.check(&file.replacen(from, to, 1)).await)
    }

    fn faults(&self, upstreams: &[usize], fault: &Fault) {
        for (index, upstream) in self.upstreams[0].iter().enumerate() {
            upstream.set(upstreams.contains(&index).then(|| fault.clone()));
        }
    }
}

fn serious(findings: Vec<Finding>) -> Vec<Finding> {
    findings.into_iter().filter(|f| f.severity != Severity::Note).collect()
}

fn places(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.place.as_str()).collect()
}

/// The one finding, which is at `place`.
fn one(findings: &[Finding], place: &str) -> Finding {
    assert_eq!(places(findings), [place], "{findings:#?}");
    assert!(!findings[0].remedy.is_empty());
    findings[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_is_found_at_its_place() {
    let world = World::new().await;
    a_file_that_fits(&world).await;
    upstreams_that_fail(&world).await;
    blocks_that_prove_nothing(&world).await;
    contracts_that_differ(&world).await;
    keys_that_differ(&world).await;
    world.devnet.down().await.unwrap();
}

async fn a_file_that_fits(world: &World) {
    let findings = world.check(&world.file()).await;
    assert!(serious(findings.clone()).is_empty(), "{findings:#?}");
    assert_eq!(places(&findings), ["networks.alpha.quorum", "networks.beta.quorum"]);

    let config =
        Config::parse(&world.file(), Path::new("postrider.toml"), world.folder.path()).unwrap();
    let findings = check(&config, &world.keystore, None, &|_| ()).await;
    assert!(places(&findings).contains(&"keys"), "{findings:#?}");
    assert!(serious(findings).is_empty());
}

async fn upstreams_that_fail(world: &World) {
    world.faults(&[2], &Fault::WrongChainId(5));
    let found = one(&serious(world.check(&world.file()).await), "networks.alpha.upstreams.c");
    assert_eq!(found.severity, Severity::Error);
    assert!(found.what.contains("chain 5, not 31901"), "{}", found.what);
    assert!(found.remedy.contains("chain_id"), "{}", found.remedy);

    world.faults(&[2], &Fault::Dead);
    let found = one(&serious(world.check(&world.file()).await), "networks.alpha.upstreams.c");
    assert_eq!(found.severity, Severity::Error);

    // A network without a quorum stops no other's checks.
    world.faults(&[1, 2], &Fault::Dead);
    let eid = format!("eid = {}", world.deployment(1).eid);
    let found = world.with(&eid, "eid = 30999").await;
    let expected = [
        "layerzero.beta.eid",
        "networks.alpha.quorum",
        "networks.alpha.upstreams.b",
        "networks.alpha.upstreams.c",
    ];
    assert_eq!(places(&found), expected, "{found:#?}");

    // One that hangs costs its time limit and no more.
    world.faults(&[2], &Fault::Hang);
    let started = Instant::now();
    let file = world.file().replace("\" }, ", "\", timeout_ms = 1500 }, ");
    one(&serious(world.check(&file).await), "networks.alpha.upstreams.c");
    assert!(started.elapsed() < Duration::from_secs(30));
    world.faults(&[], &Fault::Dead);

    // The file itself names another chain.
    let found = world.with("chain_id = 31901", "chain_id = 5").await;
    let expected = [
        "networks.alpha.quorum",
        "networks.alpha.upstreams.a",
        "networks.alpha.upstreams.b",
        "networks.alpha.upstreams.c",
    ];
    assert_eq!(places(&found), expected, "{found:#?}");
}

async fn blocks_that_prove_nothing(world: &World) {
    let changed = Fault::ChangeReceipt {
        transaction: None,
        field: "cumulativeGasUsed".to_owned(),
        value: "0x1".into(),
    };
    world.faults(&[2], &changed);
    let found = one(&serious(world.check(&world.file()).await), "networks.alpha.upstreams.c");
    assert_eq!(found.severity, Severity::Warning);

    world.faults(&[0, 1, 2], &changed);
    let found = one(&serious(world.check(&world.file()).await), "networks.alpha");
    assert_eq!(found.severity, Severity::Error);
    assert!(found.risk.contains("may not sign"), "{}", found.risk);
    world.faults(&[], &changed);
}

async fn contracts_that_differ(world: &World) {
    let at = world.deployment(0);
    let nobody = Address::repeat_byte(0x99);
    let text = |address: Address| format!("\"{address:#x}\"");
    for (setting, address, place) in [
        ("endpoint = ", at.endpoint, "layerzero.alpha.endpoint".to_owned()),
        ("send_libraries = [", at.send_uln, format!("layerzero.alpha.send_libraries.{nobody:#x}")),
        ("address = ", at.dvns[0], "layerzero.alpha.dvn".to_owned()),
        ("executor = ", at.executor, "layerzero.alpha.executor".to_owned()),
    ] {
        let (from, to) = (text(address), text(nobody));
        let found = world.with(&format!("{setting}{from}"), &format!("{setting}{to}")).await;
        let found = one(&found, &place);
        assert!(found.what.contains("no contract"), "{}", found.what);
        assert!(found.remedy.contains("address"), "{}", found.remedy);
    }

    let receive = format!("receive_libraries = [{}]", text(at.receive_uln));
    let wrong = format!("receive_libraries = [{}]", text(at.executor));
    let found = world.with(&receive, &wrong).await;
    let place = format!("layerzero.alpha.receive_libraries.{:#x}", at.executor);
    assert!(one(&found, &place).what.contains("does not answer as a message library"));

    let found = world.with(&format!("eid = {}", at.eid), "eid = 30999").await;
    assert!(one(&found, "layerzero.alpha.eid").remedy.contains("eid = 30901"));
}

async fn keys_that_differ(world: &World) {
    let found = world.with("\"alpha-dvn-2\"", "\"stranger\"").await;
    assert_eq!(
        places(&found),
        ["layerzero.alpha.dvn.keys.stranger"; 2],
        "a journal and a signer are missing: {found:#?}"
    );

    let found = world.with(", \"alpha-dvn-2\"", "").await;
    let found = one(&found, "layerzero.alpha.dvn");
    assert!(found.what.contains("needs 2 signatures"), "{}", found.what);

    let found = world.with("\"alpha-payer\"", "\"stranger\"").await;
    assert_eq!(places(&found), ["layerzero.alpha.dvn", "layerzero.alpha.executor"], "{found:#?}");

    let name = "alpha-payer".parse().unwrap();
    let payer = world.keystore.transaction_key(&name, &world.password).unwrap().address();
    world.devnet.chains()[0].rpc().set_balance(payer, U256::ZERO).await.unwrap();
    let found = serious(world.check(&world.file()).await);
    assert!(one(&found, "networks.alpha.signer").what.contains("no coins"));
}
