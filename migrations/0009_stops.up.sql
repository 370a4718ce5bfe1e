-- What keeps everybody from signing: all of it, what goes to one chain, or one campaign.
CREATE TABLE stops (
    -- 'all', 'chain:' and its id, or 'campaign:' and its id
    about text PRIMARY KEY CHECK (about = 'all' OR about ~ '^(chain|campaign):[0-9]+$'),
    reason text NOT NULL,
    stopped_by text NOT NULL,
    stopped_at timestamptz NOT NULL
);
