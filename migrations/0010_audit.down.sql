DROP TABLE findings;
DROP TABLE acknowledgements;
DROP TABLE reconciled_chains;
DROP TABLE reconciliations;
DROP TABLE audit_journal;
DROP TABLE audit_logs;
DROP TABLE audit_settlements;
DROP TABLE audit_checkpoints;
