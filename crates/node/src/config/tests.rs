use super::*;

const GOOD: &str = r#"
[networks.alpha]
kind = "evm"
chain_id = 1
quorum = 2
finality = { confirmations = 2 }
signer = "payer"
upstreams = [
    { name = "a", operator = "x", url = "http://localhost:1" },
    { name = "b", operator = "y", url = "http://localhost:2" },
]

[layerzero.alpha]
eid = 30101
endpoint = "0x1111111111111111111111111111111111111111"
receive_libraries = ["0x2222222222222222222222222222222222222222"]
roles = ["attest"]
dvn = { address = "0x3333333333333333333333333333333333333333", keys = ["dvn"] }
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("postrider.toml"), Path::new("/tmp"))
}

fn problems(from: &str, to: &str) -> Vec<Problem> {
    assert!(GOOD.contains(from), "{from}");
    parse(&GOOD.replacen(from, to, 1)).unwrap_err().problems
}

#[test]
fn a_good_file_is_taken() {
    let config = parse(GOOD).unwrap();
    let alpha = &config.networks[&"alpha".parse().unwrap()];
    assert_eq!(alpha.finality, Finality::Confirmations(2));
    assert_eq!(alpha.upstreams.len(), 2);
    assert_eq!(config.data, Path::new("/tmp/data"));
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let found = problems("quorum = 2", "quorum = 2\nquorom = 2");
    assert_eq!(found[0].line, Some(6));
    assert!(found[0].what.contains("quorom"), "{}", found[0].what);
}

/// Class (m): same-operator upstreams and thresholds that are no majority.
#[test]
fn r2_m_an_unsafe_quorum_is_refused() {
    for to in ["quorum = 0", "quorum = 1", "quorum = 3"] {
        let found = problems("quorum = 2", to);
        assert_eq!(found[0].line, Some(5), "{to}");
    }
    let found = problems("operator = \"y\"", "operator = \"x\"");
    assert!(found[0].what.contains("one operator count once"), "{}", found[0].what);
}

#[test]
fn r8_a_bad_url_is_not_repeated() {
    let found = problems("http://localhost:2", "localhost:2/secret");
    assert!(!format!("{found:?}").contains("secret"));
    assert!(found[0].what.contains("upstream b"));
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    assert!(problems("signer = \"payer\"", "")[0].what.contains("key that pays"));
    assert!(problems("\"payer\"", "\"dvn\"")[0].what.contains("both pays and attests"));
    assert!(problems("keys = [\"dvn\"]", "keys = []")[0].what.contains("needs a DVN"));
    assert!(problems("[layerzero.alpha]", "[layerzero.beta]")[0].what.contains("not configured"));
}

#[test]
fn all_problems_are_named_at_once() {
    let text = GOOD.replace("quorum = 2", "quorum = 1").replace("signer = \"payer\"", "");
    assert_eq!(parse(&text).unwrap_err().problems.len(), 2);
}

/// Class (j): a signature that could be used elsewhere.
#[test]
fn j_one_key_never_attests_two_networks() {
    let second = GOOD
        .replace("alpha", "beta")
        .replace("chain_id = 1", "chain_id = 2")
        .replace("30101", "30102");
    let error = parse(&format!("{GOOD}{second}")).unwrap_err();
    assert!(error.problems[0].what.contains("attests for both"), "{error}");
}
