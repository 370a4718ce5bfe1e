DROP INDEX rate_buckets_arrival;
