DROP TABLE grant_steps;
DROP TABLE batch_steps;
