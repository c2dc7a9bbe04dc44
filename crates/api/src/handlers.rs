//! One function a path.

use crate::{
    error::Refused,
    metrics,
    query::{Asked, LanesQuery, MessagesQuery, taken},
    ready::{Probe, Readiness, readiness},
    view::{EscrowReports, LaneReports, MessageList, Trace},
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::IntoResponse,
};
use postrider_message::UnixMillis;
use postrider_node::Context;
use postrider_store::Found;
use serde_json::{Value, json};
use std::sync::Arc;

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    context: Arc<Context>,
    probe: Arc<Probe>,
}

impl Shared {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, probe: Arc::default() }
    }
}

/// The process lives and answers; nothing is looked at.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "alive": true, "version": env!("CARGO_PKG_VERSION") }))
}

pub(crate) async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Readiness>) {
    let found = readiness(&shared.context, &shared.probe).await;
    let status = if found.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(found))
}

pub(crate) async fn messages(
    State(shared): State<Shared>,
    asked: Asked<MessagesQuery>,
) -> Result<Json<MessageList>, Refused> {
    let remedy = "use status, lane, network, reason, open, limit and after, each once at most";
    let store = &shared.context.store;
    let (filter, limit) = taken(asked, remedy)?.filter(store.as_ref()).await?;
    let conditions = store.conditions().await?;
    let rows = store.messages(filter).await?;
    Ok(Json(MessageList::new(rows, limit, &conditions, UnixMillis::now())))
}

pub(crate) async fn message(
    State(shared): State<Shared>,
    asked: Result<Path<String>, PathRejection>,
) -> Result<Json<Trace>, Refused> {
    let remedy =
        "give the first digits of a message's id, its guid, or the transaction that sent it";
    let Path(text) =
        asked.map_err(|rejection| Refused::parameter(rejection.body_text(), remedy))?;
    let store = &shared.context.store;
    let none = || Refused::not_found(format!("no message begins with `{text}`"), remedy);
    let id = match store.find(&text).await? {
        Found::One(id) => id,
        Found::None => return Err(none()),
        Found::Many(ids) => {
            let what = format!("`{text}` fits {} messages or more", ids.len());
            return Err(Refused::ambiguous(what, "give more digits"));
        }
    };
    let detail = store.message(id).await?.ok_or_else(none)?;
    Ok(Json(Trace::new(detail, &store.conditions().await?)))
}

pub(crate) async fn lanes(
    State(shared): State<Shared>,
    asked: Asked<LanesQuery>,
) -> Result<Json<LaneReports>, Refused> {
    let limit = taken(asked, "use limit, once at most")?.limit()?;
    let list = shared.context.store.lanes(limit).await?;
    Ok(Json(LaneReports::new(&list, UnixMillis::now())))
}

pub(crate) async fn escrows(
    State(shared): State<Shared>,
    asked: Asked<LanesQuery>,
) -> Result<Json<EscrowReports>, Refused> {
    let limit = taken(asked, "use limit, once at most")?.limit()?;
    let list = shared.context.store.escrows(limit).await?;
    Ok(Json(EscrowReports::new(&list, UnixMillis::now())))
}

pub(crate) async fn metrics(State(shared): State<Shared>) -> Result<impl IntoResponse, Refused> {
    let text = metrics::metrics(&shared.context).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
}
