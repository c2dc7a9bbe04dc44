//! The way in for peers that ask for signatures: an address of its own, so that a firewall can let
//! them in and nobody else.

use crate::{connection::Bounded, error::ServeError};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use postrider_node::peers::{Desk, MAX_REQUEST_BYTES, PATH, SEAL};
use std::{future::IntoFuture, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a request may take to arrive and to be answered.
const ANSWER: Duration = Duration::from_secs(20);
/// How long answers under way may take once the node stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What peers may ask.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route(PATH, post(signatures))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(axum::middleware::from_fn(in_time))
        .with_state(desk)
}

async fn in_time(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let answered = tokio::time::timeout(ANSWER, next.run(request)).await;
    answered.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

async fn signatures(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let seal = headers.get(SEAL).and_then(|value| value.to_str().ok());
    match desk.answer(seal, &body).await {
        Ok(reply) => {
            let headers =
                [(header::CONTENT_TYPE.as_str(), "application/json"), (SEAL, reply.seal.as_str())];
            (headers, reply.body).into_response()
        }
        Err(why) => {
            let status = StatusCode::from_u16(why.status());
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), why.to_string()).into_response()
        }
    }
}

/// Serves peers until `stop` is cancelled; answers under way may end.
///
/// # Errors
/// [`ServeError::Ended`].
pub async fn serve(
    listener: TcpListener,
    desk: Arc<Desk>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let serving = axum::serve(Bounded::new(listener), router(desk))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        ended = serving.into_future() => Ok(ended?),
        () = overdue => Ok(()),
    }
}
