//! Errors without what the address of a node holds: some servers repeat it in their answers.

use alloy::transports::{HttpError, RpcError, TransportError, TransportErrorKind};
use url::Url;

/// Shorter parts of an address are words, such as `rpc` or `mainnet`; keys are longer.
const KEY_LENGTH_MIN: usize = 8;

/// What an address may hold that others must not see.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(url: &Url) -> Self {
        let segments = url.path_segments().into_iter().flatten().map(str::to_owned);
        let values = url.query_pairs().map(|(_, value)| value.into_owned());
        let user = [Some(url.username()), url.password()].into_iter().flatten().map(str::to_owned);
        let parts = segments.chain(values).chain(user);
        Self(parts.filter(|part| part.len() >= KEY_LENGTH_MIN).collect())
    }

    fn without(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }

    /// A transport's error without the address that it was for: reqwest puts that into its message, servers into theirs.
    pub(super) fn without_address(&self, error: TransportError) -> TransportError {
        let http = |HttpError { status, body }| HttpError { status, body: self.without(&body) };
        match error {
            RpcError::Transport(TransportErrorKind::HttpError(error)) => {
                RpcError::Transport(TransportErrorKind::HttpError(http(error)))
            }
            RpcError::Transport(TransportErrorKind::HttpErrorWithRetryAfter { error, retry_after }) => {
                let error = http(error);
                RpcError::Transport(TransportErrorKind::HttpErrorWithRetryAfter { error, retry_after })
            }
            RpcError::Transport(TransportErrorKind::Custom(source)) => {
                let source = match source.downcast::<reqwest::Error>() {
                    Ok(source) => Box::new(source.without_url()),
                    Err(source) => source,
                };
                RpcError::Transport(TransportErrorKind::Custom(source))
            }
            RpcError::ErrorResp(mut payload) => {
                payload.message = self.without(&payload.message).into();
                RpcError::ErrorResp(payload)
            }
            RpcError::DeserError { err, text } => RpcError::DeserError { err, text: self.without(&text) },
            other => other,
        }
    }
}
