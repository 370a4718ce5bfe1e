-- Campaigns, what they decide, and the double-entry books of their money.

-- Every accepted outcome, once. The key is derived from (organisation, issuer, outcome id) and nothing else.
CREATE TABLE outcomes (
    key uuid PRIMARY KEY,
    org integer NOT NULL REFERENCES organisations (id),
    -- SHA-256 of the content, to tell a duplicate from a conflict
    digest bytea NOT NULL CHECK (length(digest) = 32),
    part smallint NOT NULL,
    position bigint NOT NULL,
    idx integer NOT NULL
);

CREATE TABLE campaigns (
    id bigint PRIMARY KEY CHECK (id > 0),
    org integer NOT NULL REFERENCES organisations (id),
    vault integer NOT NULL REFERENCES vaults (id),
    token bytea NOT NULL CHECK (length(token) = 20),
    name text NOT NULL,
    games text[] NOT NULL CHECK (cardinality(games) > 0),
    state text NOT NULL CHECK (state IN ('draft', 'active', 'paused', 'ended')),
    state_reason text,
    starts_at timestamptz,
    ends_at timestamptz,
    wallet_deadline_hours integer NOT NULL CHECK (wallet_deadline_hours > 0),
    rule_version integer NOT NULL CHECK (rule_version > 0),
    version integer NOT NULL CHECK (version > 0),
    created_at timestamptz NOT NULL,
    CHECK (starts_at < ends_at)
);
CREATE INDEX campaigns_org ON campaigns (org, id);

-- Rules are never changed: a change is a new version, and a grant names the one that granted it.
CREATE TABLE campaign_rules (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    version integer NOT NULL CHECK (version > 0),
    rule text NOT NULL,
    reward jsonb NOT NULL,
    grants_per_player bigint CHECK (grants_per_player > 0),
    grants_per_player_per_day bigint CHECK (grants_per_player_per_day > 0),
    amount_per_player numeric(78, 0) CHECK (amount_per_player > 0),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    PRIMARY KEY (campaign, version)
);
CREATE TRIGGER campaign_rules_change BEFORE UPDATE OR DELETE ON campaign_rules
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- The balances of a campaign's accounts, kept in the transaction that writes the transfers.
CREATE TABLE accounts (
    campaign bigint PRIMARY KEY REFERENCES campaigns (id),
    funded numeric(78, 0) NOT NULL DEFAULT 0 CHECK (funded >= 0),
    available numeric(78, 0) NOT NULL DEFAULT 0 CHECK (available >= 0),
    reserved numeric(78, 0) NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    paid numeric(78, 0) NOT NULL DEFAULT 0 CHECK (paid >= 0),
    returned numeric(78, 0) NOT NULL DEFAULT 0 CHECK (returned >= 0),
    -- how many grants and declines the campaign has: the next number of each
    grants bigint NOT NULL DEFAULT 0 CHECK (grants >= 0),
    declines bigint NOT NULL DEFAULT 0 CHECK (declines >= 0),
    CHECK (available + reserved + paid + returned = funded)
) WITH (fillfactor = 50);

-- The hold transfers: available -> reserved. Identified by the outcome's place in the journal and the campaign, so
-- that an outcome can be granted once by a campaign, and ranged by that place.
CREATE TABLE grants (
    campaign bigint NOT NULL,
    number bigint NOT NULL CHECK (number >= 0),
    part smallint NOT NULL,
    position bigint NOT NULL,
    idx integer NOT NULL,
    outcome uuid NOT NULL,
    player uuid NOT NULL,
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    rule_version integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (position, part, idx, campaign)
) PARTITION BY RANGE (position);
CREATE INDEX grants_number ON grants (campaign, number);
CREATE INDEX grants_player ON grants (player, recorded_at);
CREATE TRIGGER grants_change BEFORE UPDATE OR DELETE ON grants
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
INSERT INTO ranges (name, size, append_only) VALUES ('grants', 65536, true);

