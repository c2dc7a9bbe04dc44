//! Transactions: what was signed, for which duties, and what became of it.

use super::{
    duties,
    row::{self, be, bytes, get_hash, millis},
    settle::{self, Changes},
};
use crate::{NewTransaction, Result, StoreError, TransactionState};
use postrider_message::{BlockRef, DutyId, DutyState, NetworkName, Reason, TxHash, UnixMillis};
use sqlx::SqliteConnection;
use std::collections::HashSet;

struct Stored {
    network: NetworkName,
    signer: String,
    nonce: u64,
    state: TransactionState,
}

async fn stored(conn: &mut SqliteConnection, hash: TxHash) -> Result<Option<Stored>> {
    let row = sqlx::query("SELECT network, signer, nonce, state FROM transactions WHERE hash = ?")
        .bind(bytes(hash.0))
        .fetch_optional(conn)
        .await?;
    row.map(|r| {
        Ok(Stored {
            network: row::get_parsed(&r, "network")?,
            signer: row::get_text(&r, "signer")?,
            nonce: row::get_number(&r, "nonce")?,
            state: row::get_named(&r, "state")?,
        })
    })
    .transpose()
}

fn is_live(state: TransactionState) -> bool {
    use TransactionState::{Final, Included, Recorded};
    matches!(state, Recorded | Included | Final)
}

pub(super) async fn record(
    conn: &mut SqliteConnection,
    new: &NewTransaction,
    at: UnixMillis,
) -> Result<()> {
    let taken = || StoreError::NonceTaken {
        network: new.network.clone(),
        signer: new.signer.clone(),
        nonce: new.nonce,
    };
    match stored(conn, new.hash).await? {
        Some(known) if is_live(known.state) => return Ok(()),
        Some(_) => {
            let why = format!("{} was recorded before and given up", new.hash);
            return Err(StoreError::bad("a transaction", why));
        }
        None => {}
    }
    if let Some(old) = new.replaces {
        replace(conn, new, old, at).await?;
    }
    insert(conn, new, at).await.map_err(|error| match &error {
        sqlx::Error::Database(e) if e.is_unique_violation() => taken(),
        _ => error.into(),
    })?;
    let ids: Vec<DutyId> = new.duties.iter().copied().collect::<HashSet<_>>().into_iter().collect();
    let mut owed = duties::by_ids(conn, &ids).await?;
    if let Some(duty) = ids.iter().copied().find(|id| !owed.contains_key(id)) {
        return Err(StoreError::UnknownDuty { duty });
    }
    join(conn, new, &ids, at).await?;

    let submitted =
        DutyState::Submitted(Reason::AwaitingInclusion { network: new.network.clone() });
    let mut changes = Changes::default();
    for (id, duty) in owed.iter_mut().filter(|(_, duty)| duty.state.is_open()) {
        duty.attempts = duty.attempts.saturating_add(1);
        if duty.state != submitted {
            duty.state = submitted.clone();
            changes.duties.insert(*id);
            changes.messages.insert(duty.message);
        }
        duties::save(conn, *id, duty, at).await?;
    }
    settle::follow(conn, &changes, at).await?;
    Ok(())
}

