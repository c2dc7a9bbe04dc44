//! The npm packages that hold the chain program and the contracts, pinned by a lock file and
//! installed once into a cache. Their licence allows development use; none of their files is
//! part of Postrider.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use alloy_primitives::keccak256;
use tokio::process::Command;

use crate::artifact::{Artifact, ContractArtifact};
use crate::error::DevnetError;
use crate::progress::Progress;

const PACKAGE_JSON: &str = include_str!("../../../testnet/layerzero/package.json");
const PACKAGE_LOCK: &str = include_str!("../../../testnet/layerzero/package-lock.json");
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);
/// How much of a program's output an error repeats, in bytes.
const OUTPUT_TAIL: usize = 800;

/// The installed packages.
#[derive(Debug, Clone)]
pub struct Packages {
    folder: PathBuf,
    anvil: PathBuf,
}

impl Packages {
    /// Installs the packages unless they are there: `npm ci` from the embedded lock file into
    /// `<cache>/layerzero-<hash of the lock>`. The cache is `$POSTRIDER_DEVNET_CACHE`, else
    /// `$XDG_CACHE_HOME/postrider`, else `~/.cache/postrider`. Several processes may call this at
    /// once: one installs, the others wait for it.
    ///
    /// # Errors
    /// [`DevnetError::NpmMissing`], [`DevnetError::NpmFailed`], [`DevnetError::AnvilMissing`],
    /// [`DevnetError::NoCacheFolder`] or [`DevnetError::File`].
    pub async fn ensure(progress: &dyn Progress) -> Result<Self, DevnetError> {
        let cache = cache_folder(|name| std::env::var_os(name))?;
        Self::ensure_in(&cache, progress).await
    }

    /// As [`Packages::ensure`], with the cache folder named.
    ///
    /// # Errors
    /// As [`Packages::ensure`].
    pub async fn ensure_in(cache: &Path, progress: &dyn Progress) -> Result<Self, DevnetError> {
        let name = folder_name();
        let folder = cache.join(&name);
        if !folder.is_dir() {
            std::fs::create_dir_all(cache).map_err(DevnetError::file("create", cache))?;
            let _lock = lock(cache.join(format!("{name}.lock")), progress).await?;
            if !folder.is_dir() {
                progress.step("installing anvil and the LayerZero contracts from npm (once)");
                install(&cache.join(format!(".{name}.new")), &folder).await?;
            }
        }
        let packaged = folder.join("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
        let anvil = find_anvil(std::env::var_os("POSTRIDER_ANVIL"), packaged)?;
        Ok(Self { folder, anvil })
    }

    /// The anvil program: `$POSTRIDER_ANVIL`, else the packaged one, else one on the `PATH`.
    #[must_use]
    pub fn anvil(&self) -> &Path {
        &self.anvil
    }

    /// Reads a contract.
    ///
    /// # Errors
    /// [`DevnetError::Artifact`] when the file is missing or has no bytecode.
    pub fn artifact(&self, artifact: Artifact) -> Result<ContractArtifact, DevnetError> {
        let path = self.folder.join("node_modules/@layerzerolabs").join(artifact.path());
        ContractArtifact::read(&path, &self.folder)
    }
}

/// Named after what it holds, so another lock file gets another folder.
fn folder_name() -> String {
    let hash = keccak256([PACKAGE_JSON.as_bytes(), PACKAGE_LOCK.as_bytes()].concat());
    let hex: String = alloy_primitives::hex::encode(hash).chars().take(12).collect();
    format!("layerzero-{hex}")
}

/// `$POSTRIDER_DEVNET_CACHE`, else `$XDG_CACHE_HOME/postrider`, else `~/.cache/postrider`.
pub(crate) fn cache_folder(
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, DevnetError> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("POSTRIDER_DEVNET_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("postrider")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/postrider")))
        .ok_or(DevnetError::NoCacheFolder)
}

