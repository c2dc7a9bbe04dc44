//! Peers that say what a test wants.

use super::{SEAL, seal_text};
use crate::{config::Config, context::Context};
use alloy_primitives::Address;
use postrider_evm::RpcUrl;
use postrider_signing::SEAL_SIZE;
use postrider_store::SqliteStore;
use std::{path::Path, sync::Arc};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// The DVN of [`context`].
pub(crate) const DVN: &str = "0x3333333333333333333333333333333333333333";

/// What a peer answers to the bytes of a request.
pub(crate) type Script = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// A peer that answers each request as the script says, and breaks off.
pub(crate) async fn peer(script: Script) -> RpcUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/with-secret", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = Vec::new();
            let mut chunk = [0; 4096];
            let body = loop {
                let read = stream.read(&mut chunk).await.unwrap_or(0);
                text.extend_from_slice(&chunk[..read]);
                let end = text.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
                if let Some(body) = end.filter(|end| text[*end..].ends_with(b"}")) {
                    break text[body..].to_vec();
                }
                if read == 0 {
                    return;
                }
            };
            // It may be hung up on before all is written.
            let _ = stream.write_all(&script(&body)).await;
            let _ = stream.shutdown().await;
        }
    });
    RpcUrl::new(&url).unwrap()
}

pub(crate) fn http(status: u16, seal: Option<[u8; SEAL_SIZE]>, body: &[u8]) -> Vec<u8> {
    let seal = seal.map(|seal| format!("{SEAL}: {}\r\n", seal_text(&seal))).unwrap_or_default();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{seal}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A node that has proven nothing, with one peer of this identity. Its upstream is away: nobody may
/// be asked.
pub(crate) async fn context(peer: Address) -> (Arc<Context>, TempDir) {
    let text = format!(
        r#"
[networks.alpha]
kind = "evm"
chain_id = 1
quorum = 1
finality = "finalized"
signer = "payer"
upstreams = [{{ name = "a", operator = "x", url = "http://127.0.0.1:1" }}]

[layerzero.alpha]
eid = 30101
endpoint = "0x1111111111111111111111111111111111111111"
receive_libraries = ["0x2222222222222222222222222222222222222222"]
roles = ["attest"]
dvn = {{ address = "{DVN}", keys = ["a"], peers = [{{ name = "bern", signer = "{:#x}" }}] }}

[peering]
identity = "who"

[peers.bern]
identity = "{peer:#x}"
url = "http://127.0.0.1:1"
"#,
        Address::repeat_byte(7),
    );
    let folder = tempfile::tempdir().unwrap();
    let config = Config::parse(&text, Path::new("postrider.toml"), folder.path()).unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("store")).await.unwrap());
    (Arc::new(Context::new(config, store).unwrap()), folder)
}
