-- Tokens sent over IBC, by the way they took: what their source keeps for them, and how many vouchers
-- there are. Amounts are 32-byte big-endian BLOBs.
CREATE TABLE escrows (
    source_network      TEXT    NOT NULL,
    source_point        TEXT    NOT NULL,
    destination_network TEXT    NOT NULL,
    destination_point   TEXT    NOT NULL,
    denom               TEXT    NOT NULL CHECK (length(denom) <= 4096),
    escrow              BLOB    NOT NULL CHECK (length(escrow) = 32),
    vouchers            BLOB    NOT NULL CHECK (length(vouchers) = 32),
    source_height       BLOB    NOT NULL CHECK (length(source_height) = 8),
    destination_height  BLOB    NOT NULL CHECK (length(destination_height) = 8),
    at                  INTEGER NOT NULL,
    -- When the last alarm was raised over it.
    breached            INTEGER,
    PRIMARY KEY (source_network, source_point, destination_network, destination_point, denom)
) STRICT;
