//! What one process leaves behind so that another finds the same development network.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::DevnetError;
use crate::layerzero::Deployment;

const VERSION: u32 = 1;
/// A state file of a few chains has a few kilobytes.
const MAX_SIZE: u64 = 1 << 20;

/// The file `state.json` in the folder of a development network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// The chains, in the order of the plan.
    pub chains: Vec<ChainState>,
}

/// One chain that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainState {
    /// The chain's name in the plan.
    pub name: String,
    /// Its HTTP URL.
    pub url: String,
    /// The process id of its anvil.
    pub pid: u32,
    /// Where its anvil writes.
    pub log: PathBuf,
    /// What is deployed on it.
    pub deployment: Deployment,
}

impl State {
    pub(crate) fn new(chains: Vec<ChainState>) -> Self {
        Self { version: VERSION, chains }
    }

    pub(crate) fn path(folder: &Path) -> PathBuf {
        folder.join("state.json")
    }

    /// Reads the state; nothing when there is none.
    ///
    /// # Errors
    /// [`DevnetError::State`] when the file is not one of this version.
    pub fn read(folder: &Path) -> Result<Option<Self>, DevnetError> {
        let path = Self::path(folder);
        let size = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DevnetError::file("read", &path)(error)),
        };
        let broken = |reason: String| DevnetError::State { path: path.clone(), reason };
        if size > MAX_SIZE {
            return Err(broken("it is larger than 1 MiB".to_owned()));
        }
        let text = std::fs::read(&path).map_err(DevnetError::file("read", &path))?;
        let state: Self =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if state.version != VERSION {
            return Err(broken(format!("it has version {}, not {VERSION}", state.version)));
        }
        Ok(Some(state))
    }

    /// Replaces the file as a whole, so that no reader sees half of one.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), DevnetError> {
        let path = Self::path(folder);
        let new = folder.join("state.json.new");
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| DevnetError::State {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        text.push(b'\n');
        std::fs::write(&new, text).map_err(DevnetError::file("write", &new))?;
        std::fs::rename(&new, &path).map_err(DevnetError::file("write", &path))
    }

    pub(crate) fn remove(folder: &Path) -> Result<(), DevnetError> {
        let path = Self::path(folder);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DevnetError::file("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_nothing_and_broken_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), None);
        State::new(Vec::new()).write(folder.path()).unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), Some(State::new(Vec::new())));
        for broken in
            ["", "{}", r#"{"version":2,"chains":[]}"#, r#"{"version":1,"chains":[],"x":1}"#]
        {
            std::fs::write(State::path(folder.path()), broken).unwrap();
            let error = State::read(folder.path()).unwrap_err();
            assert!(matches!(error, DevnetError::State { .. }), "{broken}: {error}");
        }
        State::remove(folder.path()).unwrap();
        State::remove(folder.path()).unwrap();
    }
}
