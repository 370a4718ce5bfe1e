//! Where the parts come from: a server that we are given, what is installed, npm, or nowhere.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::Result;
use laurel_devnet::{Anvil, AnvilOptions, DevnetError, Mining, Postgres, PostgresOptions, Surroundings};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use crate::private;

/// A machine without any of our programs, but with our lock files in a private folder of its own.
fn bare() -> Result<(TempDir, Surroundings)> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
    let real = Surroundings::from_env();
    let copy = |name: &str, package: &PathBuf| -> Result<PathBuf> {
        let copy = folder.path().join(name);
        fs::create_dir(&copy)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(package.join(file), copy.join(file))?;
        }
        Ok(copy)
    };
    let surroundings = Surroundings {
        database_url: None,
        path: Vec::new(),
        distribution: Vec::new(),
        anvil_package: copy("anvil", &real.anvil_package)?,
        postgres_package: copy("postgres", &real.postgres_package)?,
        temporary: real.temporary,
    };
    Ok((folder, surroundings))
}

fn postgres_options(surroundings: Surroundings) -> PostgresOptions {
    PostgresOptions { surroundings, ..PostgresOptions::throw_away() }
}

fn anvil_options(surroundings: Surroundings) -> AnvilOptions {
    AnvilOptions { surroundings, ..AnvilOptions::new(Mining::OnDemand) }
}

#[tokio::test]
async fn what_cannot_be_had_is_named_with_the_command_that_installs_it() -> Result<()> {
    let (_folder, surroundings) = bare()?;
    let no_postgres =
        Postgres::start(postgres_options(surroundings.clone())).await.expect_err("there is none");
    assert!(matches!(&no_postgres, DevnetError::Missing { part: "PostgreSQL", .. }), "{no_postgres:?}");
    let no_anvil = Anvil::start(anvil_options(surroundings)).await.expect_err("there is none");
    assert!(matches!(&no_anvil, DevnetError::Missing { part: "Anvil", .. }), "{no_anvil:?}");
    if cfg!(target_os = "linux") {
        assert!(
            no_postgres.to_string().ends_with("install it with: sudo apt-get install -y postgresql"),
            "{no_postgres}"
        );
        assert!(no_anvil.to_string().ends_with("install it with: sudo apt-get install -y npm"), "{no_anvil}");
    }
    Ok(())
}

#[tokio::test]
async fn what_npm_says_is_passed_on() -> Result<()> {
    let (folder, mut surroundings) = bare()?;
    let npm = folder.path().join("npm");
    fs::write(&npm, "#!/bin/sh\necho no network today >&2\nexit 1\n")?;
    fs::set_permissions(&npm, fs::Permissions::from_mode(0o755))?;
    surroundings.path = vec![folder.path().to_owned()];
    let error = Anvil::start(anvil_options(surroundings)).await.expect_err("npm fails");
    assert!(matches!(&error, DevnetError::Npm { output, .. } if output == "no network today"), "{error:?}");
    Ok(())
}

/// Two at once find nothing installed: one installs, the other waits. As root the private folder is closed to the user
/// that the server runs as, so its programs are copied.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[tokio::test]
async fn npm_provides_what_is_not_installed() -> Result<()> {
    use std::os::unix::fs::symlink;

    let (folder, mut surroundings) = bare()?;
    let programs = folder.path().join("programs");
    fs::create_dir(&programs)?;
    // Just enough for npm to run, and no PostgreSQL or Anvil beside it.
    for name in ["npm", "node", "sh", "env"] {
        let real =
            Surroundings::from_env().path.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        symlink(real.ok_or_else(|| anyhow::anyhow!("this test needs {name}"))?, programs.join(name))?;
    }
    surroundings.path = vec![programs];

    let cluster = || Postgres::start(postgres_options(surroundings.clone()));
    let (one, two, anvil) =
        tokio::try_join!(cluster(), cluster(), Anvil::start(anvil_options(surroundings.clone())))?;
    for postgres in [one, two] {
        let mut session = PgConnection::connect(&postgres.url("postgres")).await?;
        let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut session).await?;
        assert!(version.starts_with("18."), "{version}");
        session.close().await?;
        postgres.stop().await?;
    }
    anvil.stop().await?;
    Ok(())
}

#[tokio::test]
async fn npms_own_script_for_anvil_is_passed_over() -> Result<()> {
    let (folder, mut surroundings) = bare()?;
    let script = folder.path().join("programs/anvil");
    fs::create_dir(folder.path().join("programs"))?;
    fs::write(&script, "#!/usr/bin/env node\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    surroundings.path = vec![folder.path().join("programs")];
    let error = Anvil::start(anvil_options(surroundings)).await.expect_err("and npm is not there");
    assert!(matches!(&error, DevnetError::Missing { part: "Anvil", .. }), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_part_that_cannot_start_says_why() -> Result<()> {
    let options = PostgresOptions { max_connections: 0, ..PostgresOptions::throw_away() };
    let error = Postgres::start(private(options)).await.expect_err("no connections");
    assert!(matches!(&error, DevnetError::Ended { log, .. } if log.contains("max_connections")), "{error:?}");
    Ok(())
}

async fn databases(server: &Postgres) -> Result<Vec<String>> {
    let mut session = PgConnection::connect(&server.url("postgres")).await?;
    let names =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname LIKE 'laurel%' ORDER BY 1")
            .fetch_all(&mut session)
            .await?;
    session.close().await?;
    Ok(names)
}

#[tokio::test]
async fn a_server_that_is_given_is_used_and_left_as_it_was() -> Result<()> {
    let server = Postgres::start(private(PostgresOptions::throw_away())).await?;
    let given = Surroundings { database_url: Some(server.url("postgres")), ..Surroundings::from_env() };

    let guest = Postgres::start(postgres_options(given.clone())).await?;
    assert_eq!((guest.process_id(), guest.folder()), (None, None));
    guest.create_database("model", None).await?;
    guest.create_database("copy", Some("model")).await?;
    guest.create_database("short_lived", None).await?;
    guest.drop_database("short_lived").await?;
    PgConnection::connect(&guest.url("copy")).await?.close().await?;
    assert_eq!(databases(&server).await?.len(), 2);
    guest.stop().await?;
    assert!(databases(&server).await?.is_empty(), "stopped");

    let guest = Postgres::start(postgres_options(given)).await?;
    guest.create_database("model", None).await?;
    drop(guest);
    assert!(databases(&server).await?.is_empty(), "dropped");
    Ok(())
}

#[tokio::test]
async fn what_a_killed_guest_left_is_dropped_by_the_next_one() -> Result<()> {
    let server = Postgres::start(private(PostgresOptions::throw_away())).await?;
    let given = Surroundings { database_url: Some(server.url("postgres")), ..Surroundings::from_env() };
    let living = Postgres::start(postgres_options(given.clone())).await?;
    living.create_database("mine", None).await?;
    let in_use = "laurel_00000000000000ab_in_use";
    let foreign = "laurel_production";
    let mut session = PgConnection::connect(&server.url("postgres")).await?;
    for name in ["laurel_00000000000000ab_left", in_use, foreign] {
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut session).await?;
    }
    let user = PgConnection::connect(&server.url(in_use)).await?;

    let next = Postgres::start(postgres_options(given)).await?;
    let left = databases(&server).await?;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.contains(&in_use.to_owned()) && left.contains(&foreign.to_owned()), "{left:?}");
    assert!(left.iter().any(|name| name.ends_with("_mine")), "{left:?}");
    next.stop().await?;
    user.close().await?;
    living.stop().await?;
    Ok(())
}
