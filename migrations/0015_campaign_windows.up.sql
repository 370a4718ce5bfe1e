-- Windows that come again and again: {"cron", "time_zone", "minutes"}.
ALTER TABLE campaigns ADD COLUMN windows jsonb;
