//! Transactions: what was signed, for which duties, and what became of it.

use super::{
    duties,
    row::{self, CHUNK, be, bytes, get_hash, millis},
    settle::{self, Changes},
};
use crate::{MAX_BATCH, NewTransaction, Result, StoreError, TransactionState};
use alloy_primitives::B256;
use postrider_message::{Duty, DutyId, DutyState, NetworkName, Reason, TxHash, UnixMillis};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::collections::{BTreeSet, HashMap, HashSet};

struct Stored {
    network: NetworkName,
    signer: String,
    nonce: u64,
    state: TransactionState,
}

async fn stored(conn: &mut SqliteConnection, hashes: &[TxHash]) -> Result<HashMap<TxHash, Stored>> {
    let mut all = HashMap::with_capacity(hashes.len());
    for chunk in hashes.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT hash, network, signer, nonce, state FROM transactions WHERE hash IN (",
        );
        let mut list = query.separated(", ");
        for hash in chunk {
            list.push_bind(bytes(hash.0));
        }
        query.push(")");
        for r in query.build().persistent(false).fetch_all(&mut *conn).await? {
            let stored = Stored {
                network: row::get_parsed(&r, "network")?,
                signer: row::get_text(&r, "signer")?,
                nonce: row::get_number(&r, "nonce")?,
                state: row::get_named(&r, "state")?,
            };
            all.insert(get_hash(&r, "hash")?, stored);
        }
    }
    Ok(all)
}

fn is_live(state: TransactionState) -> bool {
    use TransactionState::{Final, Included, Recorded};
    matches!(state, Recorded | Included | Final)
}

pub(super) async fn record(
    conn: &mut SqliteConnection,
    all: &[NewTransaction],
    at: UnixMillis,
) -> Result<()> {
    if all.len() > MAX_BATCH {
        return Err(StoreError::bad("transactions", format!("more than {MAX_BATCH}")));
    }
    let named: HashSet<DutyId> = all.iter().flat_map(|new| new.duties.iter().copied()).collect();
    let mut owed = duties::by_ids(conn, &named.into_iter().collect::<Vec<_>>()).await?;
    let mut changes = Changes::default();
    let fresh = fresh(conn, all, at).await?;
    insert(conn, &fresh.inserted, at).await?;
    let recorded: Vec<&NewTransaction> = fresh.inserted.into_iter().chain(fresh.revived).collect();
    for new in &recorded {
        submit(&mut owed, new, &mut changes)?;
    }
    join(conn, &recorded, at).await?;
    let moved = owed.iter().filter(|(id, _)| changes.duties.contains(*id));
    duties::save_all(conn, moved, at).await?;
    settle::follow(conn, &changes, at).await?;
    Ok(())
}

/// Those to be recorded among transactions that may be there already.
#[derive(Default)]
struct Fresh<'a> {
    /// They are not there.
    inserted: Vec<&'a NewTransaction>,
    /// The same bytes, signed again after they were given up: they go again.
    revived: Vec<&'a NewTransaction>,
}

async fn fresh<'a>(
    conn: &mut SqliteConnection,
    all: &'a [NewTransaction],
    at: UnixMillis,
) -> Result<Fresh<'a>> {
    let hashes = all.iter().flat_map(|new| std::iter::once(new.hash).chain(new.replaces));
    let known = stored(conn, &hashes.collect::<Vec<_>>()).await?;
    let mut fresh = Fresh::default();
    let mut named = HashSet::new();
    for new in all.iter().filter(|new| named.insert(new.hash)) {
        match known.get(&new.hash) {
            Some(known) if is_live(known.state) => {}
            Some(_) => {
                revive(conn, new, at).await?;
                fresh.revived.push(new);
            }
            None => {
                if let Some(old) = new.replaces {
                    replace(conn, new, (old, known.get(&old)), at).await?;
                }
                fresh.inserted.push(new);
            }
        }
    }
    Ok(fresh)
}

async fn revive(conn: &mut SqliteConnection, new: &NewTransaction, at: UnixMillis) -> Result<()> {
    sqlx::query(
        "UPDATE transactions SET state = 'recorded', note = NULL, recorded_at = ?1, \
         updated_at = ?1 WHERE hash = ?2",
    )
    .bind(millis(at))
    .bind(bytes(new.hash.0))
    .execute(conn)
    .await
    .map_err(|error| taken(error, new))?;
    Ok(())
}

fn is_taken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.is_unique_violation())
}

fn taken(error: sqlx::Error, new: &NewTransaction) -> StoreError {
    if !is_taken(&error) {
        return error.into();
    }
    let NewTransaction { network, signer, nonce, .. } = new;
    StoreError::NonceTaken { network: network.clone(), signer: signer.clone(), nonce: *nonce }
}

