//! Canonical JSON (RFC 8785), the only form in which an event is stored and hashed.

use serde::Serialize;

/// A value that has no canonical JSON form.
#[derive(Debug, thiserror::Error)]
#[error("no canonical JSON for {type_name}")]
pub struct CanonicalError {
    type_name: &'static str,
    #[source]
    source: serde_json::Error,
}

/// The canonical JSON bytes (RFC 8785) of `value`.
///
/// # Errors
/// If `value` is no JSON value, such as a map whose keys are not strings.
pub fn canonical_json<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    serde_json_canonicalizer::to_vec(value)
        .map_err(|source| CanonicalError { type_name: std::any::type_name::<T>(), source })
}
