-- How much each caller has asked for lately, shared by all replicas. Losing it costs nothing: everybody begins anew.
CREATE UNLOGGED TABLE rate_buckets (
    -- a hash of the class and of who is limited: neither names nor addresses are kept
    key bytea PRIMARY KEY CHECK (length(key) = 16),
    -- the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371), in nanoseconds since 1970
    arrival bigint NOT NULL,
    -- how much the last lease got
    leased bigint NOT NULL CHECK (leased >= 0)
) WITH (fillfactor = 50);
