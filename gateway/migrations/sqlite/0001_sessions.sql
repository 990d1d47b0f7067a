-- One row a session. What queries and compare-and-set need has a column; what only the session's
-- keeper reads stands in `detail`, as JSON.
CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    name       TEXT,
    state      TEXT    NOT NULL CHECK (state IN ('starting', 'live', 'severed', 'stopping', 'ended')),
    launch     INTEGER NOT NULL,
    -- Set in the one write that burns the launch's enrolment token.
    pinned_key BLOB,
    dial       INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    ended_ms   INTEGER,
    detail     TEXT    NOT NULL,
    -- The last screen of an ended session, as terminal output.
    screen     BLOB
) STRICT;

-- A name is unique per user while its session has not ended.
CREATE UNIQUE INDEX sessions_name ON sessions (issuer, subject, name)
    WHERE state <> 'ended' AND name IS NOT NULL;
CREATE INDEX sessions_owner ON sessions (issuer, subject, id);
CREATE INDEX sessions_unended ON sessions (state) WHERE state <> 'ended';
CREATE INDEX sessions_ended ON sessions (ended_ms) WHERE state = 'ended';

-- The uid as which a user's tasks run, where the gateway may choose one.
CREATE TABLE uids (
    user_key TEXT    NOT NULL PRIMARY KEY,
    uid      INTEGER NOT NULL UNIQUE
) STRICT;

-- Tickets that have not been used. Only their hashes are kept.
CREATE TABLE tickets (
    hash             BLOB    NOT NULL PRIMARY KEY,
    session          TEXT    NOT NULL,
    -- 1 for a driver's, 0 for an observer's.
    role             INTEGER NOT NULL,
    issuer           TEXT    NOT NULL,
    subject          TEXT    NOT NULL,
    scopes           TEXT    NOT NULL,
    expires_ms       INTEGER NOT NULL,
    token_expires_ms INTEGER NOT NULL,
    origin           TEXT
) STRICT;
CREATE INDEX tickets_expiry ON tickets (expires_ms);

CREATE TABLE audit (
    at_ms   INTEGER NOT NULL,
    session TEXT,
    actor   TEXT,
    action  TEXT    NOT NULL,
    detail  TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_session ON audit (session, at_ms);
CREATE INDEX audit_time ON audit (at_ms);
