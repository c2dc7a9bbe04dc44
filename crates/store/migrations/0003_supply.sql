-- Up to when a network is proven, by its own clock, in seconds; not known after a way back.
ALTER TABLE cursors ADD COLUMN time INTEGER;
-- Which token contracts its movements are read of, and from which height on.
ALTER TABLE cursors ADD COLUMN tokens BLOB;
ALTER TABLE cursors ADD COLUMN tokens_since BLOB;

-- Tokens that proven blocks say were taken or given. Amounts are 16-byte big-endian BLOBs, sums
-- 32-byte ones.
CREATE TABLE movements (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    lane       BLOB    NOT NULL REFERENCES lanes (id),
    nonce      BLOB    NOT NULL CHECK (length(nonce) = 8),
    reference  BLOB    NOT NULL CHECK (length(reference) = 32),
    side       TEXT    NOT NULL CHECK (side IN ('debit', 'credit')),
    amount     BLOB    NOT NULL CHECK (length(amount) = 16),
    network    TEXT    NOT NULL,
    height     BLOB    NOT NULL CHECK (length(height) = 8),
    block_hash BLOB    NOT NULL CHECK (length(block_hash) = 32),
    position   BLOB    NOT NULL CHECK (length(position) = 8),
    transaction_hash BLOB NOT NULL CHECK (length(transaction_hash) = 32),
    time       INTEGER NOT NULL
) STRICT;
CREATE INDEX movements_transfer ON movements (lane, reference);
CREATE INDEX movements_block ON movements (network, height);

-- What the movements of one message come to, and how its two sides compare.
CREATE TABLE transfers (
    lane        BLOB    NOT NULL REFERENCES lanes (id),
    reference   BLOB    NOT NULL CHECK (length(reference) = 32),
    nonce       BLOB    NOT NULL CHECK (length(nonce) = 8),
    debited     BLOB,
    debited_at  INTEGER,
    credited    BLOB,
    credited_at INTEGER,
    judgement   TEXT    NOT NULL,
    PRIMARY KEY (lane, reference)
) STRICT;
CREATE INDEX transfers_awaited ON transfers (credited_at) WHERE judgement = 'awaited';
CREATE INDEX transfers_unasked ON transfers (lane) WHERE judgement = 'unasked';

-- What the transfers of a lane add up to.
CREATE TABLE supplies (
    lane      BLOB    NOT NULL PRIMARY KEY REFERENCES lanes (id),
    decimals  INTEGER NOT NULL,
    debited   BLOB    NOT NULL CHECK (length(debited) = 32),
    credited  BLOB    NOT NULL CHECK (length(credited) = 32),
    in_flight BLOB    NOT NULL CHECK (length(in_flight) = 32),
    awaited   BLOB    NOT NULL CHECK (length(awaited) = 32),
    breaches  INTEGER NOT NULL
) STRICT;
