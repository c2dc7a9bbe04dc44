//! The journal against real files.

use super::*;

const KEY: Address = Address::repeat_byte(1);

fn intent(subject: u8, value: u8) -> Intent {
    Intent {
        domain: "d".into(),
        subject: B256::repeat_byte(subject),
        value: B256::repeat_byte(value),
        expires: now() + 60,
    }
}

async fn fresh() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    Journal::create(folder.path(), KEY, JournalStart::FreshKey).await.unwrap();
    let journal = Journal::open(folder.path(), KEY).await.unwrap();
    (folder, journal)
}

async fn ask(journal: &Journal, intent: Intent) -> Result<Permit, Refusal> {
    journal.permits(vec![intent]).await.unwrap().remove(0)
}

#[tokio::test]
async fn r3_q_one_value_a_subject_also_after_a_restart() {
    let (folder, journal) = fresh().await;
    assert!(ask(&journal, intent(1, 1)).await.is_ok());
    assert!(ask(&journal, intent(1, 1)).await.is_ok(), "the same value again");
    let conflict = Refusal::Conflict { before: B256::repeat_byte(1), now: B256::repeat_byte(2) };
    assert_eq!(ask(&journal, intent(1, 2)).await, Err(conflict.clone()));
    journal.close().await;
    let journal = Journal::open(folder.path(), KEY).await.unwrap();
    assert_eq!(ask(&journal, intent(1, 2)).await, Err(conflict));
    assert!(ask(&journal, intent(2, 2)).await.is_ok());
    // Within one batch too.
    let both = journal.permits(vec![intent(3, 1), intent(3, 2)]).await.unwrap();
    assert!(both[0].is_ok() && both[1].is_err());
}

/// Class (q): a full disk. What is not on disk is not permitted, and is permitted once it is.
#[tokio::test]
async fn r3_q_a_journal_that_cannot_be_written_permits_nothing() {
    let (folder, journal) = fresh().await;
    sqlx::query("PRAGMA max_page_count = 1").execute(&journal.pool).await.unwrap();
    let many = || (0..=255).map(|subject| intent(subject, 1)).collect::<Vec<_>>();
    let error = journal.permits(many()).await.unwrap_err();
    assert!(matches!(&error, JournalError::Database { .. }), "{error}");
    assert!(error.to_string().contains("space"), "{error}");
    for subject in [0, 255] {
        assert_eq!(journal.recorded("d", B256::repeat_byte(subject)).await.unwrap(), None);
    }
    sqlx::query("PRAGMA max_page_count = 1000000").execute(&journal.pool).await.unwrap();
    assert!(journal.permits(many()).await.unwrap().iter().all(Result::is_ok));
    journal.close().await;
    let journal = Journal::open(folder.path(), KEY).await.unwrap();
    assert!(ask(&journal, intent(255, 2)).await.is_err(), "what was written counts");
}

#[tokio::test]
async fn r3_another_value_needs_a_release() {
    let (_folder, journal) = fresh().await;
    ask(&journal, intent(1, 1)).await.unwrap();
    assert!(journal.release("d", B256::repeat_byte(1), "reorganised").await.unwrap());
    assert!(ask(&journal, intent(1, 2)).await.is_ok());
    assert!(ask(&journal, intent(1, 1)).await.is_err());
    assert!(!journal.release("d", B256::repeat_byte(9), "").await.unwrap());
}

#[tokio::test]
async fn r3_a_lost_journal_stops_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Journal::open(folder.path(), KEY).await;
    assert!(matches!(missing, Err(JournalError::Missing(_))));
    Journal::create(folder.path(), KEY, JournalStart::KeyMayHaveSigned).await.unwrap();
    let again = Journal::create(folder.path(), KEY, JournalStart::FreshKey).await;
    assert!(matches!(again, Err(JournalError::Exists(_))));
    let journal = Journal::open(folder.path(), KEY).await.unwrap();
    assert!(matches!(ask(&journal, intent(1, 1)).await, Err(Refusal::TooEarly(_))));
}

#[tokio::test]
async fn r3_one_process_one_journal_and_one_key() {
    let (folder, _journal) = fresh().await;
    let second = Journal::open(folder.path(), KEY).await;
    assert!(matches!(second, Err(JournalError::InUse(_))));
    let other = Address::repeat_byte(2);
    std::fs::copy(journal_path(folder.path(), KEY), journal_path(folder.path(), other)).unwrap();
    let other = Journal::open(folder.path(), other).await;
    assert!(matches!(other, Err(JournalError::OtherKey { .. })), "{other:?}");
}

#[tokio::test]
async fn r3_an_expiry_is_capped() {
    let (_folder, journal) = fresh().await;
    for expires in [0, now(), now() + MAX_EXPIRY_SECONDS + 60, u64::MAX] {
        let refused = ask(&journal, Intent { expires, ..intent(1, 1) }).await;
        assert!(matches!(refused, Err(Refusal::Expiry { .. })), "{expires}");
    }
}

/// A journal that permitted one value and was closed.
async fn used() -> (tempfile::TempDir, PathBuf) {
    let (folder, journal) = fresh().await;
    ask(&journal, intent(1, 1)).await.unwrap();
    journal.close().await;
    let path = journal_path(folder.path(), KEY);
    (folder, path)
}

