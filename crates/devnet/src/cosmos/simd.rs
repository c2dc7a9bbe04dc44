//! The chain program, built once from `testnet/simd` or `testnet/simd-v10` with Go.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::error::DevnetError;
use crate::packages::{cache_folder, lock, tail};
use crate::progress::Progress;

type Sources = [(&'static str, &'static str); 4];

/// In the order in which `scripts/simd` hashes them.
macro_rules! sources {
    ($folder:literal) => {
        [
            ("app.go", include_str!(concat!("../../../../testnet/", $folder, "/app.go"))),
            ("main.go", include_str!(concat!("../../../../testnet/", $folder, "/main.go"))),
            ("go.mod", include_str!(concat!("../../../../testnet/", $folder, "/go.mod"))),
            ("go.sum", include_str!(concat!("../../../../testnet/", $folder, "/go.sum"))),
        ]
    };
}

/// ibc-go 11.
const V11: Sources = sources!("simd");
/// ibc-go 10.
const V10: Sources = sources!("simd-v10");
/// Names the version of ibc-go; `scripts/simd` reads it too.
const VERSION: &str = "POSTRIDER_SIMD";
const BUILD_TIMEOUT: Duration = Duration::from_secs(1800);
/// None of the commands that prepare a chain waits for anything.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// The program that runs ibc-go chains.
#[derive(Debug, Clone)]
pub struct Simd {
    program: PathBuf,
}

impl Simd {
    /// Builds the program unless it is there, into `<cache>/simd-<hash of the sources>`, with the
    /// cache of [`crate::Packages::ensure`]. The first time takes 4 to 7 minutes on two cores:
    /// Go fetches and compiles some 200 modules. `scripts/simd` does the same. The environment variable
    /// `POSTRIDER_SIMD` chooses the version of ibc-go: `v11`, which is the default, or `v10`.
    ///
    /// # Errors
    /// [`DevnetError::Plan`] for another version, [`DevnetError::GoMissing`], [`DevnetError::GoFailed`], [`DevnetError::NoCacheFolder`] or
    /// [`DevnetError::File`].
    pub async fn ensure(progress: &dyn Progress) -> Result<Self, DevnetError> {
        let cache = cache_folder(|name| std::env::var_os(name))?;
        let version = std::env::var(VERSION).unwrap_or_default();
        Self::ensure_in(&cache, Path::new("go"), sources(&version)?, progress).await
    }

    async fn ensure_in(
        cache: &Path,
        go: &Path,
        sources: Sources,
        progress: &dyn Progress,
    ) -> Result<Self, DevnetError> {
        let name = folder_name(sources);
        let folder = cache.join(&name);
        if !folder.is_dir() {
            std::fs::create_dir_all(cache).map_err(DevnetError::file("create", cache))?;
            let _lock = lock(cache.join(format!("{name}.lock")), progress).await?;
            if !folder.is_dir() {
                progress.step("building the ibc-go test chain (once, 4 to 7 minutes)");
                build(go, sources, &cache.join(format!(".{name}.new")), &folder).await?;
            }
        }
        Ok(Self { program: folder.join("simd") })
    }

    /// Where the program is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a command of the program that ends by itself, with `--home home`, and gives what it
    /// wrote to its output.
    ///
    /// # Errors
    /// [`DevnetError::Simd`] when it fails.
    pub async fn run(&self, home: &Path, arguments: &[&str]) -> Result<String, DevnetError> {
        let failed = |output: String| DevnetError::Simd {
            // What follows may be a key.
            command: arguments.iter().take(2).copied().collect::<Vec<_>>().join(" "),
            home: home.to_owned(),
            output,
        };
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--home").arg(home);
        let output = output(command, COMMAND_TIMEOUT).await.map_err(|e| failed(e.to_string()))?;
        if !output.status.success() {
            return Err(failed(said(&output)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The sources of a version.
fn sources(version: &str) -> Result<Sources, DevnetError> {
    match version {
        "" | "v11" => Ok(V11),
        "v10" => Ok(V10),
        other => Err(DevnetError::Plan(format!("{VERSION} is `{other}`; there are v10 and v11"))),
    }
}

/// Named after what is built, so other sources get another folder.
fn folder_name(sources: Sources) -> String {
    let mut hash = Sha256::new();
    for (_, text) in sources {
        hash.update(text);
    }
    let hex = alloy_primitives::hex::encode(hash.finalize());
    format!("simd-{}", hex.chars().take(12).collect::<String>())
}

/// Builds beside the final folder and renames, so a folder that exists is complete.
async fn build(go: &Path, all: Sources, new: &Path, folder: &Path) -> Result<(), DevnetError> {
    if new.exists() {
        std::fs::remove_dir_all(new).map_err(DevnetError::file("remove", new))?;
    }
    let sources = new.join("source");
    std::fs::create_dir_all(&sources).map_err(DevnetError::file("create", &sources))?;
    for (name, text) in all {
        let path = sources.join(name);
        std::fs::write(&path, text).map_err(DevnetError::file("write", &path))?;
    }
    let mut command = Command::new(go);
    command
        .args(["build", "-trimpath", "-ldflags", "-s -w", "-o", "../simd", "."])
        .env("CGO_ENABLED", "0")
        .current_dir(&sources);
    let output = match output(command, BUILD_TIMEOUT).await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DevnetError::GoMissing);
        }
        Err(error) => return Err(DevnetError::GoFailed { output: error.to_string() }),
    };
    if !output.status.success() {
        return Err(DevnetError::GoFailed { output: said(&output) });
    }
    std::fs::rename(new, folder).map_err(DevnetError::file("create", folder))
}

async fn output(mut command: Command, timeout: Duration) -> std::io::Result<Output> {
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(timeout, run).await.unwrap_or_else(|_| {
        Err(std::io::Error::other(format!("it took longer than {} s", timeout.as_secs())))
    })
}

fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    tail(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[tokio::test]
    async fn without_go_the_error_says_what_to_install() {
        let cache = tempfile::tempdir().unwrap();
        let error = Simd::ensure_in(cache.path(), Path::new("/nowhere/go"), V11, &Silent)
            .await
            .unwrap_err();
        assert!(matches!(error, DevnetError::GoMissing), "{error}");
        let wanted = V11[2].1.lines().find_map(|line| line.strip_prefix("go ")).unwrap();
        assert!(error.to_string().contains(&format!("Go {wanted}")), "{error}");
    }

    #[tokio::test]
    async fn a_build_that_fails_leaves_nothing_that_looks_built() {
        let cache = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let error = Simd::ensure_in(cache.path(), Path::new("/bin/false"), V11, &Silent)
                .await
                .unwrap_err();
            assert!(matches!(error, DevnetError::GoFailed { .. }), "{error}");
            assert!(!cache.path().join(folder_name(V11)).exists());
        }
    }

    #[test]
    fn a_version_is_chosen_by_its_name() {
        assert_eq!(sources("").unwrap(), V11);
        assert_ne!(folder_name(sources("v10").unwrap()), folder_name(V11));
        assert!(matches!(sources("v9"), Err(DevnetError::Plan(_))));
    }

    #[tokio::test]
    async fn a_failing_command_repeats_no_key() {
        let simd = Simd { program: "/bin/false".into() };
        let error = simd.run(Path::new("/h"), &["keys", "import-hex", "k", "5ec"]).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains("keys import-hex") && !text.contains("5ec"), "{text}");
    }
}