/// The open duties of a transaction that is now on disk are submitted.
fn submit(
    owed: &mut HashMap<DutyId, Duty>,
    new: &NewTransaction,
    changes: &mut Changes,
) -> Result<()> {
    let inclusion = Reason::AwaitingInclusion { network: new.network.clone() };
    for id in &new.duties {
        let duty = owed.get_mut(id).ok_or(StoreError::UnknownDuty { duty: *id })?;
        if duty.state.is_open() {
            duty.attempts = duty.attempts.saturating_add(1);
            duty.state = DutyState::Submitted(inclusion.clone());
            changes.duties.insert(*id);
            changes.messages.insert(duty.message);
        }
    }
    Ok(())
}

async fn replace(
    conn: &mut SqliteConnection,
    new: &NewTransaction,
    (old, known): (TxHash, Option<&Stored>),
    at: UnixMillis,
) -> Result<()> {
    let known = known.ok_or(StoreError::UnknownTransaction { hash: old })?;
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
    all: &[&NewTransaction],
    at: UnixMillis,
) -> Result<()> {
    for chunk in all.chunks(CHUNK) {
        let Err(error) = insert_chunk(conn, chunk, at).await else { continue };
        if !is_taken(&error) {
            return Err(error.into());
        }
        // Whose nonce it is, the statement does not tell.
        for new in chunk {
            insert_chunk(conn, &[*new], at).await.map_err(|error| taken(error, new))?;
        }
    }
    Ok(())
}

async fn insert_chunk(
    conn: &mut SqliteConnection,
    chunk: &[&NewTransaction],
    at: UnixMillis,
) -> sqlx::Result<()> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO transactions (hash, network, signer, nonce, raw, fees, state, recorded_at, \
         updated_at) ",
    );
    query.push_values(chunk, |mut values, new| {
        let fees = format!(r#"{{"max_fee":"{}","tip":"{}"}}"#, new.fees.max_fee, new.fees.tip);
        values
            .push_bind(bytes(new.hash.0))
            .push_bind(new.network.to_string())
            .push_bind(new.signer.as_str())
            .push_bind(be(new.nonce))
            .push_bind(new.raw.as_slice())
            .push_bind(fees)
            .push("'recorded'")
            .push_bind(millis(at))
            .push_bind(millis(at));
    });
    query.build().persistent(false).execute(conn).await.map(|_| ())
}

/// Stores the submissions and joins them to the transactions and the duties.
async fn join(conn: &mut SqliteConnection, all: &[&NewTransaction], at: UnixMillis) -> Result<()> {
    for chunk in all.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO submissions (id, network, target, data, value, gas_limit, purpose, \
             recorded_at) ",
        );
        query.push_values(chunk, |mut values, new| {
            let call = &new.submission;
            values
                .push_bind(bytes(call.id))
                .push_bind(new.network.to_string())
                .push_bind(call.to.as_str())
                .push_bind(call.data.to_vec())
                .push_bind(call.value.to_be_bytes::<32>().to_vec())
                .push_bind(be(call.gas_limit))
                .push_bind(call.purpose.as_str())
                .push_bind(millis(at));
        });
        query.push(" ON CONFLICT (id) DO NOTHING");
        query.build().persistent(false).execute(&mut *conn).await?;
        let submissions = chunk.iter().map(|new| (new.hash.0, new.submission.id)).collect();
        let into = "transaction_submissions (transaction_hash, submission)";
        pairs(conn, into, submissions).await?;
    }
    let call = |new: &NewTransaction| new.submission.id;
    let duties = all.iter().flat_map(|new| new.duties.iter().map(|duty| (call(new), duty.0)));
    pairs(conn, "submission_duties (submission, duty)", duties.collect()).await
}

/// Stores pairs of ids, each once.
async fn pairs(conn: &mut SqliteConnection, into: &str, all: BTreeSet<(B256, B256)>) -> Result<()> {
    let all: Vec<_> = all.into_iter().collect();
    for chunk in all.chunks(CHUNK) {
        let mut query = QueryBuilder::<Sqlite>::new(format!("INSERT INTO {into} "));
        query.push_values(chunk, |mut values, (one, other)| {
            values.push_bind(bytes(*one)).push_bind(bytes(*other));
        });
        query.push(" ON CONFLICT DO NOTHING");
        query.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(())
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
        duties::save_all(conn, [(&id, &duty)], at).await?;
        changes.duties.insert(id);
        changes.messages.insert(duty.message);
    }
    settle::follow(conn, &changes, at).await?;
    Ok(())
}
