ALTER TABLE players DROP COLUMN erased_at;
DROP TABLE staff_log;
DROP FUNCTION keep_staff_log;