CREATE TABLE declines (
    campaign bigint NOT NULL,
    number bigint NOT NULL CHECK (number >= 0),
    part smallint NOT NULL,
    position bigint NOT NULL,
    idx integer NOT NULL,
    outcome uuid NOT NULL,
    player uuid NOT NULL,
    reason text NOT NULL,
    rule_version integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (position, part, idx, campaign)
) PARTITION BY RANGE (position);
CREATE INDEX declines_number ON declines (campaign, number);
CREATE TRIGGER declines_change BEFORE UPDATE OR DELETE ON declines
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
INSERT INTO ranges (name, size, append_only) VALUES ('declines', 65536, true);

-- nothing -> available: the vault's cap for the campaign rose, in a final block.
CREATE TABLE fundings (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    block_number bigint NOT NULL,
    log_index integer NOT NULL,
    tx bytea NOT NULL CHECK (length(tx) = 32),
    cap numeric(78, 0) NOT NULL CHECK (cap > 0),
    added numeric(78, 0) NOT NULL CHECK (added >= 0),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (campaign, block_number, log_index)
);
CREATE TRIGGER fundings_change BEFORE UPDATE OR DELETE ON fundings
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- reserved -> paid: what one batch paid of one campaign.
CREATE TABLE postings (
    batch uuid NOT NULL,
    campaign bigint NOT NULL REFERENCES campaigns (id),
    grants integer NOT NULL CHECK (grants > 0),
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    tx bytea NOT NULL CHECK (length(tx) = 32),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (batch, campaign)
);
CREATE INDEX postings_campaign ON postings (campaign, recorded_at, batch);
CREATE TRIGGER postings_change BEFORE UPDATE OR DELETE ON postings
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- reserved -> available: a hold that can no longer be paid.
CREATE TABLE voids (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    number bigint NOT NULL,
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    proof jsonb NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (campaign, number)
);
CREATE INDEX voids_recorded ON voids (campaign, recorded_at, number);
CREATE TRIGGER voids_change BEFORE UPDATE OR DELETE ON voids
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- What the chain paid without a hold of ours. The account may be negative; every row is a critical finding. The log is
-- the key: whoever pays without us may name one sequence number as often as the vault allows.
CREATE TABLE suspense (
    chain_id bigint NOT NULL REFERENCES chains (id),
    tx bytea NOT NULL CHECK (length(tx) = 32),
    log_index integer NOT NULL CHECK (log_index >= 0),
    vault integer NOT NULL REFERENCES vaults (id),
    on_chain_campaign numeric(20, 0) NOT NULL,
    first_seq numeric(20, 0) NOT NULL,
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (chain_id, tx, log_index)
);
CREATE TRIGGER suspense_change BEFORE UPDATE OR DELETE ON suspense
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- How much of a cap a player has used in a period; 1970-01-01 stands for the campaign's whole life. The cap is copied into
-- the row so that the database itself refuses to pass it.
CREATE TABLE counters (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    player uuid NOT NULL,
    period date NOT NULL,
    grants bigint NOT NULL CHECK (grants >= 0),
    amount numeric(78, 0) NOT NULL CHECK (amount >= 0),
    grants_max bigint,
    amount_max numeric(78, 0),
    PRIMARY KEY (campaign, player, period),
    CHECK (grants <= grants_max),
    CHECK (amount <= amount_max)
);

-- Every movement of money as debit and credit, for auditors.
CREATE VIEW transfers AS
SELECT campaign, recorded_at, 'funding' AS kind, block_number || '/' || log_index AS reference,
       'chain' AS debit, 'available' AS credit, added AS amount
FROM fundings
UNION ALL
SELECT campaign, recorded_at, 'hold', campaign || '-' || number, 'available', 'reserved', amount FROM grants
UNION ALL
SELECT campaign, recorded_at, 'post', batch::text, 'reserved', 'paid', amount FROM postings
UNION ALL
SELECT campaign, recorded_at, 'void', campaign || '-' || number, 'reserved', 'available', amount FROM voids;

-- Tables that are new have no range yet, and nobody uses them.
SELECT make_range(name, 0) FROM ranges ORDER BY name;
