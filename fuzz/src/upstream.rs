//! What upstreams answer.

use crate::{input::Input, memory::bounded};
use postrider_evm::{CallOutcome, RpcUrl, fuzzing};
use postrider_jsonrpc::refused;
use postrider_message::Detail;
use std::sync::LazyLock;

const SECRETS: [&str; 4] = ["us3rn4me", "p4ssw0rd", "s3cr3tpath", "t0k3nvalue"];

fn url() -> &'static RpcUrl {
    static URL: LazyLock<RpcUrl> = LazyLock::new(|| {
        let [user, password, path, token] = SECRETS;
        let url = format!("https://{user}:{password}@rpc.example/v2/{path}?key={token}");
        RpcUrl::new(&url).expect("a URL")
    });
    &URL
}

fn tells_no_secret(text: &str) {
    assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{text}");
    assert!(Detail::from(text).to_string().len() <= 300);
}

/// Answers to up to 15 calls: as many as asked for or an error, and whatever is told of them holds
/// nothing secret of the URL (R8).
pub fn rpc_answer(data: &[u8]) {
    let mut input = Input(data);
    let calls = usize::from(input.byte() % 16);
    let results = bounded(data.len(), 200, || fuzzing::answers(url(), input.0, calls));
    let results = match results {
        Ok(results) => results,
        Err(error) => return tells_no_secret(&error.to_string()),
    };
    assert_eq!(results.len(), calls);
    for result in results {
        match result {
            Ok(value) => {
                let told = [
                    fuzzing::header(value.get()).err().map(|e| e.to_string()),
                    fuzzing::receipt(value.get()).err().map(|e| e.to_string()),
                    fuzzing::simulated(Ok(value), 1).err().map(|e| e.to_string()),
                ];
                told.iter().flatten().for_each(|text| tells_no_secret(text));
            }
            Err(error) => {
                tells_no_secret(&error.message);
                tells_no_secret(&refused(&error).to_string());
            }
        }
    }
}

/// The answer to a simulation of up to 15 calls: as many as asked for or an error.
pub fn simulation(data: &[u8]) {
    let mut input = Input(data);
    let calls = usize::from(input.byte() % 16);
    let Ok(text) = std::str::from_utf8(input.0) else { return };
    let Ok(value) = serde_json::value::RawValue::from_string(text.to_owned()) else { return };
    let result = bounded(data.len(), 128, || fuzzing::simulated(Ok(value), calls));
    let Ok(told) = result else { return };
    assert_eq!(told.len(), calls);
    let size = |outcome: &CallOutcome| match outcome {
        CallOutcome::Returned(data) | CallOutcome::Reverted(data) => data.len(),
    };
    assert!(told.iter().map(|call| size(&call.outcome)).sum::<usize>() <= data.len());
}
