-- As for SQLite, in Postgres' types. Ids and keys are compared byte by byte, whatever the database's
-- language: pages of sessions are in the order of their ids.
CREATE TABLE sessions (
    id         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    issuer     TEXT   COLLATE "C" NOT NULL,
    subject    TEXT   COLLATE "C" NOT NULL,
    name       TEXT   COLLATE "C",
    state      TEXT   NOT NULL CHECK (state IN ('starting', 'live', 'severed', 'stopping', 'ended')),
    launch     BIGINT NOT NULL,
    -- Set in the one write that burns the launch's enrolment token.
    pinned_key BYTEA,
    dial       BIGINT NOT NULL DEFAULT 0,
    created_ms BIGINT NOT NULL,
    ended_ms   BIGINT,
    -- JSON that only the gateway reads.
    detail     TEXT   NOT NULL,
    -- The last screen of an ended session, as terminal output.
    screen     BYTEA
);

-- A name is unique per user while its session has not ended.
CREATE UNIQUE INDEX sessions_name ON sessions (issuer, subject, name)
    WHERE state <> 'ended' AND name IS NOT NULL;
CREATE INDEX sessions_owner ON sessions (issuer, subject, id);
CREATE INDEX sessions_unended ON sessions (state) WHERE state <> 'ended';
CREATE INDEX sessions_ended ON sessions (ended_ms) WHERE state = 'ended';

-- The uid as which a user's tasks run, where the gateway may choose one.
CREATE TABLE uids (
    user_key TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    uid      BIGINT NOT NULL UNIQUE
);

-- Where a user's files are, as the provider of volumes said when it made their place.
CREATE TABLE volumes (
    user_key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    volume   TEXT NOT NULL
);

-- Tickets that have not been used. Only their hashes are kept.
CREATE TABLE tickets (
    hash             BYTEA   NOT NULL PRIMARY KEY,
    session          TEXT    NOT NULL,
    -- Whether it is a driver's: else an observer's.
    role             BOOLEAN NOT NULL,
    issuer           TEXT    NOT NULL,
    subject          TEXT    NOT NULL,
    scopes           TEXT    NOT NULL,
    expires_ms       BIGINT  NOT NULL,
    token_expires_ms BIGINT  NOT NULL,
    origin           TEXT
);
CREATE INDEX tickets_expiry ON tickets (expires_ms);

CREATE TABLE audit (
    at_ms   BIGINT NOT NULL,
    session TEXT   COLLATE "C",
    actor   TEXT,
    action  TEXT   NOT NULL,
    detail  TEXT   NOT NULL
);
CREATE INDEX audit_session ON audit (session, at_ms);
CREATE INDEX audit_time ON audit (at_ms);

-- Users who are being removed, or were: the newest removal of each. What only the removal itself reads
-- stands in `removal`, as JSON.
CREATE TABLE removals (
    user_key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    removal  TEXT NOT NULL,
    -- While there is none the user gets no new session.
    ended_ms BIGINT
);

-- The gateway that had the store last: a name that is new with each start. One row.
CREATE TABLE holder (
    one     INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    gateway TEXT    COLLATE "C" NOT NULL
);
