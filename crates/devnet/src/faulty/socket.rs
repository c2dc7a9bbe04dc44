//! WebSockets by way of the proxy: bytes in both directions, or none that the chain says.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::Shared;

const CHUNK: usize = 16 << 10;

/// Opens the chain's WebSocket too, and joins both.
pub(super) async fn open(shared: Arc<Shared>, mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let (target, client) = shared.target();
    let url = format!("{}{}", target.trim_end_matches('/'), request.uri());
    let mut asked = client.get(url);
    for (name, value) in request.headers() {
        if name != axum::http::header::HOST {
            asked = asked.header(name.as_str(), value.as_bytes());
        }
    }
    let answer = match asked.send().await {
        Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS.as_u16() => answer,
        Ok(answer) => {
            return (StatusCode::BAD_GATEWAY, answer.status().to_string()).into_response();
        }
        Err(error) => {
            return (StatusCode::BAD_GATEWAY, error.without_url().to_string()).into_response();
        }
    };
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    for (name, value) in answer.headers() {
        response.headers_mut().append(name.clone(), value.clone());
    }
    tokio::spawn(async move {
        let (Ok(near), Ok(far)) = (upgrade.await, answer.upgrade().await) else { return };
        shared.count_socket();
        let (mut from_near, mut to_near) = tokio::io::split(TokioIo::new(near));
        let (mut from_far, mut to_far) = tokio::io::split(far);
        let up = tokio::io::copy(&mut from_near, &mut to_far);
        let down = async {
            let mut chunk = vec![0; CHUNK];
            while let Ok(count @ 1..) = from_far.read(&mut chunk).await {
                if shared.is_mute() {
                    continue;
                }
                shared.count_answer(count as u64);
                let Some(said) = chunk.get(..count) else { break };
                if to_near.write_all(said).await.is_err() || to_near.flush().await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            _ = up => {}
            () = down => {}
        }
    });
    response
}
