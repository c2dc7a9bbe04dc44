//! Signatures of others, and the terms they sign.

use super::row::{self, CHUNK, be, bytes, get_hash};
use crate::{Gathering, MAX_BATCH, OtherSignature, Result, StoreError};
use alloy_primitives::Address;
use postrider_message::{BlockRef, Confirmations, DutyId, MessageId, NetworkName};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::collections::HashMap;

/// A time in seconds; what is later than the column can say is as good as never.
fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Sets terms. Other terms than before take the signatures with them.
pub(super) async fn propose(
    conn: &mut SqliteConnection,
    new: &[Gathering],
    now: u64,
) -> Result<()> {
    if new.len() > MAX_BATCH {
        return Err(StoreError::bad("terms", format!("more than {MAX_BATCH}")));
    }
    sqlx::query("DELETE FROM gatherings WHERE expires < ?")
        .bind(seconds(now))
        .execute(&mut *conn)
        .await?;
    for terms in new {
        sqlx::query("DELETE FROM gatherings WHERE duty = ? AND digest <> ?")
            .bind(bytes(terms.duty.0))
            .bind(bytes(terms.digest))
            .execute(&mut *conn)
            .await?;
        sqlx::query("INSERT INTO gatherings VALUES (?, ?, ?, ?) ON CONFLICT (duty) DO NOTHING")
            .bind(bytes(terms.duty.0))
            .bind(be(terms.confirmations.0))
            .bind(seconds(terms.expires))
            .bind(bytes(terms.digest))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Keeps signatures whose terms still stand; returns how many are new.
pub(super) async fn keep(
    conn: &mut SqliteConnection,
    signatures: &[OtherSignature],
) -> Result<usize> {
    let mut kept = 0;
    for new in signatures {
        let done = sqlx::query(
            "INSERT INTO gathered SELECT duty, ?, ? FROM gatherings WHERE duty = ? AND digest = ? \
             ON CONFLICT (duty, signer) DO NOTHING",
        )
        .bind(new.signer.to_vec())
        .bind(new.signature.as_slice())
        .bind(bytes(new.duty.0))
        .bind(bytes(new.digest))
        .execute(&mut *conn)
        .await?;
        kept += usize::try_from(done.rows_affected()).unwrap_or_default();
    }
    Ok(kept)
}

/// The terms of these duties, with the signatures that have come.
pub(super) async fn of(
    conn: &mut SqliteConnection,
    duties: &[DutyId],
) -> Result<Vec<(Gathering, Vec<OtherSignature>)>> {
    let mut found = Vec::new();
    for chunk in duties.chunks(CHUNK) {
        let mut signatures: HashMap<DutyId, Vec<(Address, Vec<u8>)>> = HashMap::new();
        for r in select(conn, "SELECT * FROM gathered WHERE duty IN (", chunk).await? {
            let signer = row::get_bytes(&r, "signer")?;
            let signer = Address::try_from(signer.as_slice())
                .map_err(|e| StoreError::unreadable("signer", &e))?;
            let entry = (signer, row::get_bytes(&r, "signature")?);
            signatures.entry(get_hash(&r, "duty")?).or_default().push(entry);
        }
        for r in select(conn, "SELECT * FROM gatherings WHERE duty IN (", chunk).await? {
            let terms = Gathering {
                duty: get_hash(&r, "duty")?,
                confirmations: Confirmations(row::get_number(&r, "confirmations")?),
                expires: row::get_count(&r, "expires")?,
                digest: get_hash(&r, "digest")?,
            };
            let (duty, digest) = (terms.duty, terms.digest);
            let list = signatures.remove(&duty).unwrap_or_default().into_iter();
            let list = list
                .map(|(signer, signature)| OtherSignature { duty, digest, signer, signature })
                .collect();
            found.push((terms, list));
        }
    }
    Ok(found)
}

async fn select(
    conn: &mut SqliteConnection,
    text: &'static str,
    duties: &[DutyId],
) -> Result<Vec<sqlx::sqlite::SqliteRow>> {
    let mut query = QueryBuilder::<Sqlite>::new(text);
    let mut list = query.separated(", ");
    for duty in duties {
        list.push_bind(bytes(duty.0));
    }
    query.push(")");
    Ok(query.build().persistent(false).fetch_all(conn).await?)
}

/// The message whose sending is proven to stand at this place.
pub(super) async fn sent_at(
    conn: &mut SqliteConnection,
    network: &NetworkName,
    block: BlockRef,
    index: u64,
) -> Result<Option<MessageId>> {
    let r = sqlx::query(
        "SELECT m.id FROM facts f JOIN messages m ON m.lane = f.lane AND m.nonce = f.nonce \
         AND m.payload_hash = f.payload \
         WHERE f.network = ? AND f.height = ? AND f.block_hash = ? AND f.position = ? \
         AND f.kind = 'sent' AND f.certainty = 'verified' AND m.proven AND NOT m.gone",
    )
    .bind(network.as_str())
    .bind(be(block.height.0))
    .bind(bytes(block.hash.0))
    .bind(be(index))
    .fetch_optional(conn)
    .await?;
    r.as_ref().map(|r| get_hash(r, "id")).transpose()
}
