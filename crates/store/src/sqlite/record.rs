//! What chains say: blocks with all that is proven in them, hints ahead of them, and the way back.

use super::{
    duties, facts, inclusion, look,
    messages::{self, Overwrite},
    row::{self, be, bytes, millis},
    settle::{self, Changes},
    supply,
};
use crate::{
    BlockBatch, Cursor, HintBatch, KEEP_BLOCKS, MAX_BATCH, MAX_EVIDENCE_BYTES, ProvenMessage,
    Recorded, Result, StoreError, Unwound,
};
use postrider_message::{
    Alarm, AlarmKind, BlockHash, BlockRef, Certainty, Fact, FactRecord, Height, Message, MessageId,
    NetworkName, PayloadHash, UnixMillis,
};
use sqlx::SqliteConnection;
use std::collections::{HashMap, HashSet};

/// The cursor without the blocks behind it.
pub(super) async fn tip(
    conn: &mut SqliteConnection,
    network: &NetworkName,
) -> Result<Option<BlockRef>> {
    let row = sqlx::query("SELECT height, hash FROM cursors WHERE network = ?")
        .bind(network.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|r| row::get_block(&r, "height", "hash")).transpose()
}

pub(super) async fn cursor(
    conn: &mut SqliteConnection,
    network: &NetworkName,
) -> Result<Option<Cursor>> {
    let Some(tip) = tip(conn, network).await? else {
        return Ok(None);
    };
    let rows = sqlx::query(
        "SELECT height, hash FROM blocks WHERE network = ? ORDER BY height DESC LIMIT ?",
    )
    .bind(network.as_str())
    .bind(i64::try_from(KEEP_BLOCKS).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    let recent = rows.iter().map(|r| row::get_block(r, "height", "hash")).collect::<Result<_>>()?;
    Ok(Some(Cursor { tip, recent }))
}

pub(super) async fn blocks(conn: &mut SqliteConnection, batch: &BlockBatch) -> Result<Recorded> {
    let new_tip = check_blocks(batch)?;
    let sent = check_proven(batch)?;
    supply::check(batch)?;
    let found = tip(conn, &batch.network).await?;
    // After an error during commit the caller cannot know whether the batch was stored, and asks
    // again: then the cursor is there already.
    if found != batch.previous && found != Some(new_tip) {
        return Err(StoreError::CursorMoved {
            network: batch.network.clone(),
            expected: batch.previous,
            found,
        });
    }
    advance(conn, batch, new_tip).await?;

    let proven: Vec<&Message> = batch.messages.iter().map(|proven| &proven.message).collect();
    let new_messages = messages::save(conn, &proven, Overwrite::Hints, batch.at).await?;
    let with_evidence = |(proven, _): &(&ProvenMessage, _)| !proven.evidence.is_empty();
    let evidence: Vec<_> = batch
        .messages
        .iter()
        .zip(sent)
        .filter(with_evidence)
        .map(|(proven, block)| (proven.message.id(), block, &proven.evidence[..]))
        .collect();
    messages::save_evidence(conn, &batch.network, &evidence).await?;
    let (learnt, places) = facts::learn(conn, &batch.facts).await?;
    let new_duties = duties::add(conn, &batch.duties, batch.at).await?;
    let through = (Height(0), new_tip.height);
    let lost = facts::take_back_hints(conn, &batch.network, through, &HashSet::new()).await?;
    let passed = inclusion::pass(conn, &batch.network, new_tip, batch.at).await?;
    let again = inclusion::in_vain(conn, &batch.network, &passed, batch.at).await?;
    let changes = Changes {
        messages: new_duties.values().copied().chain(again.messages).collect(),
        duties: new_duties.into_keys().chain(again.duties).collect(),
        new_messages,
        learnt,
        places,
        lost,
    };
    let done = settle::follow(conn, &changes, batch.at).await?;
    duties::shift(conn, &batch.moves, batch.at).await?;
    inclusion::included(conn, &batch.network, &batch.included, batch.at).await?;
    let alarms = supply::record(conn, batch).await?;
    let new_messages = changes.new_messages.len();
    Ok(Recorded { affected: done.affected, new_messages, alarms })
}

/// Checks the batch against itself; returns the block that becomes the cursor.
fn check_blocks(batch: &BlockBatch) -> Result<BlockRef> {
    let bad = |why: String| StoreError::bad("a batch of blocks", why);
    let sizes = [batch.blocks.len(), batch.messages.len(), batch.facts.len(), batch.duties.len()];
    if sizes.iter().any(|size| *size > MAX_BATCH) {
        return Err(bad(format!("it is larger than {MAX_BATCH}")));
    }
    let tip = *batch.blocks.last().ok_or_else(|| bad("it has no block".into()))?;
    let mut below = batch.previous.map(|block| block.height);
    for block in &batch.blocks {
        if below.is_some_and(|below| block.height <= below) {
            return Err(bad(format!("{block} is not above the one before it")));
        }
        below = Some(block.height);
    }
    let hashes: HashMap<Height, BlockHash> =
        batch.blocks.iter().map(|block| (block.height, block.hash)).collect();
    for record in &batch.facts {
        let block = record.observation.block;
        if record.observation.network != batch.network {
            return Err(bad(format!("a fact stands on {}", record.observation.network)));
        }
        if record.certainty != Certainty::Verified {
            return Err(bad(format!("a fact in {block} is not verified")));
        }
        let after = batch.previous.is_none_or(|previous| block.height > previous.height);
        if !after || block.height > tip.height {
            return Err(bad(format!("a fact stands in {block}, outside of the batch")));
        }
        if hashes.get(&block.height).is_some_and(|hash| *hash != block.hash) {
            return Err(bad(format!("a fact stands in {block}, which is another block there")));
        }
    }
    Ok(tip)
}

/// Finds, for each proven message, the block in which the batch says that it was sent.
fn check_proven(batch: &BlockBatch) -> Result<Vec<BlockRef>> {
    let bad = |why: String| StoreError::bad("a proven message", why);
    let sent: HashMap<_, BlockRef> = batch
        .facts
        .iter()
        .filter(|r| r.fact == Fact::Sent)
        .map(|r| ((facts::place(r), r.subject.payload), r.observation.block))
        .collect();
    let block_of = |message: &Message| {
        let place = (message.lane.id(), message.nonce);
        let payload: PayloadHash = message.payload.hash();
        sent.get(&(place, Some(payload))).or_else(|| sent.get(&(place, None))).copied()
    };
    batch
        .messages
        .iter()
        .map(|proven| {
            let id: MessageId = proven.message.id();
            if proven.evidence.len() > MAX_EVIDENCE_BYTES {
                return Err(bad(format!(
                    "{id} has more than {MAX_EVIDENCE_BYTES} bytes of evidence"
                )));
            }
            block_of(&proven.message)
                .ok_or_else(|| bad(format!("{id} comes without the fact that it was sent")))
        })
        .collect()
}

async fn advance(conn: &mut SqliteConnection, batch: &BlockBatch, tip: BlockRef) -> Result<()> {
    let skip = batch.blocks.len().saturating_sub(KEEP_BLOCKS);
    for block in batch.blocks.iter().skip(skip) {
        sqlx::query(
            "INSERT INTO blocks (network, height, hash) VALUES (?, ?, ?) \
             ON CONFLICT (network, height) DO UPDATE SET hash = excluded.hash",
        )
        .bind(batch.network.as_str())
        .bind(be(block.height.0))
        .bind(bytes(block.hash.0))
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query(
        "DELETE FROM blocks WHERE network = ?1 AND height <= \
         (SELECT height FROM blocks WHERE network = ?1 ORDER BY height DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(batch.network.as_str())
    .bind(i64::try_from(KEEP_BLOCKS).unwrap_or(i64::MAX))
    .execute(&mut *conn)
    .await?;
    set_tip(conn, &batch.network, tip).await
}

async fn set_tip(conn: &mut SqliteConnection, network: &NetworkName, tip: BlockRef) -> Result<()> {
    sqlx::query(
        "INSERT INTO cursors (network, height, hash) VALUES (?, ?, ?) \
         ON CONFLICT (network) DO UPDATE SET height = excluded.height, hash = excluded.hash",
    )
    .bind(network.as_str())
    .bind(be(tip.height.0))
    .bind(bytes(tip.hash.0))
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn hints(conn: &mut SqliteConnection, batch: &HintBatch) -> Result<Recorded> {
    check_hints(batch)?;
    let tip = tip(conn, &batch.network).await?;
    let ahead: Vec<FactRecord> = batch
        .facts
        .iter()
        .filter(|r| tip.is_none_or(|tip| r.observation.block.height > tip.height))
        .cloned()
        .collect();
    let spoken_of: HashSet<_> = ahead.iter().map(facts::place).collect();
    let seen: Vec<&Message> = batch
        .messages
        .iter()
        .filter(|message| spoken_of.contains(&(message.lane.id(), message.nonce)))
        .collect();
    let new_messages = messages::save(conn, &seen, Overwrite::Nothing, batch.at).await?;
    let (learnt, places) = facts::learn(conn, &ahead).await?;
    let named = ahead.iter().map(facts::id).collect();
    let heights = (*batch.heights.start(), *batch.heights.end());
    let lost = facts::take_back_hints(conn, &batch.network, heights, &named).await?;
    let ours = inclusion::mark(conn, &batch.network, &batch.transactions, batch.at).await?;
    let again = inclusion::in_vain(conn, &batch.network, &ours, batch.at).await?;
    let (messages, duties) = (again.messages, again.duties);
    let changes = Changes { new_messages, messages, learnt, places, lost, duties };
    let done = settle::follow(conn, &changes, batch.at).await?;
    let new_messages = changes.new_messages.len();
    Ok(Recorded { affected: done.affected, new_messages, alarms: Vec::new() })
}

fn check_hints(batch: &HintBatch) -> Result<()> {
    let bad = |why: String| StoreError::bad("hints", why);
    if batch.messages.len() > MAX_BATCH || batch.facts.len() > MAX_BATCH {
        return Err(bad(format!("there are more than {MAX_BATCH}")));
    }
    for record in &batch.facts {
        let seen = &record.observation;
        if seen.network != batch.network {
            return Err(bad(format!("a fact stands on {}", seen.network)));
        }
        if record.certainty != Certainty::Hinted {
            return Err(bad(format!("a fact in {} claims to be verified", seen.block)));
        }
        if !batch.heights.contains(&seen.block.height) {
            return Err(bad(format!("a fact stands in {}, outside of the heights", seen.block)));
        }
    }
    Ok(())
}

pub(super) async fn unwind(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    to: Height,
    at: UnixMillis,
) -> Result<Unwound> {
    let row = sqlx::query("SELECT height, hash FROM blocks WHERE network = ? AND height = ?")
        .bind(network.as_str())
        .bind(be(to.0))
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else {
        return Err(StoreError::UnknownBlock { network: network.clone(), height: to });
    };
    set_tip(conn, network, row::get_block(&row, "height", "hash")?).await?;
    for table in [
        "DELETE FROM blocks WHERE network = ? AND height > ?",
        "DELETE FROM evidence WHERE network = ? AND height > ?",
    ] {
        sqlx::query(table).bind(network.as_str()).bind(be(to.0)).execute(&mut *conn).await?;
    }
    sqlx::query(
        "UPDATE transactions SET state = 'recorded', included_height = NULL, \
         included_hash = NULL, success = NULL, updated_at = ? \
         WHERE network = ? AND included_height > ? AND state IN ('included', 'final')",
    )
    .bind(millis(at))
    .bind(network.as_str())
    .bind(be(to.0))
    .execute(&mut *conn)
    .await?;
    let lost = facts::take_back_above(conn, network, to).await?;
    let changes = Changes { lost, ..Changes::default() };
    let done = settle::follow(conn, &changes, at).await?;
    supply::unwind(conn, network, to, at).await?;
    let alarm = |kind, message, detail: String| Alarm {
        kind,
        network: network.clone(),
        message,
        detail: detail.as_str().into(),
        at,
    };
    // In the same transaction: an alarm that is lost with the process is no alarm.
    let replaced = format!("final blocks above {to} were replaced");
    look::raise(conn, &alarm(AlarmKind::FinalBlockReplaced, None, replaced)).await?;
    for id in &done.signed {
        let gone = format!("message {id} was signed for, and its block is gone");
        look::raise(conn, &alarm(AlarmKind::SignedThenReorganised, Some(*id), gone)).await?;
    }
    Ok(Unwound { taken_back: changes.lost.len(), affected: done.affected, signed: done.signed })
}
