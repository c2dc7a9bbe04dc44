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
fn http_is_off_local_or_allowed_for_all() {
    assert_eq!(parse(GOOD).unwrap().api, None);
    let with = |text: &str| parse(&format!("[api]\n{text}\n{GOOD}"));
    for local in ["127.0.0.1:9600", "[::1]:9600", "127.0.0.2:0"] {
        let api = with(&format!("listen = \"{local}\"")).unwrap().api.unwrap();
        assert_eq!(api.listen, local.parse().unwrap());
    }
    for remote in ["0.0.0.0:9600", "[::]:9600", "10.0.0.1:9600"] {
        let listen = format!("listen = \"{remote}\"");
        let error = with(&listen).unwrap_err();
        assert_eq!(error.problems[0].line, Some(2));
        assert!(error.problems[0].remedy.contains("allow_remote"), "{error}");
        with(&format!("{listen}\nallow_remote = true")).unwrap();
    }
    for bad in ["9600", "localhost:9600", "127.0.0.1", "127.0.0.1:99999", ""] {
        let error = with(&format!("listen = \"{bad}\"")).unwrap_err();
        assert!(error.problems[0].what.contains("not an address"), "{bad}: {error}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    assert!(problems("signer = \"payer\"", "")[0].what.contains("key that pays"));
    assert!(problems("\"payer\"", "\"dvn\"")[0].what.contains("both pays and attests"));
    assert!(problems("keys = [\"dvn\"]", "keys = []")[0].what.contains("needs a DVN"));
    assert!(
        problems("[layerzero.alpha]", "[layerzero.beta]")[0].what.contains("names no configured")
    );
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

/// Class (h): nothing is signed where the form of the blocks was never tested, neither for messages
/// that arrive there nor for messages sent from there.
#[test]
fn r1_h_a_network_that_may_only_be_watched_is_not_signed_for() {
    for (chain_id, why) in [(137, "state-sync"), (56, "receipts"), (43_114, "headers")] {
        let found = problems("chain_id = 1", &format!("chain_id = {chain_id}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.contains("may only be watched"), "{}", found[0].what);
        assert!(found[0].what.contains(why), "{}", found[0].what);
        assert_eq!(found[0].line, Some(14), "the line of [layerzero.alpha]'s eid");
    }
    let watched =
        GOOD.replace("chain_id = 1", "chain_id = 56").replace("[\"attest\"]", "[\"watch\"]");
    assert!(parse(&watched).is_ok());
    let sending = watched.replace("receive_libraries", "send_libraries");
    let found = parse(&sending).unwrap_err().problems;
    assert!(found[0].what.contains("`send_libraries` is refused"), "{}", found[0].what);
}

#[test]
fn a_network_that_is_known_has_its_least_tip() {
    let tip = |text: &str| parse(text).unwrap().networks[&"alpha".parse().unwrap()].fees.min_tip;
    assert_eq!(tip(GOOD), 1);
    let polygon =
        GOOD.replace("chain_id = 1", "chain_id = 137").replace("[\"attest\"]", "[\"watch\"]");
    assert_eq!(tip(&polygon), 25_000_000_000);
}

/// Class (g): what ordinary forks of the tip replace is never signed from.
#[test]
fn r9_g_no_confirmations_are_refused_where_anything_is_signed() {
    let (two, none) = ("{ confirmations = 2 }", "{ confirmations = 0 }");
    let found = problems(two, none);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains("`confirmations = 0`"), "{}", found[0].what);
    assert!(found[0].remedy.contains("finalized"), "{}", found[0].remedy);
    assert_eq!(found[0].line, Some(6), "the line of `finality`");

    let watched = GOOD.replace(two, none).replace("[\"attest\"]", "[\"watch\"]");
    assert!(parse(&watched).is_ok());
    let sending = watched.replace("receive_libraries", "send_libraries");
    assert_eq!(parse(&sending).unwrap_err().problems.len(), 1);
    assert!(parse(&GOOD.replace(two, "{ confirmations = 1 }")).is_ok());
}

#[test]
fn tokens_are_named_once_and_have_decimals_that_a_token_can_have() {
    let with = |tokens: &str| parse(&format!("{GOOD}tokens = [{tokens}]\n"));
    let token = |contract: &str, shared: u8, local: u8| {
        format!(
            "{{ contract = \"{contract}\", shared_decimals = {shared}, local_decimals = {local} }}"
        )
    };
    let one = "0x4444444444444444444444444444444444444444";
    let other = "0x5555555555555555555555555555555555555555";
    let good = with(&[token(one, 6, 18), token(other, 6, 6)].join(", ")).unwrap();
    let here = good.deployments.on(&"alpha".parse().unwrap()).unwrap();
    assert_eq!(here.tokens.len(), 2);
    assert_eq!(here.tokens[0].rate.to_string(), "1000000000000");
    assert!(here.emitters().contains(&here.tokens[1].contract));

    let zero = "0x0000000000000000000000000000000000000000";
    let endpoint = "0x1111111111111111111111111111111111111111";
    let many: Vec<String> = (1..=257).map(|n| token(&format!("0x{n:040x}"), 6, 18)).collect();
    for (tokens, what) in [
        (token(one, 19, 18), "fewer than 19 shared"),
        (token(one, 0, 78), "too far apart"),
        (token(zero, 6, 18), "no token contract"),
        (token(endpoint, 6, 18), "no token contract"),
        ([token(one, 6, 18), token(one, 6, 18)].join(", "), "there twice"),
        (many.join(", "), "more than 256"),
    ] {
        let found = with(&tokens).unwrap_err().problems;
        assert_eq!((found.len(), found[0].line), (1, Some(19)), "{found:?}");
        assert!(found[0].what.contains(what), "{}", found[0].what);
    }
}

const COSMOS: &str = r#"
[networks.hub]
kind = "cosmos"
chain_id = "hub-4"
prefix = "cosmos"
gas = { price = "0.025uatom" }
trust = { height = 7, hash = "1111111111111111111111111111111111111111111111111111111111111111", period_hours = 336 }
signer = "relayer"
upstreams = [{ name = "a", operator = "x", url = "http://localhost:1" }]

[ibc.hub]
roles = ["relay"]
"#;

#[test]
fn a_cosmos_network_is_taken() {
    let config = parse(COSMOS).unwrap();
    let hub = &config.cosmos[&"hub".parse().unwrap()];
    assert_eq!((hub.chain_id.as_str(), hub.prefix.to_string().as_str()), ("hub-4", "cosmos"));
    assert_eq!((hub.gas.multiplier_permille, hub.root.block().height), (1_300, Height(7)));
    assert_eq!(hub.trust.trusting_period(), Duration::from_secs(336 * 3600));
    assert!(config.ibc[&"hub".parse().unwrap()].roles.contains(&Role::Relay));
    assert!(config.networks.is_empty());
}

/// Class (a): what is missing, zero, or of the other kind of network is named with its line.
#[test]
fn r5_a_bad_settings_of_a_cosmos_network_are_refused() {
    let cases = [
        ("prefix = \"cosmos\"", "", 4, "missing field `prefix`"),
        ("prefix = \"cosmos\"", "prefix = \"Cosmos\"", 5, "address prefix"),
        ("chain_id = \"hub-4\"", "chain_id = 4", 4, "not a text"),
        ("0.025uatom", "0.025", 6, "not a gas price"),
        ("0.025uatom\"", "1uatom\", max_price = \"0.5uatom\"", 6, "or more of it"),
        ("0.025uatom\"", "1uatom\", max_price = \"2uosmo\"", 6, "or more of it"),
        ("0.025uatom\"", "1uatom\", dynamic = true", 6, "needs `max_price`"),
        ("prefix =", "key_algorithm = \"rsa\"\nprefix =", 5, "no algorithm"),
        ("prefix =", "granter = \"cosmos1abc\"\nprefix =", 5, "no address"),
        ("prefix =", "fee_granter = \"osmo1\"\nprefix =", 5, "no address"),
        ("price = \"0.025uatom\"", "price = \"1uatom\", multiplier_permille = 999", 6, "999"),
        ("height = 7", "height = 0", 7, "no height"),
        ("1111111111111111111111111111111111111111111111111111111111111111", "00", 7, "block hash"),
        ("period_hours = 336", "period_hours = 0", 7, "trusting period"),
        ("prefix =", "quorum = 1\nprefix =", 5, "belongs to kind `evm`"),
        ("signer = \"relayer\"", "", 11, "a key that pays"),
        ("roles = [\"relay\"]", "roles = [\"attest\"]", 11, "roles of IBC"),
        ("[ibc.hub]", "[ibc.hob]", 11, "names no configured network"),
    ];
    for (from, to, line, what) in cases {
        assert!(COSMOS.contains(from), "{from}");
        let found = parse(&COSMOS.replacen(from, to, 1)).unwrap_err().problems;
        assert!(found[0].what.contains(what), "{to}: {}", found[0].what);
        assert!(found[0].line.is_some_and(|found| found.abs_diff(line) <= 1), "{to}: {found:?}");
    }
    let evm = GOOD.replacen("quorum = 2", "quorum = 2\nprefix = \"cosmos\"", 1);
    let found = parse(&evm).unwrap_err().problems;
    assert!(found[0].what.contains("belongs to kind `cosmos`"), "{}", found[0].what);
}
