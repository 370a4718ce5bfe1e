-- Who players are. external_id is the game server's own name for a player: personal data, erasable, never journaled.

CREATE TABLE players (
    id uuid PRIMARY KEY,
    org integer NOT NULL REFERENCES organisations (id),
    external_id text,
    created_at timestamptz NOT NULL,
    UNIQUE (org, external_id)
);

-- A row without an address is a place held for one: whoever finds no wallet makes it, so that a link under way and a
-- grant that looks for it wait for each other.
CREATE TABLE wallets (
    player uuid NOT NULL REFERENCES players (id),
    chain_id bigint NOT NULL,
    address bytea CHECK (length(address) = 20),
    kind text CHECK (kind IN ('key', 'contract')),
    version integer NOT NULL DEFAULT 0 CHECK (version >= 0),
    -- what an EIP-1271 wallet is asked about again before it is paid
    proof_hash bytea CHECK (length(proof_hash) = 32),
    proof_signature bytea,
    linked_at timestamptz,
    PRIMARY KEY (player, chain_id),
    CHECK ((address IS NULL) = (kind IS NULL)),
    CHECK ((address IS NULL) = (linked_at IS NULL))
);

CREATE TABLE wallet_challenges (
    nonce text PRIMARY KEY,
    player uuid NOT NULL REFERENCES players (id),
    chain_id bigint NOT NULL,
    message text NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX wallet_challenges_expired ON wallet_challenges (expires_at);
