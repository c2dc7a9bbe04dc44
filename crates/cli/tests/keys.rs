//! The signing journal from the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use postrider_message::KeyName;
use postrider_signing::{Journal, Keystore, Password, journal::journal_path};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

const PASSWORD: &str = "secret";
const DOMAIN: &str = "layerzero/dvn/101/0x0000000000000000000000000000000000000001";
const SUBJECT: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

struct World {
    _root: TempDir,
    config: PathBuf,
    keys: PathBuf,
}

impl World {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_postrider"))
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .env("POSTRIDER_PASSWORD", PASSWORD)
            .output()
            .unwrap()
    }

    fn release(&self, more: &[&str]) -> Output {
        let given =
            ["keys", "release", "--key", "dvn", "--domain", DOMAIN, "--subject", SUBJECT, "--json"];
        self.run(&[&given, more].concat())
    }

    fn address(&self) -> alloy_primitives::Address {
        let (name, password): (KeyName, _) = ("dvn".parse().unwrap(), Password::from(PASSWORD));
        let store = Keystore::open(&self.keys).unwrap();
        store.attesting_key(&name, &password).unwrap().address()
    }

    fn journal(&self) -> PathBuf {
        journal_path(&self.keys, self.address())
    }
}

/// A key with a journal that permitted value 0x22…22 for [`SUBJECT`].
async fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("postrider.toml");
    let keys = root.path().join("data").join("keys");
    let world = World { _root: root, config, keys };
    assert!(world.run(&["keys", "new", "dvn", "--purpose", "attest"]).status.success());
    rows(&world.journal(), "INSERT INTO intent VALUES (?, ?, ?, 5, 7)").await;
    world
}

async fn rows(journal: &Path, query: &'static str) -> u64 {
    let options = SqliteConnectOptions::new().filename(journal);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let done = sqlx::query(query)
        .bind(DOMAIN)
        .bind(vec![0x11; 32])
        .bind(vec![0x22; 32])
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    done.rows_affected()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn r3_a_release_is_shown_confirmed_recorded_and_needs_a_stopped_node() {
    let world = world().await;
    let because = ["--because", "the source was reorganised"];

    let running = Journal::open(&world.keys, world.address()).await.unwrap();
    let refused = world.release(&[&because[..], &["--yes"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("in use"), "{}", told(&refused));
    running.close().await;

    let shown = world.release(&because);
    assert_eq!(shown.status.code(), Some(1));
    assert!(told(&shown).contains("--yes"), "{}", told(&shown));
    let document: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(document["released"], false);
    assert_eq!(document["value"], format!("0x{}", "22".repeat(32)));
    assert_eq!((&document["first_at"], &document["expires"]), (&5.into(), &7.into()));

    assert_eq!(world.release(&["--because", "  ", "--yes"]).status.code(), Some(1));
    let released = world.release(&[&because[..], &["--yes"]].concat());
    assert!(released.status.success(), "{}", told(&released));
    let document: Value = serde_json::from_slice(&released.stdout).unwrap();
    assert_eq!(document["released"], true);
    // The entry is gone, and the release has its reason: each of these updates nothing or one row.
    let journal = world.journal();
    let entries = "DELETE FROM intent WHERE domain = ? AND subject = ? AND value = ?";
    assert_eq!(rows(&journal, entries).await, 0);
    let reasons = "UPDATE release SET released_at = released_at WHERE domain = ? AND subject = ? \
                   AND value = ? AND why = 'the source was reorganised'";
    assert_eq!(rows(&journal, reasons).await, 1);

    let again = world.release(&[&because[..], &["--yes"]].concat());
    assert_eq!(again.status.code(), Some(1));
    assert!(told(&again).contains("no entry"), "{}", told(&again));
}

#[tokio::test]
async fn r3_a_journal_restored_from_a_copy_is_named_and_can_be_taken_over() {
    let world = world().await;
    let (path, copy) = (world.journal(), world.keys.join("copy"));
    std::fs::copy(&path, &copy).unwrap();
    std::fs::rename(&copy, &path).unwrap();
    let because = ["--because", "x"];
    let refused = world.release(&because);
    let text = told(&refused);
    assert!(text.contains("is a copy") && text.contains("postrider keys journal"), "{text}");
    let taken = world.run(&["keys", "journal", "dvn"]);
    assert!(taken.status.success() && told(&taken).contains("taken over"), "{}", told(&taken));
    let shown = world.release(&because);
    assert!(told(&shown).contains("--yes"), "{}", told(&shown));
    // One that is in order is not taken over, which would stop its key for nothing.
    let again = world.run(&["keys", "journal", "dvn"]);
    assert!(told(&again).contains("in order"), "{}", told(&again));
}

/// Hermes' operators bring their keys along: from the words, and from a key file, which must have the address
/// that it names. Neither is shown.
#[tokio::test]
async fn r8_keys_of_cosmos_chains_are_taken_in() {
    const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                         abandon abandon about";
    const ADDRESS: &str = "cosmos19rl4cm2hmr8afy4kldpxz3fka4jguq0auqdal4";
    let world = world().await;
    let import = |name: &str, format: &str, input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
        command.args(["keys", "import", name, "--format", format, "--prefix", "cosmos", "--json"]);
        command.arg("--config").arg(&world.config).env("POSTRIDER_PASSWORD", PASSWORD);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let told = child.wait_with_output().unwrap();
        assert!(!format!("{told:?}").contains("abandon"), "it is shown");
        told
    };
    let told = import("words", "mnemonic", &format!("{WORDS}\n"));
    assert!(told.status.success(), "{told:?}");
    let words: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(words["cosmos_address"], ADDRESS);
    let file =
        |address: &str| serde_json::json!({ "address": address, "mnemonic": WORDS }).to_string();
    let told = import("file", "key-file", &file(ADDRESS));
    assert!(told.status.success(), "{told:?}");
    let file_key: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(file_key["address"], words["address"]);
    assert_eq!(file_key["key_algorithm"], "secp256k1");
    let told = import("other", "key-file", &file("cosmos1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqnrql8a"));
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stderr).contains("another address"), "{told:?}");
    let told = import("none", "mnemonic", "abandon hope");
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stderr).contains("not a mnemonic"), "{told:?}");
}