async fn change_found(folder: &Path) -> Change {
    match Journal::open(folder, KEY).await {
        Err(JournalError::Replaced { change, .. }) => change,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn r3_nobody_makes_a_journal_while_one_is_in_use() {
    let (folder, journal) = fresh().await;
    let path = journal_path(folder.path(), KEY);
    std::fs::rename(&path, folder.path().join("aside")).unwrap();
    let second = Journal::create(folder.path(), KEY, JournalStart::KeyMayHaveSigned).await;
    assert!(matches!(second, Err(JournalError::InUse(_))), "{second:?}");
    let second = Journal::adopt(folder.path(), KEY).await;
    assert!(matches!(second, Err(JournalError::Missing(_))), "{second:?}");
    assert!(!path.exists());
    journal.close().await;
}

#[tokio::test]
async fn r3_a_journal_that_is_moved_away_in_use_permits_nothing() {
    let (folder, journal) = fresh().await;
    let (path, aside) = (journal_path(folder.path(), KEY), folder.path().join("aside"));
    ask(&journal, intent(1, 1)).await.unwrap();
    std::fs::rename(&path, &aside).unwrap();
    let refused = |change: Change| {
        let journal = &journal;
        async move {
            for error in [
                journal.permits(vec![intent(2, 1)]).await.err(),
                journal.release("d", B256::repeat_byte(1), "x").await.err(),
            ] {
                match error {
                    Some(JournalError::Replaced { change: found, .. }) if found == change => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    refused(Change::Gone).await;
    std::fs::copy(&aside, &path).unwrap();
    refused(Change::OtherFile).await;
    std::fs::rename(&aside, &path).unwrap();
    assert!(ask(&journal, intent(2, 2)).await.is_ok(), "nothing was recorded meanwhile");
    assert!(ask(&journal, intent(1, 2)).await.is_err());
}

#[tokio::test]
async fn r3_a_journal_restored_between_runs_stops_its_key() {
    let (folder, path) = used().await;
    let older = std::fs::read(&path).unwrap();
    let journal = Journal::open(folder.path(), KEY).await.unwrap();
    ask(&journal, intent(2, 1)).await.unwrap();
    journal.close().await;

    // Moved away and put back it is the same.
    let aside = folder.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    Journal::open(folder.path(), KEY).await.unwrap().close().await;

    std::fs::copy(&path, &aside).unwrap();
    std::fs::rename(&path, folder.path().join("original")).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(change_found(folder.path()).await, Change::OtherFile);
    std::fs::rename(folder.path().join("original"), &path).unwrap();
    Journal::open(folder.path(), KEY).await.unwrap().close().await;

    // Written over, the file keeps its inode.
    std::fs::write(&path, older).unwrap();
    let change = change_found(folder.path()).await;
    assert_eq!(change, Change::Older { expected: 2, found: 1 });

    Journal::adopt(folder.path(), KEY).await.unwrap();
    let again = Journal::adopt(folder.path(), KEY).await;
    assert!(matches!(again, Err(JournalError::Exists(_))), "{again:?}");
    let journal = Journal::open(folder.path(), KEY).await.unwrap();
    assert!(matches!(ask(&journal, intent(3, 1)).await, Err(Refusal::TooEarly(_))));
    let kept = journal.recorded("d", B256::repeat_byte(1)).await.unwrap();
    assert_eq!(kept.map(|k| k.value), Some(B256::repeat_byte(1)), "what it knew is kept");
}

#[tokio::test]
async fn r3_another_journal_or_one_without_its_mark_stops_its_key() {
    let (folder, path) = used().await;
    let (_other, theirs) = used().await;
    std::fs::write(&path, std::fs::read(&theirs).unwrap()).unwrap();
    assert_eq!(change_found(folder.path()).await, Change::OtherJournal);

    let (folder, path) = used().await;
    std::fs::remove_file(path.with_extension("journal.lock")).unwrap();
    assert_eq!(change_found(folder.path()).await, Change::Unmarked);
    Journal::adopt(folder.path(), KEY).await.unwrap();
    Journal::open(folder.path(), KEY).await.unwrap();
}

#[tokio::test]
async fn r3_a_key_that_had_a_journal_is_never_fresh() {
    let (folder, path) = used().await;
    std::fs::remove_file(&path).unwrap();
    let mut left = path.clone().into_os_string();
    left.push("-wal");
    std::fs::write(&left, "what a killed process left").unwrap();
    Journal::create(folder.path(), KEY, JournalStart::FreshKey).await.unwrap();
    let journal = Journal::open(folder.path(), KEY).await.unwrap();
    assert!(matches!(ask(&journal, intent(1, 2)).await, Err(Refusal::TooEarly(_))));
    left.push(".lost");
    assert!(Path::new(&left).exists());
}

#[tokio::test]
async fn r3_what_is_on_record_is_shown_and_a_release_counts_as_a_write() {
    let (folder, path) = used().await;
    let before = std::fs::read(&path).unwrap();
    let journal = Journal::open(folder.path(), KEY).await.unwrap();
    let subject = B256::repeat_byte(1);
    let recorded = journal.recorded("d", subject).await.unwrap().unwrap();
    assert_eq!(recorded.value, subject);
    assert!(recorded.first_at <= now() && recorded.expires > recorded.first_at);
    assert!(journal.release("d", subject, "reorganised").await.unwrap());
    assert_eq!(journal.recorded("d", subject).await.unwrap(), None);
    journal.close().await;
    std::fs::write(&path, before).unwrap();
    assert!(matches!(change_found(folder.path()).await, Change::Older { .. }));
}

#[tokio::test]
async fn a_journal_of_another_format_is_refused() {
    let (folder, path) = used().await;
    let pool = file::connect(&path, false).await.unwrap();
    sqlx::raw_sql("UPDATE journal SET version = 1").execute(&pool).await.unwrap();
    pool.close().await;
    let refused = Journal::open(folder.path(), KEY).await;
    assert!(matches!(refused, Err(JournalError::Format { found: 1, .. })), "{refused:?}");
}
