-- Grants whose contract wallet has to be asked again: found without reading those that only await a wallet.
CREATE INDEX exceptions_wallet_check ON exceptions (chain_id, player)
    WHERE state = 'held' AND reason = 'wallet_check' AND seq IS NULL;
