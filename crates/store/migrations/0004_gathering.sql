-- Attestations that need signatures of other processes: the terms that all of them sign, and those
-- that have come. Both go when the terms have expired.
CREATE TABLE gatherings (
    duty          BLOB    NOT NULL PRIMARY KEY CHECK (length(duty) = 32),
    confirmations BLOB    NOT NULL CHECK (length(confirmations) = 8),
    expires       INTEGER NOT NULL,
    digest        BLOB    NOT NULL CHECK (length(digest) = 32)
) STRICT, WITHOUT ROWID;
CREATE INDEX gatherings_expires ON gatherings (expires);

CREATE TABLE gathered (
    duty      BLOB NOT NULL REFERENCES gatherings (duty) ON DELETE CASCADE,
    signer    BLOB NOT NULL CHECK (length(signer) = 20),
    signature BLOB NOT NULL CHECK (length(signature) BETWEEN 1 AND 256),
    PRIMARY KEY (duty, signer)
) STRICT, WITHOUT ROWID;
