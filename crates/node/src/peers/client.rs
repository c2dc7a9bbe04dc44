//! The way to a peer: sealed requests over HTTP, with bounds on time and length.

use super::{PATH, SEAL, read_seal, seal_text};
use crate::config::PeerConfig;
use alloy_primitives::Address;
use postrider_layerzero::request::{
    Answered, Asked, BadText, DvnPlace, MAX_ANSWER_BYTES, SignatureAnswer, SignatureRequest,
    VERSION,
};
use postrider_message::{Detail, UnixMillis};
use postrider_signing::{IdentityKey, SEAL_SIZE, Sealed, SigningError, random_nonce};
use std::{error::Error, time::Duration};

/// How long a peer may take from the first byte sent to the last one received. It proves and plans
/// anew for each request, which takes it several questions to its upstreams.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(3);

/// Why there is no usable answer. All of it is worth another try.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No answer in time.
    #[error("does not answer within {TIMEOUT:?}")]
    Timeout,
    /// No connection, or it broke.
    #[error("does not answer: {0}")]
    Unreachable(Detail),
    /// It turned the request away.
    #[error("turned us away with HTTP {status}: {said}")]
    TurnedAway {
        /// The status.
        status: u16,
        /// What it said.
        said: Detail,
    },
    /// Its answer is longer than allowed.
    #[error("answers more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// Its answer has no seal, or that of another identity than the file names.
    #[error("answers without the seal of {0}")]
    NotSealed(Address),
    /// Its answer is not one.
    #[error("answers what is none: {0}")]
    Text(#[from] BadText),
    /// The request could not be sealed.
    #[error("was not asked: {0}")]
    Seal(#[from] SigningError),
}

impl AskError {
    /// Whether somebody answers who should not, or answers what it should not: no trouble of the
    /// network explains that.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        matches!(self, Self::NotSealed(_) | Self::Text(_) | Self::TooLong)
    }
}

/// Asks one peer.
#[derive(Debug)]
pub struct PeerClient {
    http: reqwest::Client,
    peer: PeerConfig,
    identity: IdentityKey,
}

impl PeerClient {
    /// A client for `peer`, to which we are known by `identity`.
    ///
    /// # Errors
    /// [`AskError::Unreachable`] if no HTTP client can be built on this machine.
    pub fn new(peer: PeerConfig, identity: IdentityKey) -> Result<Self, AskError> {
        // A second installation fails and changes nothing: the provider is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECTING)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| AskError::Unreachable(e.without_url().to_string().into()))?;
        Ok(Self { http, peer, identity })
    }

    /// Asks for signatures; the answers are in the items' order.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, dvn: DvnPlace, items: Vec<Asked>) -> Result<Vec<Answered>, AskError> {
        let asked = items.len();
        let request = SignatureRequest {
            version: VERSION,
            to: self.peer.identity,
            nonce: random_nonce(),
            at: UnixMillis::now(),
            dvn,
            items,
        };
        let body = request.bytes()?;
        let digest = Sealed::Request.digest(&body);
        let seal = self.identity.seal(Sealed::Request, &body)?;
        let (seal, bytes) = self.post(body, &seal_text(&seal)).await?;
        let expected = self.peer.identity;
        let by = seal.and_then(|seal| Sealed::Answer.sealed_by(&bytes, &seal));
        if by != Some(expected) {
            return Err(AskError::NotSealed(expected));
        }
        Ok(SignatureAnswer::read(&bytes, digest, asked)?.items)
    }

    async fn post(
        &self,
        body: Vec<u8>,
        seal: &str,
    ) -> Result<(Option<[u8; SEAL_SIZE]>, Vec<u8>), AskError> {
        let url = format!("{}{PATH}", self.peer.url.expose().trim_end_matches('/'));
        let request = self.http.post(url).header("content-type", "application/json");
        let sent = request.header(SEAL, seal).body(body).send().await;
        let mut response = sent.map_err(|e| self.failure(e))?;
        let seal = response.headers().get(SEAL).and_then(|v| read_seal(v.to_str().ok()?));
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failure(e))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(AskError::TooLong);
            }
            bytes.extend_from_slice(&chunk);
        }
        if status != 200 {
            let said = self.peer.url.blank(&String::from_utf8_lossy(&bytes));
            return Err(AskError::TurnedAway { status, said: said.into() });
        }
        Ok((seal, bytes))
    }

    fn failure(&self, error: reqwest::Error) -> AskError {
        if error.is_timeout() {
            return AskError::Timeout;
        }
        // The outer text names the URL; the innermost cause says what happened and does not.
        let error = error.without_url();
        let mut cause: &dyn Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        AskError::Unreachable(self.peer.url.blank(&cause.to_string()).into())
    }
}

#[cfg(test)]
mod tests;
