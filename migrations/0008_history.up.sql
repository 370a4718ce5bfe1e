-- TransactionHistoryView: where in the journal the steps of batches stand, and those of grants that did not go the plain
-- way. A batch has a handful of steps for hundreds of grants, and few grants have any of their own.
CREATE TABLE batch_steps (
    batch uuid NOT NULL,
    part smallint NOT NULL,
    position bigint NOT NULL,
    idx integer NOT NULL,
    PRIMARY KEY (batch, part, position, idx)
);

CREATE TABLE grant_steps (
    campaign bigint NOT NULL,
    number bigint NOT NULL,
    part smallint NOT NULL,
    position bigint NOT NULL,
    idx integer NOT NULL,
    PRIMARY KEY (campaign, number, part, position, idx)
);
