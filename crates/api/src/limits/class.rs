//! Which routes share a bucket.

use axum::http::HeaderMap;

use crate::export::Format;

/// What requests are counted as. Those of a class share a caller's bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Whoever comes to sign in, by their address.
    SignIn,
    /// Whoever somebody wants to be, by that name; players, who have nothing to be guessed, by address as well.
    Login,
    /// Requests with credentials that were none, by their address.
    Failures,
    /// Changes.
    Write,
    /// Questions.
    Read,
    /// Questions that take long: exports, sums, rules on what was, what vaults hold.
    Heavy,
    /// Players as a game server registers them, and their challenges.
    Players,
    /// Outcomes, each of them.
    Outcomes,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SignIn,
        Self::Login,
        Self::Failures,
        Self::Write,
        Self::Read,
        Self::Heavy,
        Self::Players,
        Self::Outcomes,
    ];

    /// Its name in headers, metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Login => "login",
            Self::Failures => "failures",
            Self::Write => "write",
            Self::Read => "read",
            Self::Heavy => "heavy",
            Self::Players => "players",
            Self::Outcomes => "outcomes",
        }
    }

    /// The largest body that a route of the class reads.
    pub(crate) const fn body_bytes_max(self) -> usize {
        match self {
            // A wallet's message and its signature are the longest.
            Self::SignIn | Self::Login | Self::Failures | Self::Read => 16 * 1024,
            // A list of players is the longest.
            Self::Write | Self::Heavy | Self::Players => 1024 * 1024,
            // 1,000 outcomes with all attributes at their longest, in plain UTF-8, are 6 MB.
            Self::Outcomes => 8 * 1024 * 1024,
        }
    }
}

/// Routes whose class is not that of their method; `None` are those that are never limited.
const EXCEPTIONS: [(&str, &str, Option<Class>); 16] = [
    ("POST", "/v1/auth/token", Some(Class::SignIn)),
    ("POST", "/v1/auth/refresh", Some(Class::SignIn)),
    ("POST", "/v1/auth/wallet/challenge", Some(Class::SignIn)),
    ("POST", "/v1/auth/wallet", Some(Class::SignIn)),
    // Whoever checks tokens must be able to, and it is answered from memory.
    ("GET", "/v1/auth/jwks", None),
    ("POST", "/v1/outcomes", Some(Class::Outcomes)),
    ("PUT", "/v1/players/{player_id}", Some(Class::Players)),
    ("POST", "/v1/players/{player_id}/wallet/challenge", Some(Class::Players)),
    ("PUT", "/v1/players/{player_id}/wallet", Some(Class::Players)),
    ("POST", "/v1/campaigns/{campaign_id}/rule/try", Some(Class::Heavy)),
    ("POST", "/v1/campaigns/{campaign_id}/rule/replay", Some(Class::Heavy)),
    ("GET", "/v1/players/{player_id}/data", Some(Class::Heavy)),
    ("GET", "/v1/grants/totals", Some(Class::Heavy)),
    ("GET", "/v1/transactions/totals", Some(Class::Heavy)),
    // A sum of all that was ever booked.
    ("GET", "/v1/audit/balances", Some(Class::Heavy)),
    // Nodes are asked, which others count.
    ("GET", "/v1/audit/vaults", Some(Class::Heavy)),
];

/// The class of a route; `None` if it is never limited.
pub fn class_of(method: &str, path: &str) -> Option<Class> {
    match EXCEPTIONS.iter().find(|(of, at, _)| *of == method && *at == path) {
        Some((_, _, class)) => *class,
        None if method == "GET" => Some(Class::Read),
        None => Some(Class::Write),
    }
}

/// The class of a request to a route of `class`: a list is an export where the caller wants a file.
pub(crate) fn asked(class: Class, headers: &HeaderMap) -> Class {
    if class == Class::Read && Format::wanted(headers).is_some() { Class::Heavy } else { class }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header::ACCEPT};
    use rstest::rstest;

    use super::*;
    use crate::MATRIX;

    #[test]
    fn every_exception_is_a_route() {
        for (method, path, _) in EXCEPTIONS {
            let known = MATRIX.iter().any(|right| right.method == method && right.path == path);
            assert!(known, "{method} {path}");
        }
    }

    #[rstest]
    #[case("text/csv", Class::Heavy)]
    #[case("TEXT/CSV", Class::Heavy)]
    #[case("text/html, Application/X-NDJSON;q=0.9", Class::Heavy)]
    #[case("application/json, text/csv", Class::Read)]
    #[case("application/json", Class::Read)]
    #[case("text/csv-schema", Class::Read)]
    fn what_is_made_a_file_is_heavy(#[case] accept: &str, #[case] class: Class) {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        assert_eq!(asked(Class::Read, &headers), class);
        assert_eq!(asked(Class::Write, &headers), Class::Write);
    }

    #[test]
    fn every_route_has_a_class() {
        let classes: String = MATRIX
            .iter()
            .map(|right| {
                let class = class_of(right.method, right.path).map_or("unlimited", Class::as_str);
                format!("{class:<9} {} {}\n", right.method, right.path)
            })
            .collect();
        insta::assert_snapshot!(classes);
    }
}
