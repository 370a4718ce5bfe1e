-- Refused while a campaign has windows: without them it would grant at any time.
DO $$ BEGIN
    IF EXISTS (SELECT FROM campaigns WHERE windows IS NOT NULL) THEN
        RAISE EXCEPTION 'a campaign has windows';
    END IF;
END $$;
ALTER TABLE campaigns DROP COLUMN windows;
