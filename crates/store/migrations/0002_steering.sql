-- What an operator has stopped, and what was done to lanes; what was done to a message is in its
-- history.
CREATE TABLE pauses (
    lane BLOB    NOT NULL PRIMARY KEY REFERENCES lanes (id),
    at   INTEGER NOT NULL
) STRICT;

CREATE TABLE holds (
    message BLOB    NOT NULL PRIMARY KEY REFERENCES messages (id),
    because TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

CREATE TABLE lane_history (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    lane     BLOB    NOT NULL REFERENCES lanes (id),
    at       INTEGER NOT NULL,
    event    TEXT    NOT NULL
) STRICT;
CREATE INDEX lane_history_lane ON lane_history (lane, sequence);

-- One row, written to see whether the store can be written.
CREATE TABLE probes (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;

-- What is counted: all messages by lane and status; those not at an end, which carry a reason; duties
-- and transactions that are not at an end.
CREATE INDEX messages_counts ON messages (lane, status) WHERE NOT gone;
CREATE INDEX messages_pending ON messages (lane, sequence)
    WHERE status NOT IN ('settled', 'refuted') AND NOT gone;
CREATE INDEX duties_pending ON duties (kind, network, state)
    WHERE state NOT IN ('done', 'not_needed');
CREATE INDEX transactions_in_flight ON transactions (network, state)
    WHERE state IN ('recorded', 'included');
