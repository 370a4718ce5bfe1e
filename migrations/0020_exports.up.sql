-- What was exported, by whom, and what it hashes to: with it, whoever has the file can show that it is whole and unchanged.
CREATE TABLE exports (
    id uuid PRIMARY KEY,
    org integer NOT NULL REFERENCES organisations (id),
    subject text NOT NULL,
    -- grants, transactions, transfers or balances
    what text NOT NULL,
    -- what was asked for, as the query said it
    query text NOT NULL,
    format text NOT NULL CHECK (format IN ('csv', 'ndjson')),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'finished', 'broken')),
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    rows bigint NOT NULL DEFAULT 0 CHECK (rows >= 0),
    bytes bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    -- of the whole, and of its pieces: [{"rows", "bytes", "sha256"}]
    sha256 bytea CHECK (length(sha256) = 32),
    parts jsonb NOT NULL DEFAULT '[]',
    CHECK ((state = 'running') = (ended_at IS NULL)),
    CHECK ((state = 'finished') = (sha256 IS NOT NULL))
);
CREATE INDEX exports_org ON exports (org, id);
