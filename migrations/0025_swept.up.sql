-- What is swept is found without looking at all buckets. A lease writes one entry more for it; there are few leases.
CREATE INDEX rate_buckets_arrival ON rate_buckets (arrival);
-- Exports of processes that have died are found among the few that are being made.
CREATE INDEX exports_running ON exports (started_at) WHERE state = 'running';
