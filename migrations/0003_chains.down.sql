DROP TABLE sightings;
DROP TABLE blocks;
DROP TABLE vaults;
DROP TABLE chains;
