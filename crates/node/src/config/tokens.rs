//! Token contracts, as the file names them.

use super::{
    file::{LayerZeroTable, TokenTable},
    problem::Problems,
};
use postrider_layerzero::Token;
use postrider_message::NetworkName;

/// The most token contracts on one network.
const MAX_TOKENS: usize = 256;

/// The token contracts whose supply is watched.
pub(super) fn tokens(
    name: &NetworkName,
    table: &LayerZeroTable,
    problems: &mut Problems<'_>,
) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for entry in table.tokens.iter().take(MAX_TOKENS + 1) {
        let TokenTable { contract, shared_decimals, local_decimals } = *entry.get_ref();
        let mut refuse = |what: &str, remedy: &str| {
            let what = format!("[layerzero.{name}]: token {contract:#x}: {what}");
            problems.add(Some(entry.span()), &what, remedy);
        };
        if contract.is_zero() || contract == table.endpoint {
            refuse("that is no token contract", "give the address of the OFT or its adapter");
        }
        if tokens.iter().any(|token| token.contract == contract) {
            refuse("it is there twice", "name each contract once");
        }
        if tokens.len() == MAX_TOKENS {
            let what = format!("there are more than {MAX_TOKENS}");
            refuse(&what, "watch the others with another node");
            break;
        }
        match Token::new(contract, shared_decimals, local_decimals) {
            Ok(token) => tokens.push(token),
            Err(bad) => refuse(
                &bad.to_string(),
                "write what `sharedDecimals()` and the token's `decimals()` say",
            ),
        }
    }
    tokens
}
