//! Deploys the contracts in the order in which they need each other.

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolValue;
use futures::future::try_join_all;

use super::abi::{
    ExecutorConfig, ExecutorConfigParam, IDVN, IERC20, IEndpoint, IEndpointView, IExecutor,
    ILzExecutor, IMessageLib, IOApp, IPriceFeed, IReceiveUlnView, ITreasury, IWorker, UlnConfig,
    UlnConfigParam,
};
use super::deployment::{DEPLOYER, Deployment, USER};
use super::plan::LayerZeroPlan;
use super::script::Script;
use crate::artifact::Artifact;
use crate::error::DevnetError;
use crate::packages::Packages;
use crate::rpc::Rpc;

const TREASURY_GAS_LIMIT: u64 = 1_000_000;
const ONE_ETHER: u128 = 1_000_000_000_000_000_000;
/// Prices: both coins worth the same, 1 gwei a unit of gas, 16 gas a byte.
const PRICE_RATIO: u128 = 100_000_000_000_000_000_000;
const GAS_PRICE: u64 = 1_000_000_000;
const GAS_PER_BYTE: u32 = 16;
const NATIVE_PRICE_USD: u128 = 2_000 * PRICE_RATIO;
const MULTIPLIER_BPS: u16 = 12_000;
const VERIFY_GAS: u64 = 80_000;
const RECEIVE_BASE_GAS: u64 = 80_000;
const COMPOSE_BASE_GAS: u64 = 40_000;
const MAX_MESSAGE_SIZE: u32 = 10_000;
/// What the user has of the token at first, in whole tokens.
const TOKENS: u64 = 1_000_000;

/// A chain to deploy on.
pub(crate) struct Target<'a> {
    pub(crate) rpc: &'a Rpc,
    pub(crate) chain_id: u64,
    pub(crate) eid: u32,
}

/// Deploys `plan` on all chains at once and connects each with every other.
///
/// # Errors
/// [`DevnetError::Plan`] before anything is sent, else what [`Script::run`] says.
pub(crate) async fn deploy(
    packages: &Packages,
    plan: &LayerZeroPlan,
    targets: &[Target<'_>],
) -> Result<Vec<Deployment>, DevnetError> {
    plan.check()?;
    check_targets(targets)?;
    let eids: Vec<u32> = targets.iter().map(|target| target.eid).collect();
    let mut scripts = Vec::new();
    let mut deployments = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let nonce = target.rpc.pending_nonce(DEPLOYER).await?;
        let start_block = target.rpc.block_number().await? + 1;
        let mut script = Script::new(packages, DEPLOYER, nonce);
        // The same contract gets another address on each chain, so that one taken for the other
        // is an error and not a lucky guess.
        for _ in 0..index {
            script.burn_nonce();
        }
        let remotes: Vec<u32> = eids.iter().copied().filter(|eid| *eid != target.eid).collect();
        let is_home = index == 0;
        let deployment = write(&mut script, plan, target, (start_block, is_home), &remotes)?;
        scripts.push(script);
        deployments.push(deployment);
    }
    for (script, local) in scripts.iter_mut().zip(&deployments) {
        for remote in deployments.iter().filter(|remote| remote.eid != local.eid) {
            set_peer(script, local.oapp_mock, remote.eid, remote.oapp_mock);
            set_peer(script, local.omni_counter, remote.eid, remote.omni_counter);
            set_peer(script, local.oft, remote.eid, remote.oft);
        }
    }
    let runs = scripts
        .into_iter()
        .zip(targets)
        .map(|(script, target)| script.run(target.rpc, target.chain_id));
    try_join_all(runs).await?;
    Ok(deployments)
}

