//! `postrider pause`, `resume`, `hold`, `release` and `retry`: what an operator decides, recorded in
//! the store, where a running node finds it at its next pass.

use super::{ConfigFile, find_lane, find_message};
use crate::{failure::Failure, output::Output};
use clap::Args;
use postrider_message::{Detail, UnixMillis};
use postrider_store::{Retried, Store};
use serde_json::json;

/// How many entries of a lane's history are shown.
const HISTORY: u32 = 10;

/// Stops planning and signing for a lane, until `resume`.
///
/// A running node obeys at its next pass. Messages go on being followed and proven, and so are
/// transactions on their way.
#[derive(Debug, Args)]
pub struct Pause {
    #[command(flatten)]
    lane: LaneArgs,
}

/// Lets a paused lane go on.
#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    lane: LaneArgs,
}

#[derive(Debug, Args)]
struct LaneArgs {
    /// The lane: any part of how `postrider lanes` shows it that fits one only, its two networks as
    /// in `ethereum->arbitrum`, or its id.
    lane: String,
    #[command(flatten)]
    config: ConfigFile,
}

impl Pause {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the text names no lane, or several.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        self.lane.steer(true, output).await
    }
}

impl Resume {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the text names no lane, or several.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        self.lane.steer(false, output).await
    }
}

impl LaneArgs {
    async fn steer(self, pause: bool, output: &Output) -> Result<(), Failure> {
        let store = self.config.steering().await?;
        let lane = find_lane(&store, &self.lane).await?;
        let (id, at) = (lane.id(), UnixMillis::now());
        let changed =
            if pause { store.pause_lane(id, at).await? } else { store.resume_lane(id, at).await? };
        output.line(&match (pause, changed) {
            (true, true) => format!("paused: {lane}"),
            (true, false) => format!("paused already: {lane}"),
            (false, true) => format!("goes on: {lane}"),
            (false, false) => format!("not paused: {lane}"),
        });
        let history = store.lane_history(id, HISTORY).await?;
        output.document(&json!({
            "id": id, "lane": lane.to_string(), "paused": pause, "changed": changed,
            "history": history,
        }));
        Ok(())
    }
}

/// Holds a message back, until `release`.
///
/// A running node obeys at its next pass. A transaction on its way is followed on, and others may
/// deliver the message all the same.
#[derive(Debug, Args)]
pub struct Hold {
    #[command(flatten)]
    message: MessageArgs,
    /// Why, for whoever looks at the message.
    #[arg(long)]
    because: String,
}

/// Lets a held message go on.
#[derive(Debug, Args)]
pub struct Release {
    #[command(flatten)]
    message: MessageArgs,
}

/// Plans a message's duties again at once, whatever their schedule, and ends an operator's hold.
#[derive(Debug, Args)]
pub struct Retry {
    #[command(flatten)]
    message: MessageArgs,
}

#[derive(Debug, Args)]
struct MessageArgs {
    /// The first digits of the message's id, its guid, or the transaction that sent it.
    message: String,
    #[command(flatten)]
    config: ConfigFile,
}

impl Hold {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the text names no message, or several, or one that has ended.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let because = Detail::from(self.because.trim());
        if because.to_string().is_empty() {
            return Err(Failure::Other("--because is empty; say why the message is held".into()));
        }
        let store = self.message.config.steering().await?;
        let id = find_message(&store, &self.message.message).await?;
        let changed = store.hold_message(id, because.clone(), UnixMillis::now()).await?;
        let already = if changed { "" } else { " already" };
        output.line(&format!("held{already}: {id}"));
        output.document(&json!({
            "id": id, "held": true, "changed": changed, "because": because,
        }));
        Ok(())
    }
}

impl Release {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the text names no message, or several.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let store = self.message.config.steering().await?;
        let id = find_message(&store, &self.message.message).await?;
        let changed = store.release_message(id, UnixMillis::now()).await?;
        let said = if changed { "goes on" } else { "not held by an operator" };
        output.line(&format!("{said}: {id}"));
        output.document(&json!({ "id": id, "held": false, "changed": changed }));
        Ok(())
    }
}

impl Retry {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the text names no message, or several, or one that has ended.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let store = self.message.config.steering().await?;
        let id = find_message(&store, &self.message.message).await?;
        let retried = store.retry_message(id, UnixMillis::now()).await?;
        for line in told(&retried) {
            output.line(&line);
        }
        let left: Vec<_> = retried
            .left
            .iter()
            .map(|duty| {
                let reason = duty.state.reason();
                json!({
                    "duty": duty.kind, "state": duty.state.as_str(),
                    "reason": reason.map(ToString::to_string),
                    "reason_code": reason.map(|r| r.code()),
                })
            })
            .collect();
        output.document(&json!({
            "id": id, "duties": retried.duties, "released": retried.released,
            "on_their_way": retried.on_their_way, "left": left,
        }));
        Ok(())
    }
}

fn told(retried: &Retried) -> Vec<String> {
    let mut lines = Vec::new();
    if retried.released {
        lines.push("an operator's hold ended".to_owned());
    }
    if retried.duties > 0 {
        lines.push(format!("{} planned again at once", counted(retried.duties)));
    }
    if retried.on_their_way > 0 {
        let n = counted(retried.on_their_way);
        lines.push(format!("{n} left alone: a transaction is on its way"));
    }
    for duty in &retried.left {
        let reason = duty.state.reason().map(ToString::to_string).unwrap_or_default();
        lines.push(format!("{} stays {}: {reason}", duty.kind, duty.state.as_str()));
    }
    if lines.is_empty() {
        lines.push("nothing of this node's is left to do for it".to_owned());
    }
    lines
}

fn counted(duties: usize) -> String {
    format!("{duties} {}", if duties == 1 { "duty" } else { "duties" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_retry_did_is_said() {
        let nothing = told(&Retried::default());
        assert_eq!(nothing, ["nothing of this node's is left to do for it"]);
        let some = Retried { duties: 2, released: true, on_their_way: 1, left: vec![] };
        assert_eq!(
            told(&some),
            [
                "an operator's hold ended",
                "2 duties planned again at once",
                "1 duty left alone: a transaction is on its way"
            ]
        );
    }
}
