//! What goes wrong, for programs and for the people who read them.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use postrider_message::Detail;
use postrider_store::StoreError;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened at.
    #[error(
        "[api]: cannot listen at {listen}: {source}; choose another `listen`, or stop what is there"
    )]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Listening ended.
    #[error("serving HTTP ended: {0}; it starts again with the node")]
    Ended(#[from] std::io::Error),
}

/// The document of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// The error.
    pub error: ErrorBody,
}

/// What is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One word for programs, stable across releases.
    pub code: String,
    /// What is wrong.
    pub what: Detail,
    /// What to do about it.
    pub remedy: String,
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    status: StatusCode,
    code: &'static str,
    what: Detail,
    remedy: &'static str,
}

const PATHS: &str =
    "ask for /health, /ready, /messages, /messages/ID, /lanes or /metrics, with GET";

impl Refused {
    /// A parameter that is not one, or is out of bounds.
    pub(crate) fn parameter(what: impl AsRef<str>, remedy: &'static str) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { status, code: "bad_parameter", what: what.into(), remedy }
    }

    pub(crate) fn not_found(what: impl AsRef<str>, remedy: &'static str) -> Self {
        let status = StatusCode::NOT_FOUND;
        Self { status, code: "not_found", what: what.into(), remedy }
    }

    pub(crate) fn ambiguous(what: impl AsRef<str>, remedy: &'static str) -> Self {
        let status = StatusCode::CONFLICT;
        Self { status, code: "ambiguous", what: what.into(), remedy }
    }

    pub(crate) fn no_such_path() -> Self {
        Self::not_found("there is nothing at this path", PATHS)
    }

    pub(crate) fn no_such_method() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "read_only",
            what: "nothing can be changed here".into(),
            remedy: PATHS,
        }
    }

    pub(crate) fn too_slow() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "timeout",
            what: "the answer took too long".into(),
            remedy: "ask for less, or again later",
        }
    }
}

impl From<StoreError> for Refused {
    /// The error names files, which are the operator's matter: it goes to the log.
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a question over HTTP was not answered");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "store_failed",
            what: "the store could not be read".into(),
            remedy: "the node's log says why; ask again later",
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { status, code, what, remedy } = self;
        let error = ErrorBody { code: code.to_owned(), what, remedy: remedy.to_owned() };
        (status, Json(ErrorDocument { error })).into_response()
    }
}
