-- The chains and vaults that this database belongs to. What is pinned here is checked on every connection.

CREATE TABLE chains (
    id bigint PRIMARY KEY CHECK (id > 0),
    genesis_hash bytea NOT NULL CHECK (length(genesis_hash) = 32),
    -- the canonical head as the watcher last saw it, and the last final block
    head_number bigint,
    head_hash bytea CHECK (length(head_hash) = 32),
    final_number bigint,
    final_hash bytea CHECK (length(final_hash) = 32),
    -- counts every change of the head; the cause of what follows from it
    transition bigint NOT NULL DEFAULT 0,
    halted text,
    -- since when no replica could follow it as far as it is final
    unfollowed_since timestamptz
);

CREATE TABLE vaults (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    chain_id bigint NOT NULL REFERENCES chains (id),
    address bytea NOT NULL CHECK (length(address) = 20),
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    deploy_block bigint NOT NULL CHECK (deploy_block >= 0),
    UNIQUE (chain_id, address)
);

-- The canonical chain back to the last final block.
CREATE TABLE blocks (
    chain_id bigint NOT NULL REFERENCES chains (id),
    number bigint NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    parent bytea NOT NULL CHECK (length(parent) = 32),
    PRIMARY KEY (chain_id, number)
);

-- What the canonical chain's unfinal blocks hold that concerns us.
CREATE TABLE sightings (
    chain_id bigint NOT NULL REFERENCES chains (id),
    block_number bigint NOT NULL,
    tx_index integer NOT NULL,
    block_hash bytea NOT NULL CHECK (length(block_hash) = 32),
    tx bytea NOT NULL CHECK (length(tx) = 32),
    vault integer NOT NULL REFERENCES vaults (id),
    batch uuid,
    -- it has a batch's nonce and settles nothing
    empty boolean NOT NULL,
    succeeded boolean NOT NULL,
    gas_used bigint NOT NULL,
    effective_gas_price numeric(78, 0) NOT NULL,
    -- the vault's logs, as the watcher read them from verified receipts
    facts jsonb NOT NULL,
    -- one transaction may concern several vaults
    PRIMARY KEY (chain_id, block_number, tx_index, vault)
);