fn find_anvil(named: Option<OsString>, packaged: PathBuf) -> Result<PathBuf, DevnetError> {
    if let Some(named) = named.filter(|named| !named.is_empty()).map(PathBuf::from) {
        return if named.is_file() { Ok(named) } else { Err(DevnetError::AnvilMissing) };
    }
    if packaged.is_file() {
        return Ok(packaged);
    }
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("anvil"))
        .find(|program| program.is_file())
        .ok_or(DevnetError::AnvilMissing)
}

/// Holds the lock until the file is dropped; the system releases it when a holder dies.
pub(crate) async fn lock(path: PathBuf, progress: &dyn Progress) -> Result<File, DevnetError> {
    let file = File::create(&path).map_err(DevnetError::file("create", &path))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    progress.step("waiting for another process that does the same");
    let waited = path.clone();
    tokio::task::spawn_blocking(move || {
        file.lock().map_err(DevnetError::file("lock", &waited))?;
        Ok(file)
    })
    .await
    .map_err(|error| DevnetError::file("lock", &path)(std::io::Error::other(error)))?
}

/// Installs beside the final folder and renames, so a folder that exists is complete.
async fn install(new: &Path, folder: &Path) -> Result<(), DevnetError> {
    if new.exists() {
        std::fs::remove_dir_all(new).map_err(DevnetError::file("remove", new))?;
    }
    std::fs::create_dir_all(new).map_err(DevnetError::file("create", new))?;
    for (name, text) in [("package.json", PACKAGE_JSON), ("package-lock.json", PACKAGE_LOCK)] {
        let path = new.join(name);
        std::fs::write(&path, text).map_err(DevnetError::file("write", &path))?;
    }
    // The contracts' peer ranges contradict each other, hence legacy-peer-deps.
    let run = Command::new("npm")
        .args(["ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(new)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(INSTALL_TIMEOUT, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DevnetError::NpmMissing);
        }
        Ok(Err(error)) => {
            return Err(DevnetError::NpmFailed { output: error.to_string() });
        }
        Err(_) => {
            return Err(DevnetError::NpmFailed { output: "it took longer than 10 minutes".into() });
        }
    };
    if !output.status.success() {
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stdout));
        return Err(DevnetError::NpmFailed { output: tail(&text) });
    }
    std::fs::rename(new, folder).map_err(DevnetError::file("create", folder))
}

/// The end of what a program said, for an error.
pub(crate) fn tail(text: &str) -> String {
    let text = text.trim();
    let mut start = text.len().saturating_sub(OUTPUT_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_the_first_folder_that_is_set() {
        let with = |set: &[(&str, &str)]| {
            cache_folder(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
                .map(|folder| folder.display().to_string())
        };
        assert_eq!(with(&[("POSTRIDER_DEVNET_CACHE", "/a"), ("HOME", "/h")]).unwrap(), "/a");
        assert_eq!(with(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]).unwrap(), "/x/postrider");
        assert_eq!(with(&[("XDG_CACHE_HOME", ""), ("HOME", "/h")]).unwrap(), "/h/.cache/postrider");
        assert!(matches!(with(&[]), Err(DevnetError::NoCacheFolder)));
    }

    #[test]
    fn the_lock_file_names_no_host() {
        assert!(!PACKAGE_LOCK.contains("\"resolved\""));
        assert!(PACKAGE_LOCK.contains("sha512-"));
    }

    #[test]
    fn the_tail_is_short_and_whole() {
        assert_eq!(tail(" end \n"), "end");
        let long = "é".repeat(OUTPUT_TAIL);
        assert!(tail(&long).len() <= OUTPUT_TAIL && tail(&long).starts_with('é'));
    }

    #[test]
    fn an_anvil_that_is_named_but_absent_is_an_error() {
        let found = find_anvil(Some("/nowhere/anvil".into()), "/nowhere/else".into());
        assert!(matches!(found, Err(DevnetError::AnvilMissing)));
    }
}
