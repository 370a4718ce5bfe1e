DROP TABLE wallet_challenges;
DROP TABLE wallets;
DROP TABLE players;
