//! Serving HTTP beside a running node.

use crate::{
    connection::Bounded,
    error::{Refused, ServeError},
    handlers::{self, Shared},
};
use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use postrider_node::Context;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long answers under way may take once the node stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Listens at an address.
///
/// # Errors
/// [`ServeError::Bind`] if something else listens there, or the address is not this machine's.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(listen).await.map_err(|source| ServeError::Bind { listen, source })
}

/// What is served, all of it for reading.
pub fn router(context: Arc<Context>) -> Router {
    Router::new()
        .route("/health", get(handlers::health))
        .route("/ready", get(handlers::ready))
        .route("/messages", get(handlers::messages))
        .route("/messages/{id}", get(handlers::message))
        .route("/lanes", get(handlers::lanes))
        .route("/escrows", get(handlers::escrows))
        .route("/metrics", get(handlers::metrics))
        .fallback(async || Refused::no_such_path())
        .method_not_allowed_fallback(async || Refused::no_such_method())
        .layer(from_fn(bounded))
        .with_state(Shared::new(context))
}

/// An answer in time, that is not kept and not taken for a page.
async fn bounded(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(ANSWER, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| Refused::too_slow().into_response());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Serves until `stop` is cancelled; answers under way may end.
///
/// # Errors
/// [`ServeError::Ended`].
pub async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let serving = axum::serve(Bounded::new(listener), router(context))
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
