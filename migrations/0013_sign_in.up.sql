-- Who may come in, and how. Secrets are hashed, or encrypted where they have to be read again.

-- People who work here. Those whom an identity provider vouches for have its address as issuer; those who sign in with a
-- password have the issuer `laurel`.
CREATE TABLE staff (
    id uuid PRIMARY KEY,
    org integer NOT NULL REFERENCES organisations (id),
    issuer text NOT NULL CHECK (issuer <> ''),
    subject text NOT NULL CHECK (subject <> ''),
    role text NOT NULL CHECK (role IN ('manager', 'auditor', 'operator')),
    -- argon2id, as a PHC string
    password_hash text CHECK (password_hash LIKE '$argon2id$%'),
    -- encrypted; it counts from when a first code of it was seen
    totp_secret bytea,
    totp_since timestamptz,
    -- the last time step whose code was taken: none is good twice
    totp_step bigint,
    -- how often in a row somebody came with the wrong secret
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until timestamptz,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL,
    UNIQUE (issuer, subject),
    CHECK ((issuer = 'laurel') = (password_hash IS NOT NULL)),
    CHECK (totp_since IS NULL OR totp_secret IS NOT NULL)
);

-- A sign-in and all tokens that came of it: revoking it ends them all.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    staff uuid REFERENCES staff (id),
    player uuid REFERENCES players (id),
    created_at timestamptz NOT NULL,
    -- when its last refresh token ends
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_because text CHECK (revoked_because IN ('signed_out', 'reused', 'password_changed', 'disabled', 'wallet_changed', 'totp_added')),
    CHECK ((staff IS NULL) <> (player IS NULL)),
    CHECK ((revoked_at IS NULL) = (revoked_because IS NULL))
);
CREATE INDEX sessions_staff ON sessions (staff) WHERE staff IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX sessions_player ON sessions (player) WHERE player IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX sessions_expired ON sessions (expires_at);

-- One is good at a time; one that was used is kept, so that whoever comes with it again is noticed.
CREATE TABLE refresh_tokens (
    -- SHA-256
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    session uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session);

-- What game servers come with.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    org integer NOT NULL REFERENCES organisations (id),
    -- whose outcomes they are; several keys may have one, while one of them replaces the other
    subject text NOT NULL CHECK (subject <> ''),
    -- only of these games; without any list, of all
    games text[] CHECK (cardinality(games) > 0),
    -- SHA-256
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    -- how the key ends, for people who have several
    ends_with text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX api_keys_org ON api_keys (org, id);

-- A signature that was given to sign in links nothing, and the other way round.
ALTER TABLE wallet_challenges
    ADD COLUMN purpose text NOT NULL DEFAULT 'link' CHECK (purpose IN ('link', 'sign_in'));
