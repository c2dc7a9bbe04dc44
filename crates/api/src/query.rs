//! Parameters, checked where they come in.

use crate::error::Refused;
use axum::extract::{Query, rejection::QueryRejection};
use postrider_message::{LaneId, MessageStatus, NetworkName, ReasonCode};
use postrider_store::{FoundLanes, MessageFilter, Store};
use serde::Deserialize;

/// The most entries of a list.
pub(crate) const MAX_LIMIT: u32 = 500;
/// How many there are where nothing is asked for.
const LIMIT: u32 = 50;

/// The parameters of `/messages`, as they come.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessagesQuery {
    status: Option<String>,
    lane: Option<String>,
    network: Option<String>,
    reason: Option<String>,
    open: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

/// The parameters of `/lanes` and `/escrows`, as they come.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LanesQuery {
    limit: Option<String>,
}

/// A query, or which of its parameters is none.
pub(crate) type Asked<T> = Result<Query<T>, QueryRejection>;

pub(crate) fn taken<T>(asked: Asked<T>, remedy: &'static str) -> Result<T, Refused> {
    match asked {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Refused::parameter(rejection.body_text(), remedy)),
    }
}

impl LanesQuery {
    pub(crate) fn limit(&self) -> Result<u32, Refused> {
        limit(self.limit.as_deref())
    }
}

impl MessagesQuery {
    /// The filter asked for, and how many messages to show: the filter asks for one more, which
    /// tells whether there is another page.
    pub(crate) async fn filter(&self, store: &dyn Store) -> Result<(MessageFilter, u32), Refused> {
        let limit = limit(self.limit.as_deref())?;
        let filter = MessageFilter {
            status: self.status.as_deref().map(status).transpose()?,
            network: self.network.as_deref().map(network).transpose()?,
            lane: match &self.lane {
                Some(text) => Some(lane(store, text).await?),
                None => None,
            },
            reason: self.reason.as_deref().map(reason).transpose()?,
            open_only: self.open.as_deref().map(open).transpose()?.unwrap_or(false),
            include_gone: false,
            limit: limit.saturating_add(1),
            after: self.after.as_deref().map(after).transpose()?,
        };
        Ok((filter, limit))
    }
}

fn limit(text: Option<&str>) -> Result<u32, Refused> {
    let Some(text) = text else { return Ok(LIMIT) };
    let number = text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
    let remedy = "give a number from 1 to 500, and use `after` for more";
    number.ok_or_else(|| Refused::parameter(format!("`limit` is `{text}`"), remedy))
}

fn after(text: &str) -> Result<u64, Refused> {
    let remedy = "give the `next` of the page before";
    text.parse().map_err(|_| Refused::parameter(format!("`after` is `{text}`"), remedy))
}

fn status(text: &str) -> Result<MessageStatus, Refused> {
    let remedy = "use one of observed, final, verified, delivered, settled, refuted, failed, held";
    let found = MessageStatus::ALL.into_iter().find(|status| status.as_str() == text);
    found.ok_or_else(|| Refused::parameter(format!("`status` is `{text}`"), remedy))
}

fn reason(text: &str) -> Result<ReasonCode, Refused> {
    let remedy = "use a code from the list of reasons in docs/operate.md";
    text.parse().map_err(|_| Refused::parameter(format!("`reason` is `{text}`"), remedy))
}

fn network(text: &str) -> Result<NetworkName, Refused> {
    let remedy = "use the name of a configured network";
    text.parse().map_err(|_| Refused::parameter(format!("`network` is `{text}`"), remedy))
}

fn open(text: &str) -> Result<bool, Refused> {
    text.parse().map_err(|_| Refused::parameter(format!("`open` is `{text}`"), "use true or false"))
}

async fn lane(store: &dyn Store, text: &str) -> Result<LaneId, Refused> {
    let remedy = "use a lane's `id` from /lanes";
    match store.find_lanes(text).await? {
        FoundLanes::One(lane) => Ok(lane.id()),
        FoundLanes::None(_) => {
            Err(Refused::parameter(format!("no lane is called `{text}`"), remedy))
        }
        FoundLanes::Many(_) => {
            Err(Refused::parameter(format!("several lanes are called `{text}`"), remedy))
        }
    }
}
