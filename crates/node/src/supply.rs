//! Credits of tokens whose debit may have been before this node's view of the source begins: the
//! source is asked how many messages it ever sent on their lane.

use crate::context::{Context, Network};
use postrider_layerzero::tokens::{ask_sent, told_sent};
use postrider_message::UnixMillis;
use postrider_store::StoreError;

/// The most credits asked about at once.
const MAX_ASKED: u32 = 100;

/// Asks the source `network` about such credits. Without a quorum they wait for the next time.
pub(crate) async fn ask(context: &Context, network: &Network) -> Result<(), StoreError> {
    let Some(here) = context.deployments.on(&network.name) else { return Ok(()) };
    let unasked = context.store.unasked_credits(&network.name, MAX_ASKED).await?;
    let (credits, calls): (Vec<_>, Vec<_>) = unasked
        .into_iter()
        .filter_map(|credit| {
            let call = ask_sent(here.endpoint, &credit.lane)?;
            Some((credit, call))
        })
        .unzip();
    if calls.is_empty() {
        return Ok(());
    }
    // Newer than what is proven: what the source sent meanwhile only raises the number.
    let told = match network.upstreams.anchor_latest().await {
        Ok(block) => network.upstreams.read(&block, &calls).await,
        Err(short) => Err(short),
    };
    let told = match told {
        Ok(told) => told,
        Err(short) => {
            tracing::warn!(network = %network.name, %short, "credits wait to be compared");
            return Ok(());
        }
    };
    let answers = credits.into_iter().zip(told.value());
    let answers: Vec<_> = answers
        .filter_map(|(credit, outcome)| Some((credit, told_sent(outcome.as_ref()?)?)))
        .collect();
    if answers.is_empty() {
        return Ok(());
    }
    for alarm in context.store.answer_credits(answers, UnixMillis::now()).await? {
        Context::sound(&alarm);
    }
    Ok(())
}
