-- Where a user's files are, as the provider of volumes said when it made their place.
CREATE TABLE volumes (
    user_key TEXT NOT NULL PRIMARY KEY,
    volume   TEXT NOT NULL
) STRICT;
