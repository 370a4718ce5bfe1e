DROP INDEX exports_running;
DROP INDEX rate_buckets_arrival;