async fn replace(
    conn: &mut SqliteConnection,
    new: &NewTransaction,
    old: TxHash,
    at: UnixMillis,
) -> Result<()> {
    let known = stored(conn, old).await?.ok_or(StoreError::UnknownTransaction { hash: old })?;
    if (&known.network, &known.signer, known.nonce) != (&new.network, &new.signer, new.nonce) {
        let why = format!("{old}, which it replaces, has another account or nonce");
        return Err(StoreError::bad("a transaction", why));
    }
    if matches!(known.state, TransactionState::Included | TransactionState::Final) {
        let why = format!("{old}, which it replaces, is included already");
        return Err(StoreError::bad("a transaction", why));
    }
    sqlx::query(
        "UPDATE transactions SET state = 'replaced', updated_at = ? \
         WHERE hash = ? AND state = 'recorded'",
    )
    .bind(millis(at))
    .bind(bytes(old.0))
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert(
    conn: &mut SqliteConnection,
    new: &NewTransaction,
    at: UnixMillis,
) -> sqlx::Result<()> {
    let fees = format!(r#"{{"max_fee":"{}","tip":"{}"}}"#, new.fees.max_fee, new.fees.tip);
    sqlx::query(
        "INSERT INTO transactions (hash, network, signer, nonce, raw, fees, state, recorded_at, \
         updated_at) VALUES (?, ?, ?, ?, ?, ?, 'recorded', ?, ?)",
    )
    .bind(bytes(new.hash.0))
    .bind(new.network.as_str())
    .bind(new.signer.as_str())
    .bind(be(new.nonce))
    .bind(new.raw.as_slice())
    .bind(fees)
    .bind(millis(at))
    .bind(millis(at))
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores the submission and joins it to the transaction and the duties.
async fn join(
    conn: &mut SqliteConnection,
    new: &NewTransaction,
    duties: &[DutyId],
    at: UnixMillis,
) -> Result<()> {
    let call = &new.submission;
    sqlx::query(
        "INSERT INTO submissions (id, network, target, data, value, gas_limit, purpose, \
         recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )
    .bind(bytes(call.id))
    .bind(new.network.as_str())
    .bind(call.to.as_str())
    .bind(call.data.to_vec())
    .bind(call.value.to_be_bytes::<32>().to_vec())
    .bind(be(call.gas_limit))
    .bind(call.purpose.as_str())
    .bind(millis(at))
    .execute(&mut *conn)
    .await?;
    sqlx::query("INSERT INTO transaction_submissions (transaction_hash, submission) VALUES (?, ?)")
        .bind(bytes(new.hash.0))
        .bind(bytes(call.id))
        .execute(&mut *conn)
        .await?;
    for duty in duties {
        sqlx::query(
            "INSERT INTO submission_duties (submission, duty) VALUES (?, ?) \
             ON CONFLICT (submission, duty) DO NOTHING",
        )
        .bind(bytes(call.id))
        .bind(bytes(duty.0))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

pub(super) async fn included(
    conn: &mut SqliteConnection,
    hash: TxHash,
    block: BlockRef,
    success: bool,
    at: UnixMillis,
) -> Result<()> {
    let known = stored(conn, hash).await?.ok_or(StoreError::UnknownTransaction { hash })?;
    if known.state == TransactionState::Final {
        return Ok(());
    }
    sqlx::query(
        "UPDATE transactions SET state = 'replaced', included_height = NULL, \
         included_hash = NULL, success = NULL, updated_at = ? \
         WHERE network = ? AND signer = ? AND nonce = ? AND hash <> ? \
         AND state IN ('recorded', 'included')",
    )
    .bind(millis(at))
    .bind(known.network.as_str())
    .bind(known.signer.as_str())
    .bind(be(known.nonce))
    .bind(bytes(hash.0))
    .execute(&mut *conn)
    .await?;
    let updated = sqlx::query(
        "UPDATE transactions SET state = 'included', included_height = ?, included_hash = ?, \
         success = ?, updated_at = ? WHERE hash = ?",
    )
    .bind(be(block.height.0))
    .bind(bytes(block.hash.0))
    .bind(success)
    .bind(millis(at))
    .bind(bytes(hash.0))
    .execute(conn)
    .await;
    match updated {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(e)) if e.is_unique_violation() => Err(StoreError::NonceTaken {
            network: known.network,
            signer: known.signer,
            nonce: known.nonce,
        }),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn finalise(
    conn: &mut SqliteConnection,
    hash: TxHash,
    at: UnixMillis,
) -> Result<()> {
    let done = sqlx::query(
        "UPDATE transactions SET state = 'final', updated_at = ? \
         WHERE hash = ? AND state IN ('included', 'final')",
    )
    .bind(millis(at))
    .bind(bytes(hash.0))
    .execute(conn)
    .await?;
    if done.rows_affected() == 0 { Err(StoreError::UnknownTransaction { hash }) } else { Ok(()) }
}

pub(super) async fn dropped(
    conn: &mut SqliteConnection,
    hash: TxHash,
    why: &str,
    at: UnixMillis,
) -> Result<()> {
    let note = String::from(postrider_message::Detail::from(why));
    let done = sqlx::query(
        "UPDATE transactions SET state = 'dropped', note = ?, included_height = NULL, \
         included_hash = NULL, success = NULL, updated_at = ? \
         WHERE hash = ? AND state IN ('recorded', 'included')",
    )
    .bind(note)
    .bind(millis(at))
    .bind(bytes(hash.0))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::UnknownTransaction { hash });
    }
    let rows = sqlx::query(
        "SELECT sd.duty FROM transaction_submissions ts \
         JOIN submission_duties sd ON sd.submission = ts.submission \
         JOIN duties d ON d.id = sd.duty AND d.state = 'submitted' \
         WHERE ts.transaction_hash = ? AND NOT EXISTS ( \
           SELECT 1 FROM submission_duties other \
           JOIN transaction_submissions ots ON ots.submission = other.submission \
           JOIN transactions t ON t.hash = ots.transaction_hash \
           WHERE other.duty = sd.duty AND t.state IN ('recorded', 'included'))",
    )
    .bind(bytes(hash.0))
    .fetch_all(&mut *conn)
    .await?;
    let ids = rows.iter().map(|r| get_hash(r, "duty")).collect::<Result<Vec<DutyId>>>()?;
    let mut changes = Changes::default();
    for (id, mut duty) in duties::by_ids(conn, &ids).await? {
        duty.state = DutyState::Waiting(Reason::AwaitingPlan);
        duties::save(conn, id, &duty, at).await?;
        changes.duties.insert(id);
        changes.messages.insert(duty.message);
    }
    settle::follow(conn, &changes, at).await?;
    Ok(())
}
