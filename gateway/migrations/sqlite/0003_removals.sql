-- Users who are being removed, or were: the newest removal of each. What only the removal itself reads
-- stands in `removal`, as JSON.
CREATE TABLE removals (
    user_key TEXT NOT NULL PRIMARY KEY,
    removal  TEXT NOT NULL,
    -- While there is none the user gets no new session.
    ended_ms INTEGER
) STRICT;
