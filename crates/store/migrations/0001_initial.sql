-- Ids and hashes are 32-byte BLOBs. Numbers that a chain gives (heights, nonces, log positions) are
-- 8-byte big-endian BLOBs: they order as the numbers do, and no u64 overflows them. Times are
-- INTEGER milliseconds since 1970. Structured values are JSON TEXT beside the columns that are
-- searched. Apart from the numbering of `sequence` columns, all of it means the same to PostgreSQL.

-- How far each network was read and proven, and the newest blocks of that way.
CREATE TABLE cursors (
    network TEXT NOT NULL PRIMARY KEY,
    height  BLOB NOT NULL CHECK (length(height) = 8),
    hash    BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE blocks (
    network TEXT NOT NULL,
    height  BLOB NOT NULL CHECK (length(height) = 8),
    hash    BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (network, height)
) STRICT;

CREATE TABLE lanes (
    id                  BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    protocol            TEXT NOT NULL,
    source_network      TEXT NOT NULL,
    source_point        TEXT NOT NULL,
    destination_network TEXT NOT NULL,
    destination_point   TEXT NOT NULL
) STRICT;
CREATE INDEX lanes_source ON lanes (source_network);
CREATE INDEX lanes_destination ON lanes (destination_network);

-- `proven`: a verified fact says that it was sent. `gone`: no fact says so any more.
-- `sent_transaction` repeats the transaction of the best such fact, to find a message by it.
CREATE TABLE messages (
    sequence         INTEGER PRIMARY KEY AUTOINCREMENT,
    id               BLOB    NOT NULL UNIQUE CHECK (length(id) = 32),
    lane             BLOB    NOT NULL REFERENCES lanes (id),
    nonce            BLOB    NOT NULL CHECK (length(nonce) = 8),
    payload_hash     BLOB    NOT NULL CHECK (length(payload_hash) = 32),
    payload          BLOB,
    options          BLOB    NOT NULL,
    reference        BLOB,
    status           TEXT    NOT NULL,
    standing         TEXT,
    proven           INTEGER NOT NULL DEFAULT 0,
    gone             INTEGER NOT NULL DEFAULT 0,
    sent_transaction BLOB,
    learnt_at        INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_place ON messages (lane, nonce);
CREATE INDEX messages_status ON messages (status, sequence);
CREATE INDEX messages_lane ON messages (lane, sequence);
CREATE INDEX messages_reference ON messages (reference) WHERE reference IS NOT NULL;
CREATE INDEX messages_sent_transaction ON messages (sent_transaction)
    WHERE sent_transaction IS NOT NULL;

-- What proves that a message was sent, and in which block.
CREATE TABLE evidence (
    message    BLOB NOT NULL REFERENCES messages (id),
    network    TEXT NOT NULL,
    height     BLOB NOT NULL CHECK (length(height) = 8),
    block_hash BLOB NOT NULL CHECK (length(block_hash) = 32),
    evidence   BLOB NOT NULL,
    PRIMARY KEY (message, block_hash)
) STRICT;
CREATE INDEX evidence_block ON evidence (network, height);

-- A fact is joined to messages by lane, nonce and, where it names one, payload hash; so it can be
-- here before its message is.
CREATE TABLE facts (
    id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    lane        BLOB NOT NULL CHECK (length(lane) = 32),
    nonce       BLOB NOT NULL CHECK (length(nonce) = 8),
    payload     BLOB,
    kind        TEXT NOT NULL,
    fact        TEXT NOT NULL,
    network     TEXT NOT NULL,
    height      BLOB NOT NULL CHECK (length(height) = 8),
    block_hash  BLOB NOT NULL CHECK (length(block_hash) = 32),
    position    BLOB NOT NULL CHECK (length(position) = 8),
    transaction_hash BLOB NOT NULL CHECK (length(transaction_hash) = 32),
    certainty   TEXT NOT NULL CHECK (certainty IN ('hinted', 'verified')),
    hinted_at   INTEGER,
    verified_at INTEGER
) STRICT;
CREATE INDEX facts_place ON facts (lane, nonce);
CREATE INDEX facts_block ON facts (network, height);
CREATE INDEX facts_hinted ON facts (network, height) WHERE certainty = 'hinted';

-- `step` is the place of the kind of work in a message's way; lane and nonce repeat the message's,
-- so that the open duties of a network are read in order from one index.
CREATE TABLE duties (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    message    BLOB    NOT NULL REFERENCES messages (id),
    lane       BLOB    NOT NULL,
    nonce      BLOB    NOT NULL,
    step       INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    part       INTEGER NOT NULL,
    network    TEXT    NOT NULL,
    worker     TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX duties_message ON duties (message);
CREATE INDEX duties_plannable ON duties (network, lane, nonce)
    WHERE state IN ('waiting', 'ready');

CREATE TABLE submissions (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    network     TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    data        BLOB    NOT NULL,
    value       BLOB    NOT NULL CHECK (length(value) = 32),
    gas_limit   BLOB    NOT NULL CHECK (length(gas_limit) = 8),
    purpose     TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;

CREATE TABLE submission_duties (
    submission BLOB NOT NULL REFERENCES submissions (id),
    duty       BLOB NOT NULL REFERENCES duties (id),
    PRIMARY KEY (submission, duty)
) STRICT;
CREATE INDEX submission_duties_duty ON submission_duties (duty);

CREATE TABLE transactions (
    hash            BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    network         TEXT    NOT NULL,
    signer          TEXT    NOT NULL,
    nonce           BLOB    NOT NULL CHECK (length(nonce) = 8),
    raw             BLOB    NOT NULL,
    fees            TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    note            TEXT,
    included_height BLOB,
    included_hash   BLOB,
    success         INTEGER,
    recorded_at     INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (network, signer, nonce, hash)
) STRICT;
-- One nonce of one account carries at most one transaction that may still be, or was, included.
CREATE UNIQUE INDEX transactions_live ON transactions (network, signer, nonce)
    WHERE state IN ('recorded', 'included', 'final');
CREATE INDEX transactions_flying ON transactions (network, state)
    WHERE state IN ('recorded', 'included');
CREATE INDEX transactions_included ON transactions (network, included_height)
    WHERE included_height IS NOT NULL;

CREATE TABLE transaction_submissions (
    transaction_hash BLOB NOT NULL REFERENCES transactions (hash),
    submission       BLOB NOT NULL REFERENCES submissions (id),
    PRIMARY KEY (transaction_hash, submission)
) STRICT;
CREATE INDEX transaction_submissions_submission ON transaction_submissions (submission);

CREATE TABLE history (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    message  BLOB    NOT NULL REFERENCES messages (id),
    at       INTEGER NOT NULL,
    event    TEXT    NOT NULL
) STRICT;
CREATE INDEX history_message ON history (message, sequence);

CREATE TABLE alarms (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT    NOT NULL,
    network  TEXT    NOT NULL,
    message  BLOB,
    detail   TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT;
CREATE INDEX alarms_same ON alarms (kind, network, detail, at);

CREATE TABLE conditions (
    network TEXT PRIMARY KEY,
    reason  TEXT NOT NULL
) STRICT;
