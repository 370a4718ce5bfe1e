ALTER TABLE campaigns DROP COLUMN windows;
