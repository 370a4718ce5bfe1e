DELETE FROM wallet_challenges WHERE purpose <> 'link';
ALTER TABLE wallet_challenges DROP COLUMN purpose;
DROP TABLE api_keys;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE staff;
