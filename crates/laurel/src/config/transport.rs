//! Nothing but what stays on this machine goes unencrypted.

use std::{net::IpAddr, str::FromStr};

use anyhow::{Context, bail};
use axum::http::HeaderValue;
use reqwest::Url;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{Api, Config, Ops};
use crate::secret::Secret;

impl Api {
    /// The sites whose scripts may call.
    pub(crate) fn origins(&self) -> anyhow::Result<Vec<HeaderValue>> {
        self.cors_origins.iter().map(|origin| exact(origin)).collect()
    }

    /// Whether only proxies may connect: what they bring is in plain, and others would bring it in plain from anywhere.
    pub(crate) const fn proxies_only(&self) -> bool {
        self.behind_proxy && self.tls_cert.is_none() && !self.bind.ip().is_loopback()
    }

    fn check(&self) -> anyhow::Result<()> {
        self.origins()?;
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            bail!("api.tls_cert and api.tls_key belong together: set both or none");
        }
        let by_tls = self.tls_cert.is_some();
        if !by_tls && !self.behind_proxy && !self.bind.ip().is_loopback() {
            bail!(
                "api.bind = \"{}\" is reached from elsewhere: set api.tls_cert and api.tls_key, or, where a proxy ends TLS, \
                 api.behind_proxy = true",
                self.bind
            );
        }
        if self.behind_proxy && self.trusted_proxies.is_empty() {
            bail!(
                "api.behind_proxy takes api.trusted_proxies, such as [\"10.0.0.0/8\"]: else all clients look like one"
            );
        }
        if by_tls && !self.public_url.starts_with("https://") {
            bail!("api.public_url begins with https:// where api.tls_cert is set: clients come by it");
        }
        Ok(())
    }
}

impl Ops {
    fn check(&self) -> anyhow::Result<()> {
        if !self.private_network && !self.bind.ip().is_loopback() {
            bail!(
                "ops.bind = \"{}\" is reached from elsewhere, in plain and by everybody: bind a loopback address, or, where only \
                 those who run this reach it, set ops.private_network = true",
                self.bind
            );
        }
        Ok(())
    }
}

/// Refuses connections to elsewhere that anybody on the way could read.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    config.api.check()?;
    config.ops.check()?;
    let database = &config.database;
    let urls = [
        ("url", Some(&database.url)),
        ("read_url", database.read_url.as_ref()),
        ("listen_url", database.listen_url.as_ref()),
    ];
    for (key, url) in urls {
        if url.is_some_and(database_in_plain) {
            bail!(
                "database.{key} leads elsewhere without TLS: append ?sslmode=verify-full (and &sslrootcert=FILE), or \
                 sslmode=require"
            );
        }
    }
    for chain in &config.chains {
        for url in &chain.rpc_urls {
            let url = Url::parse(url.reveal()).ok();
            let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
            if url.as_ref().is_some_and(|url| url.scheme() == "http") && !is_loopback(host) {
                bail!("chain {}: rpc_urls has a node elsewhere by http: ask it by https", chain.id);
            }
        }
    }
    Ok(())
}

/// An origin (RFC 6454) that browsers send letter by letter.
fn exact(origin: &str) -> anyhow::Result<HeaderValue> {
    let parsed = Url::parse(origin).ok().map(|url| url.origin().ascii_serialization());
    if parsed.as_deref() != Some(origin) || !origin.starts_with("http") {
        bail!("api.cors_origins: name each site as browsers do, such as https://games.example, not {origin}");
    }
    HeaderValue::from_str(origin).context("api.cors_origins")
}

/// What is no address of a database is told by whoever connects.
fn database_in_plain(url: &Secret) -> bool {
    PgConnectOptions::from_str(url.reveal()).is_ok_and(|options| {
        let stays = options.get_socket().is_some()
            || options.get_host().starts_with('/')
            || is_loopback(options.get_host());
        let encrypted = matches!(
            options.get_ssl_mode(),
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
        );
        !stays && !encrypted
    })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
