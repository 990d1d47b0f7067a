-- Which gateway keeps a session, and which works at a removal. In a file there is one.
ALTER TABLE sessions ADD COLUMN gateway TEXT;
ALTER TABLE removals ADD COLUMN gateway TEXT;

CREATE TABLE gateways (
    id       TEXT    NOT NULL PRIMARY KEY,
    instance TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    address  TEXT,
    since_ms INTEGER NOT NULL,
    beat     INTEGER NOT NULL DEFAULT 0
) STRICT;
