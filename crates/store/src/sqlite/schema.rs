//! The layout of the file, and its changes from release to release.

use crate::{Result, StoreError};
use sqlx::{
    Row, SqlStr, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};
use std::path::Path;

/// Applied in order, each once; one that was released never changes.
const MIGRATIONS: [(i64, &str, &str); 6] = [
    (1, "initial", include_str!("../../migrations/0001_initial.sql")),
    (2, "steering", include_str!("../../migrations/0002_steering.sql")),
    (3, "supply", include_str!("../../migrations/0003_supply.sql")),
    (4, "gathering", include_str!("../../migrations/0004_gathering.sql")),
    (5, "clearing", include_str!("../../migrations/0005_clearing.sql")),
    (6, "escrows", include_str!("../../migrations/0006_escrows.sql")),
];

/// Brings the file to the newest layout.
pub(super) async fn migrate(pool: &SqlitePool, path: &Path) -> Result<()> {
    let migrations = MIGRATIONS
        .into_iter()
        .map(|(version, name, sql)| {
            let sql = SqlStr::from_static(sql);
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        })
        .collect();
    Migrator::with_migrations(migrations).run(pool).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::from(error).at(path)
        }
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => newer(path),
        other => StoreError::Layout { path: path.to_owned(), detail: other.to_string() },
    })
}

/// Checks that the file has the newest layout, for those that cannot change it.
pub(super) async fn check(pool: &SqlitePool, path: &Path) -> Result<()> {
    let present = sqlx::query(
        "SELECT COUNT(*) AS n FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
    )
    .fetch_one(pool)
    .await
    .and_then(|row| row.try_get::<i64, _>("n"))
    .map_err(|e| StoreError::from(e).at(path))?;
    if present == 0 {
        return Err(StoreError::corrupt(path, "it has no tables of Postrider"));
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(pool)
            .await
            .map_err(|e| StoreError::from(e).at(path))?;
    let newest = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    match version.unwrap_or(0) {
        v if v > newest => Err(newer(path)),
        v if v < newest => Err(StoreError::Layout {
            path: path.to_owned(),
            detail: "an older release made it; run `postrider start` once to bring it up to date"
                .into(),
        }),
        _ => Ok(()),
    }
}

fn newer(path: &Path) -> StoreError {
    StoreError::Layout {
        path: path.to_owned(),
        detail: "a newer release made it; use that release".into(),
    }
}
