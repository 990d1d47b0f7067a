-- Which gateway keeps a session, and which works at a removal. Of one that is not among `gateways` it
-- is nobody's, and whoever comes may take it.
ALTER TABLE sessions ADD COLUMN gateway TEXT COLLATE "C";
ALTER TABLE removals ADD COLUMN gateway TEXT COLLATE "C";
CREATE INDEX sessions_gateway ON sessions (gateway) WHERE state <> 'ended';

-- The gateways that live.
CREATE TABLE gateways (
    -- New with each start.
    id       TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    -- Of the state directory: the same after a restart there.
    instance TEXT   COLLATE "C" NOT NULL,
    -- What a person calls it.
    name     TEXT   NOT NULL,
    -- Where the others reach it; none for one that lives alone.
    address  TEXT,
    since_ms BIGINT NOT NULL,
    -- Counted up as long as it lives.
    beat     BIGINT NOT NULL DEFAULT 0
);

-- One gateway had them all.
DROP TABLE holder;
