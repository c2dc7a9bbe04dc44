//! R7, held by the shape of the program: whoever can open a database transaction cannot talk to a
//! network, and the other way round.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

/// Every Rust source below `folder`, with its path.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|n| n != "tests" && n != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn r7_who_opens_transactions_knows_no_network() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    sources(crates, &mut found);
    assert!(found.len() > 50, "the sources were not found");
    let in_crate = |path: &str, name: &str| path.contains(&format!("/crates/{name}/"));
    for (path, text) in &found {
        let stores = ["store", "signing"].iter().any(|name| in_crate(path, name));
        let transaction = ["sqlx::", "use sqlx"].iter().any(|word| text.contains(word));
        assert!(stores || !transaction, "{path} opens database transactions");
        let network = ["reqwest", "postrider_evm", "TcpStream"].iter().any(|w| text.contains(w));
        assert!(!stores || !network, "{path} talks to a network");
    }
}
