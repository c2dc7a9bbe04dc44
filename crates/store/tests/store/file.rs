use crate::world::*;
use postrider_message::*;
use postrider_store::*;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};
use tempfile::TempDir;

#[tokio::test]
async fn one_process_writes() {
    let world = World::new().await;
    let path = world.store.path().to_owned();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(&error, StoreError::Locked { path: p, .. } if *p == path), "{error}");
    assert!(error.to_string().contains("store.db"), "{error}");
    world.store.close().await;
    SqliteStore::open(&path).await.unwrap();
}

#[tokio::test]
async fn r7_reading_goes_on_beside_writing() {
    let world = World::new().await;
    let reader = SqliteStore::open_read_only(world.store.path()).await.unwrap();
    assert_eq!(reader.cursor(&network("alpha")).await.unwrap(), None);
    let write = async {
        for height in 1..=30 {
            world.store.record_blocks(sending(height, &[message(height)])).await.unwrap();
        }
    };
    let read = async {
        let mut before = 0;
        while before < 30 {
            let rows = reader.messages(MessageFilter::default()).await.unwrap().len();
            assert!(rows >= before);
            before = rows;
        }
    };
    let both = async { tokio::join!(write, read) };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
    let refused = reader.record_blocks(batch("alpha", 30, 31)).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused}");
}

#[tokio::test]
async fn a_store_nobody_writes_to_can_be_read() {
    let world = World::new().await;
    world.store.record_blocks(sending(1, &[message(1)])).await.unwrap();
    let path = world.store.path().to_owned();
    world.store.close().await;
    let reader = SqliteStore::open_read_only(&path).await.unwrap();
    assert_eq!(reader.counts().await.unwrap(), [(MessageStatus::Verified, 1)]);
    reader.check_integrity().await.unwrap();
    let missing = SqliteStore::open_read_only(world.folder.path().join("none.db")).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn a_file_that_is_no_store_says_so() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    std::fs::write(&path, "not a database ".repeat(1000)).unwrap();
    for error in [
        SqliteStore::open(&path).await.unwrap_err(),
        SqliteStore::open_read_only(&path).await.unwrap_err(),
    ] {
        assert!(matches!(&error, StoreError::Corrupt { path: p, .. } if *p == path), "{error}");
        assert!(error.to_string().contains("store.db"), "{error}");
        assert!(!error.is_retryable());
    }
    let nowhere = SqliteStore::open(folder.path().join("no/such/folder.db")).await.unwrap_err();
    assert!(matches!(nowhere, StoreError::Open { .. }), "{nowhere}");
}

#[tokio::test]
async fn damage_inside_is_found() {
    let world = World::new().await;
    let messages: Vec<_> = (1..=300).map(message).collect();
    world.store.record_blocks(sending(1, &messages)).await.unwrap();
    let path = world.store.path().to_owned();
    world.store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let reader = SqliteStore::open_read_only(&path).await.unwrap();
    let error = reader.check_integrity().await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { path: p, .. } if *p == path), "{error}");
}

const KILL_PATH: &str = "POSTRIDER_TEST_STORE";

/// Not a test by itself: the process that `r4_what_was_recorded_survives_a_kill` kills.
#[tokio::test]
#[ignore = "started by another test"]
async fn writes_until_killed() {
    let Ok(path) = std::env::var(KILL_PATH) else {
        return;
    };
    let store = SqliteStore::open(path).await.unwrap();
    for height in 1..100_000 {
        let messages = [message(height), message_on("other", height)];
        store.record_blocks(sending(height, &messages)).await.unwrap();
        println!("recorded {height}");
    }
}

#[tokio::test]
async fn r4_what_was_recorded_survives_a_kill() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    let mut recorded = 0;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "file::writes_until_killed", "--ignored", "--nocapture"])
        .env(KILL_PATH, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, height)) = line.split_once("recorded ") else {
            continue;
        };
        recorded = height.trim().parse().unwrap();
        if recorded >= 25 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(recorded >= 25, "the writing process ended by itself");

    let store = SqliteStore::open(&path).await.unwrap();
    store.check_integrity().await.unwrap();
    let tip = store.cursor(&network("alpha")).await.unwrap().unwrap().tip.height.0;
    assert!(tip >= recorded);
    for height in 1..=tip {
        for about in [message(height), message_on("other", height)] {
            let detail = store.message(about.id()).await.unwrap().unwrap();
            assert_eq!((detail.duties.len(), detail.facts.len()), (2, 1));
        }
    }
    assert_eq!(store.counts().await.unwrap(), [(MessageStatus::Verified, 2 * tip)]);
    store.record_blocks(sending(tip + 1, &[message(tip + 1)])).await.unwrap();
}
