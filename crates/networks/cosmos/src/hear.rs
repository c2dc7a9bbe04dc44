//! Word of new blocks over CometBFT's WebSocket (`/websocket`, RPC method `subscribe`). It is only a
//! reason to look at once: what it says is not read, and nodes that say nothing are polled.

use crate::upstream::Upstream;
use futures::{SinkExt, StreamExt};
use postrider_jsonrpc::UpstreamError;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

/// The most bytes of one message. A header with its events has a few thousand.
const MAX_MESSAGE: usize = 1 << 20;
/// How long making the connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// As much of a message as matters.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(default)]
    error: Option<alloy_json_rpc::ErrorPayload>,
    #[serde(default)]
    result: Option<Event>,
}

/// What is said of a block; of the subscription itself it has no data.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    data: Option<serde::de::IgnoredAny>,
}

impl Upstream {
    /// Calls `heard` for each block that the node tells of, for as long as it tells of one within
    /// `silence`, and gives back why it ended. That counts for nothing in its health.
    pub async fn hear_blocks(&self, silence: Duration, heard: impl FnMut()) -> UpstreamError {
        match self.hear(silence, heard).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn hear(
        &self,
        silence: Duration,
        mut heard: impl FnMut(),
    ) -> Result<std::convert::Infallible, UpstreamError> {
        let broken = |error: tokio_tungstenite::tungstenite::Error| {
            UpstreamError::Unreachable(self.blank(&error.to_string()).into())
        };
        let late = |_| UpstreamError::Unreachable("its WebSocket says nothing".into());
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let url = socket_url(self.client().url().expose());
        let connecting = connect_async_with_config(url, Some(limits), true);
        let (mut socket, _) = timeout(CONNECT, connecting).await.map_err(late)?.map_err(broken)?;
        let query = json!({ "query": "tm.event='NewBlockHeader'" });
        let call = json!({ "jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": query });
        socket.send(Message::text(call.to_string())).await.map_err(broken)?;
        loop {
            let next = timeout(silence, socket.next()).await.map_err(late)?;
            let ended = || UpstreamError::Unreachable("its WebSocket was closed".into());
            let Message::Text(text) = next.ok_or_else(ended)?.map_err(broken)? else { continue };
            let said: Said = serde_json::from_str(&text)
                .map_err(|e| UpstreamError::Garbage(self.blank(&e.to_string()).into()))?;
            if let Some(error) = said.error {
                return Err(crate::wire::refused(&error));
            }
            if said.result.is_some_and(|event| event.data.is_some()) {
                heard();
            }
        }
    }
}

/// The WebSocket's URL, from the one of the RPC.
fn socket_url(rpc: &str) -> String {
    let (scheme, rest) = rpc.split_once("://").unwrap_or(("http", rpc));
    let scheme = if scheme.eq_ignore_ascii_case("https") { "wss" } else { "ws" };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (rest, String::new()),
    };
    format!("{scheme}://{}/websocket{query}", path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_beside_the_rpc() {
        for (rpc, socket) in [
            ("http://127.0.0.1:26657", "ws://127.0.0.1:26657/websocket"),
            ("https://rpc.example/", "wss://rpc.example/websocket"),
            ("https://rpc.example/abc/?key=1", "wss://rpc.example/abc/websocket?key=1"),
        ] {
            assert_eq!(socket_url(rpc), socket);
        }
    }

    #[test]
    fn r10_only_a_block_counts() {
        let read = |text: &str| serde_json::from_str::<Said>(text);
        let confirmed = read(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#).unwrap();
        assert!(confirmed.error.is_none() && confirmed.result.unwrap().data.is_none());
        let block = r#"{"id":0,"result":{"query":"x","data":{"type":"y","value":{}}}}"#;
        assert!(read(block).unwrap().result.unwrap().data.is_some());
        let refused = r#"{"id":0,"error":{"code":-32603,"message":"Internal error","data":"max"}}"#;
        assert!(read(refused).unwrap().error.is_some());
        assert!(read("<html>").is_err());
    }
}
