DROP INDEX exceptions_wallet_check;