fn check_targets(targets: &[Target<'_>]) -> Result<(), DevnetError> {
    let mut eids: Vec<u32> = targets.iter().map(|target| target.eid).collect();
    eids.sort_unstable();
    eids.dedup();
    if eids.len() != targets.len() {
        return Err(DevnetError::Plan("two chains have the same endpoint id".to_owned()));
    }
    if let Some(eid) = eids.iter().find(|eid| !(30_001..40_000).contains(*eid)) {
        return Err(DevnetError::Plan(format!(
            "the endpoint id {eid} is not that of a V2 endpoint; use 30001 to 39999"
        )));
    }
    Ok(())
}

fn write(
    script: &mut Script<'_>,
    plan: &LayerZeroPlan,
    target: &Target<'_>,
    (start_block, is_home): (u64, bool),
    remotes: &[u32],
) -> Result<Deployment, DevnetError> {
    let eid = target.eid;
    let libraries = libraries(script, eid)?;
    let fees = fee_contracts(script, eid, remotes)?;
    let dvns = dvns(script, plan, eid, &libraries, &fees, remotes)?;
    let executor = executor(script, plan, &libraries, &fees, remotes)?;
    let treasury = treasury(script, plan, libraries.send)?;
    defaults(script, plan, &libraries, &dvns, executor, remotes);

    let endpoint = libraries.endpoint;
    let endpoint_view = script.deploy(Artifact::EndpointV2View, &[])?;
    script.call(endpoint_view, &IEndpointView::initializeCall { endpoint });
    let receive_uln_view = script.deploy(Artifact::ReceiveUln302View, &[])?;
    let receive_uln302 = libraries.receive;
    script.call(
        receive_uln_view,
        &IReceiveUlnView::initializeCall { endpoint, receiveUln302: receive_uln302 },
    );
    let lz_executor = script.deploy(Artifact::LzExecutor, &[])?;
    let initialize = ILzExecutor::initializeCall {
        receiveUln302: receive_uln302,
        receiveUln302View: receive_uln_view,
        endpoint,
    };
    script.call(lz_executor, &initialize);
    let multi_call = script.deploy(Artifact::MultiCall, &[])?;
    let app_arguments = (endpoint, DEPLOYER).abi_encode_params();
    let oapp_mock = script.deploy(Artifact::OAppMock, &app_arguments)?;
    let omni_counter = script.deploy(Artifact::OmniCounter, &app_arguments)?;
    let (token, oft) = tokens(script, endpoint, is_home)?;

    Ok(Deployment {
        chain_id: target.chain_id,
        eid,
        vid: vid(eid),
        start_block,
        endpoint,
        send_uln: libraries.send,
        receive_uln: libraries.receive,
        price_feed: fees.price_feed,
        dvn_fee_lib: fees.dvn,
        executor_fee_lib: fees.executor,
        dvns,
        executor,
        treasury,
        endpoint_view,
        receive_uln_view,
        lz_executor,
        multi_call,
        oapp_mock,
        omni_counter,
        token,
        oft,
    })
}

/// A token with supply on its home chain, locked there where it leaves; on other chains it is minted
/// as it comes.
fn tokens(
    script: &mut Script<'_>,
    endpoint: Address,
    is_home: bool,
) -> Result<(Address, Address), DevnetError> {
    let names = ("Development", "DEV");
    if !is_home {
        let arguments = (names.0, names.1, endpoint, DEPLOYER).abi_encode_params();
        let oft = script.deploy(Artifact::MockOft, &arguments)?;
        return Ok((oft, oft));
    }
    let token = script.deploy(Artifact::MockErc20, &names.abi_encode_params())?;
    let oft = script
        .deploy(Artifact::MockOftAdapter, &(token, endpoint, DEPLOYER).abi_encode_params())?;
    let value = U256::from(TOKENS) * U256::from(ONE_ETHER);
    script.call(token, &IERC20::mintCall { to: USER, value });
    Ok((token, oft))
}

/// The id of an endpoint as price feeds and DVN signatures use it.
fn vid(eid: u32) -> u32 {
    eid % 30_000
}

struct Libraries {
    endpoint: Address,
    send: Address,
    receive: Address,
}

fn libraries(script: &mut Script<'_>, eid: u32) -> Result<Libraries, DevnetError> {
    let endpoint = script.deploy(Artifact::EndpointV2, &(eid, DEPLOYER).abi_encode_params())?;
    let arguments = (endpoint, U256::from(TREASURY_GAS_LIMIT), U256::from(ONE_ETHER));
    let send = script.deploy(Artifact::SendUln302, &arguments.abi_encode_params())?;
    let receive = script.deploy(Artifact::ReceiveUln302, &endpoint.abi_encode())?;
    for lib in [send, receive] {
        script.call(endpoint, &IEndpoint::registerLibraryCall { lib });
    }
    Ok(Libraries { endpoint, send, receive })
}

struct FeeContracts {
    price_feed: Address,
    dvn: Address,
    executor: Address,
}

fn fee_contracts(
    script: &mut Script<'_>,
    eid: u32,
    remotes: &[u32],
) -> Result<FeeContracts, DevnetError> {
    let price_feed = script.deploy(Artifact::PriceFeed, &[])?;
    script.call(price_feed, &IPriceFeed::initializeCall { priceUpdater: DEPLOYER });
    let price = IPriceFeed::Price {
        priceRatio: PRICE_RATIO,
        gasPriceInUnit: GAS_PRICE,
        gasPerByte: GAS_PER_BYTE,
    };
    let prices = remotes
        .iter()
        .map(|eid| IPriceFeed::UpdatePrice { eid: vid(*eid), price: price.clone() })
        .collect();
    script.call(price_feed, &IPriceFeed::setPriceCall { prices });
    script.call(price_feed, &IPriceFeed::setNativeTokenPriceUSDCall { price: NATIVE_PRICE_USD });
    let arguments = (eid, U256::from(ONE_ETHER)).abi_encode_params();
    let dvn = script.deploy(Artifact::DvnFeeLib, &arguments)?;
    let executor = script.deploy(Artifact::ExecutorFeeLib, &arguments)?;
    Ok(FeeContracts { price_feed, dvn, executor })
}

fn dvns(
    script: &mut Script<'_>,
    plan: &LayerZeroPlan,
    eid: u32,
    libraries: &Libraries,
    fees: &FeeContracts,
    remotes: &[u32],
) -> Result<Vec<Address>, DevnetError> {
    let mut contracts = Vec::with_capacity(plan.dvns.len());
    for dvn in &plan.dvns {
        let arguments = (
            eid,
            vid(eid),
            vec![libraries.send],
            fees.price_feed,
            dvn.signers.clone(),
            dvn.quorum,
            with_deployer(&dvn.admins),
        );
        let contract = script.deploy(Artifact::Dvn, &arguments.abi_encode_params())?;
        script.call(contract, &IWorker::setWorkerFeeLibCall { workerFeeLib: fees.dvn });
        let params = remotes
            .iter()
            .map(|eid| IDVN::DstConfigParam {
                dstEid: *eid,
                gas: VERIFY_GAS,
                multiplierBps: MULTIPLIER_BPS,
                floorMarginUSD: 0,
            })
            .collect();
        script.call(contract, &IDVN::setDstConfigCall { params });
        contracts.push(contract);
    }
    Ok(contracts)
}

fn executor(
    script: &mut Script<'_>,
    plan: &LayerZeroPlan,
    libraries: &Libraries,
    fees: &FeeContracts,
    remotes: &[u32],
) -> Result<Address, DevnetError> {
    let executor = script.deploy(Artifact::Executor, &[])?;
    let initialize = IExecutor::initializeCall {
        endpoint: libraries.endpoint,
        receiveUln301: Address::ZERO,
        messageLibs: vec![libraries.send],
        priceFeed: fees.price_feed,
        roleAdmin: DEPLOYER,
        admins: with_deployer(&plan.executor_admins),
    };
    script.call(executor, &initialize);
    script.call(executor, &IWorker::setWorkerFeeLibCall { workerFeeLib: fees.executor });
    let params = remotes
        .iter()
        .map(|eid| IExecutor::DstConfigParam {
            dstEid: *eid,
            lzReceiveBaseGas: RECEIVE_BASE_GAS,
            lzComposeBaseGas: COMPOSE_BASE_GAS,
            multiplierBps: MULTIPLIER_BPS,
            floorMarginUSD: 0,
            nativeCap: ONE_ETHER,
        })
        .collect();
    script.call(executor, &IExecutor::setDstConfigCall { params });
    Ok(executor)
}

fn treasury(
    script: &mut Script<'_>,
    plan: &LayerZeroPlan,
    send: Address,
) -> Result<Option<Address>, DevnetError> {
    let Some(bps) = plan.treasury_bps else {
        return Ok(None);
    };
    let treasury = script.deploy(Artifact::Treasury, &[])?;
    script.call(treasury, &ITreasury::setNativeFeeBPCall { nativeBP: U256::from(bps) });
    script.call(send, &IMessageLib::setTreasuryCall { treasury });
    Ok(Some(treasury))
}

/// The configuration of every application that has none of its own. The libraries must know a
/// chain before the endpoint accepts them as its default.
fn defaults(
    script: &mut Script<'_>,
    plan: &LayerZeroPlan,
    libraries: &Libraries,
    dvns: &[Address],
    executor: Address,
    remotes: &[u32],
) {
    let config = uln_config(plan, dvns);
    let params: Vec<UlnConfigParam> =
        remotes.iter().map(|eid| UlnConfigParam { eid: *eid, config: config.clone() }).collect();
    for library in [libraries.send, libraries.receive] {
        script.call(library, &IMessageLib::setDefaultUlnConfigsCall { params: params.clone() });
    }
    let config = ExecutorConfig { maxMessageSize: MAX_MESSAGE_SIZE, executor };
    let params = remotes
        .iter()
        .map(|eid| ExecutorConfigParam { eid: *eid, config: config.clone() })
        .collect();
    script.call(libraries.send, &IMessageLib::setDefaultExecutorConfigsCall { params });
    for eid in remotes.iter().copied() {
        let send = IEndpoint::setDefaultSendLibraryCall { eid, newLib: libraries.send };
        script.call(libraries.endpoint, &send);
        let receive = IEndpoint::setDefaultReceiveLibraryCall {
            eid,
            newLib: libraries.receive,
            gracePeriod: U256::ZERO,
        };
        script.call(libraries.endpoint, &receive);
    }
}

fn uln_config(plan: &LayerZeroPlan, dvns: &[Address]) -> UlnConfig {
    let sorted = |indexes: &[usize]| {
        let mut addresses: Vec<Address> =
            indexes.iter().filter_map(|index| dvns.get(*index)).copied().collect();
        addresses.sort();
        addresses
    };
    let (required, optional) = (sorted(&plan.required_indexes()), sorted(&plan.optional));
    // A default configuration writes "none" as 0; 255 is for those that override a default.
    let count = |list: &[Address]| u8::try_from(list.len()).unwrap_or(u8::MAX);
    UlnConfig {
        confirmations: plan.confirmations,
        requiredDVNCount: count(&required),
        optionalDVNCount: count(&optional),
        optionalDVNThreshold: plan.optional_threshold,
        requiredDVNs: required,
        optionalDVNs: optional,
    }
}

fn set_peer(script: &mut Script<'_>, app: Address, eid: u32, peer: Address) {
    script.call(app, &IOApp::setPeerCall { eid, peer: peer.into_word() });
}

fn with_deployer(admins: &[Address]) -> Vec<Address> {
    let mut all = admins.to_vec();
    if !all.contains(&DEPLOYER) {
        all.push(DEPLOYER);
    }
    all
}
