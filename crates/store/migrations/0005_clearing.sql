-- What operators ask to be looked for: packets that a chain's state says are pending.
CREATE TABLE clearings (
    id        INTEGER PRIMARY KEY,
    network   TEXT NOT NULL,
    point     TEXT,
    sequences TEXT CHECK (length(sequences) <= 4096)
) STRICT;
CREATE INDEX clearings_network ON clearings (network);
