//! The contracts that are deployed, as their npm packages hold them.

use std::path::Path;

use alloy_primitives::Bytes;
use serde::Deserialize;

use crate::error::DevnetError;

/// A contract of the installed packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Artifact {
    /// `EndpointV2(uint32 eid, address owner)`
    EndpointV2,
    /// `EndpointV2View()`, initialised with the endpoint
    EndpointV2View,
    /// `SendUln302(address endpoint, uint256 treasuryGasLimit, uint256 treasuryGasForFeeCap)`
    SendUln302,
    /// `ReceiveUln302(address endpoint)`
    ReceiveUln302,
    /// `ReceiveUln302View()`, initialised with endpoint and library
    ReceiveUln302View,
    /// `PriceFeed()`, initialised with the updater
    PriceFeed,
    /// `DVNFeeLib(uint32 eid, uint256 nativeDecimalsRate)`
    DvnFeeLib,
    /// `ExecutorFeeLib(uint32 eid, uint256 nativeDecimalsRate)`
    ExecutorFeeLib,
    /// `DVN(uint32 eid, uint32 vid, address[] libs, address priceFeed, address[] signers, uint64 quorum, address[] admins)`
    Dvn,
    /// `Executor()`, initialised
    Executor,
    /// `Treasury()`
    Treasury,
    /// `LzExecutor()`, initialised with library, view and endpoint
    LzExecutor,
    /// `MultiCall()`
    MultiCall,
    /// `OAppMock(address endpoint, address delegate)`: sends and holds a string
    OAppMock,
    /// `OmniCounter(address endpoint, address delegate)`: counts, composes, answers
    OmniCounter,
    /// `MockERC20(string name, string symbol)`: a token that anybody may mint
    MockErc20,
    /// `MockOFT(string name, string symbol, address endpoint, address delegate)`: an OFT that
    /// anybody may mint
    MockOft,
    /// `MockOFTAdapter(address token, address endpoint, address delegate)`: locks a token
    MockOftAdapter,
}

impl Artifact {
    /// The file below `node_modules/@layerzerolabs`.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::EndpointV2 => {
                "lz-evm-protocol-v2/artifacts/contracts/EndpointV2.sol/EndpointV2.json"
            }
            Self::EndpointV2View => {
                "lz-evm-protocol-v2/artifacts/contracts/EndpointV2View.sol/EndpointV2View.json"
            }
            Self::SendUln302 => {
                "lz-evm-messagelib-v2/artifacts/contracts/uln/uln302/SendUln302.sol/SendUln302.json"
            }
            Self::ReceiveUln302 => {
                "lz-evm-messagelib-v2/artifacts/contracts/uln/uln302/ReceiveUln302.sol/ReceiveUln302.json"
            }
            Self::ReceiveUln302View => {
                "lz-evm-messagelib-v2/artifacts/contracts/uln/uln302/ReceiveUln302View.sol/ReceiveUln302View.json"
            }
            Self::PriceFeed => {
                "lz-evm-messagelib-v2/artifacts/contracts/PriceFeed.sol/PriceFeed.json"
            }
            Self::DvnFeeLib => {
                "lz-evm-messagelib-v2/artifacts/contracts/uln/dvn/DVNFeeLib.sol/DVNFeeLib.json"
            }
            Self::ExecutorFeeLib => {
                "lz-evm-messagelib-v2/artifacts/contracts/ExecutorFeeLib.sol/ExecutorFeeLib.json"
            }
            Self::Dvn => "lz-evm-messagelib-v2/artifacts/contracts/uln/dvn/DVN.sol/DVN.json",
            Self::Executor => "lz-evm-messagelib-v2/artifacts/contracts/Executor.sol/Executor.json",
            Self::Treasury => "lz-evm-messagelib-v2/artifacts/contracts/Treasury.sol/Treasury.json",
            Self::LzExecutor => {
                "lz-evm-messagelib-v2/artifacts/contracts/uln/LzExecutor.sol/LzExecutor.json"
            }
            Self::MultiCall => {
                "lz-evm-messagelib-v2/artifacts/contracts/lowlat/MultiCall.sol/MultiCall.json"
            }
            Self::OAppMock => "oapp-evm/artifacts/OAppMock.sol/OAppMock.json",
            Self::MockErc20 => "ovault-evm/artifacts/MockERC20.sol/MockERC20.json",
            Self::MockOft => "ovault-evm/artifacts/MockOFT.sol/MockOFT.json",
            Self::MockOftAdapter => "ovault-evm/artifacts/MockOFT.sol/MockOFTAdapter.json",
            Self::OmniCounter => {
                "lz-evm-oapp-v2/artifacts/contracts/oapp/examples/OmniCounter.sol/OmniCounter.json"
            }
        }
    }
}

/// What is needed to deploy a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractArtifact {
    /// The creation code, to which the ABI-encoded constructor arguments are appended.
    pub bytecode: Bytes,
}

/// The two shapes that packages use: hardhat's string and forge's object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Hardhat(Bytes),
    Forge { object: Bytes },
}

#[derive(Deserialize)]
struct File {
    bytecode: Code,
}

impl ContractArtifact {
    /// Reads an artifact's JSON.
    fn parse(json: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let (Code::Hardhat(bytecode) | Code::Forge { object: bytecode }) = file.bytecode;
        if bytecode.is_empty() {
            return Err("it holds no bytecode".to_owned());
        }
        Ok(Self { bytecode })
    }

    pub(crate) fn read(path: &Path, folder: &Path) -> Result<Self, DevnetError> {
        let broken = |reason| DevnetError::Artifact {
            path: path.to_path_buf(),
            reason,
            folder: folder.to_path_buf(),
        };
        let json = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
        Self::parse(&json).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read_and_others_refused() {
        let code =
            |json: &str| ContractArtifact::parse(json.as_bytes()).map(|a| a.bytecode.to_vec());
        assert_eq!(code(r#"{"bytecode":"0x6001"}"#).unwrap(), [0x60, 1]);
        assert_eq!(code(r#"{"abi":[],"bytecode":{"object":"0x6002"}}"#).unwrap(), [0x60, 2]);
        for bad in [r#"{"bytecode":"0x"}"#, r#"{"bytecode":"0x60__$link$__"}"#, "{}", "", "[1"] {
            assert!(code(bad).is_err(), "{bad}");
        }
    }
}
