//! Tests that need the file's own connections.

use super::*;
use alloy_primitives::B256;
use postrider_message::BlockHash;
use sqlx::Row;

fn batch(from: Option<BlockRef>, count: u64) -> BlockBatch {
    let first = from.map_or(1, |block| block.height.0 + 1);
    let block = |n| BlockRef { height: Height(n), hash: BlockHash(B256::repeat_byte(1)) };
    BlockBatch {
        network: "alpha".parse().unwrap(),
        previous: from,
        blocks: (first..first + count).map(block).collect(),
        messages: vec![],
        facts: vec![],
        duties: vec![],
        moves: vec![],
        included: vec![],
        movements: vec![],
        tokens: B256::ZERO,
        tip_time: None,
        at: UnixMillis(1),
    }
}

#[tokio::test]
async fn r4_a_full_disk_is_retried_and_loses_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
    let first = batch(None, 1);
    store.record_blocks(first.clone()).await.unwrap();
    let write = store.write.as_ref().unwrap();
    sqlx::query("PRAGMA max_page_count = 1").execute(write).await.unwrap();
    let second = batch(first.blocks.last().copied(), 1_000);
    let error = store.record_blocks(second.clone()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Full { path } if path == store.path()), "{error}");
    assert!(error.is_retryable());
    let cursor = store.cursor(&first.network).await.unwrap().unwrap();
    assert_eq!(Some(&cursor.tip), first.blocks.last());
    sqlx::query("PRAGMA max_page_count = 1000000").execute(write).await.unwrap();
    store.record_blocks(second).await.unwrap();
}

#[tokio::test]
async fn frequent_questions_use_their_indexes() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
    let cases = [
        (duties::OPEN, "duties_plannable"),
        (lanes::COUNTS, "messages_counts"),
        (&lanes::reasons(), "messages_pending"),
        (&lanes::oldest(), "messages_pending"),
        (tally::DUTIES, "duties_pending"),
        (
            "WITH wanted (lane, nonce) AS (VALUES (x'00', x'00')) SELECT f.id FROM wanted w \
             CROSS JOIN facts f WHERE f.lane = w.lane AND f.nonce = w.nonce",
            "facts_place",
        ),
        (
            "SELECT id FROM facts f WHERE f.certainty = 'hinted' AND f.network = 'a' \
             AND f.height BETWEEN x'00' AND x'01'",
            "facts_hinted",
        ),
    ];
    for (sql, index) in cases {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explain).fetch_all(&store.read).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|r| r.get("detail")).collect();
        assert!(plan.iter().any(|line| line.contains(index)), "{plan:#?}");
    }
}
