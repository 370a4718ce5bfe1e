-- TransactionHistoryView: where in the journal the steps of batches stand, and those of grants that did not go the plain
-- way. A batch has a handful of steps for hundreds of grants, and few grants have any of their own.
CREATE TABLE history (
    -- 'batch:' and its id, or 'grant:' and its campaign and number
    about text NOT NULL,
    part smallint NOT NULL,
    position bigint NOT NULL,
    idx integer NOT NULL,
    PRIMARY KEY (about, part, position, idx)
);
