//! The genesis file of a chain that has not started yet.

use serde_json::{Value, json};

use crate::cosmos::account::CosmosAccount;

/// Puts accounts and what they have into a genesis that `simd init` wrote. The supply is left
/// empty: the chain counts it at its start.
pub(crate) fn add_accounts(
    genesis: &mut Value,
    accounts: Vec<(CosmosAccount, Vec<(String, u128)>)>,
) -> Result<(), String> {
    for (account, mut coins) in accounts {
        // The bank refuses coins that are out of order.
        coins.sort();
        let coins: Vec<Value> = coins
            .into_iter()
            .map(|(denom, amount)| json!({"denom": denom, "amount": amount.to_string()}))
            .collect();
        let all = list(genesis, "/app_state/auth/accounts")?;
        let number = all.len().to_string();
        all.push(json!({
            "@type": "/cosmos.auth.v1beta1.BaseAccount",
            "address": account.address(),
            "pub_key": null,
            "account_number": number,
            "sequence": "0",
        }));
        list(genesis, "/app_state/bank/balances")?
            .push(json!({"address": account.address(), "coins": coins}));
    }
    Ok(())
}

fn list<'a>(genesis: &'a mut Value, pointer: &str) -> Result<&'a mut Vec<Value>, String> {
    genesis
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .ok_or_else(|| format!("the genesis has no list {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_numbered_and_their_coins_in_order() {
        let mut genesis =
            json!({"app_state": {"auth": {"accounts": []}, "bank": {"balances": []}}});
        let (one, two) = (CosmosAccount::named("one"), CosmosAccount::named("two"));
        let coins = vec![("token".to_owned(), 7), ("stake".to_owned(), u128::MAX)];
        add_accounts(&mut genesis, vec![(one, coins), (two.clone(), vec![])]).unwrap();
        let state = &genesis["app_state"];
        assert_eq!(state["auth"]["accounts"][1]["account_number"], "1");
        assert_eq!(state["auth"]["accounts"][1]["address"], two.address());
        assert_eq!(state["bank"]["balances"][0]["coins"][0]["denom"], "stake");
        assert_eq!(state["bank"]["balances"][0]["coins"][0]["amount"], u128::MAX.to_string());
    }

    #[test]
    fn a_genesis_without_the_lists_is_an_error() {
        let one = CosmosAccount::named("one");
        let result = add_accounts(&mut json!({}), vec![(one, vec![])]);
        assert!(result.unwrap_err().contains("/app_state/auth/accounts"));
    }
}
