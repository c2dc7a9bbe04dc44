//! `postrider ibc escrows`.

use super::ConfigFile;
use crate::{
    failure::Failure,
    output::{Output, table},
};
use clap::Args;
use postrider_api::view::EscrowReports;
use postrider_message::UnixMillis;
use postrider_store::Store;

/// Shows of tokens that were sent over IBC how much their source keeps in escrow for a channel, and how many
/// vouchers there are for it at the destination, as the running node read it last.
#[derive(Debug, Args)]
pub struct Escrows {
    /// At most this many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    file: ConfigFile,
}

impl Escrows {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] if the store cannot be read.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let store = self.file.store().await?;
        let list = EscrowReports::new(&store.escrows(self.limit).await?, UnixMillis::now());
        let rows: Vec<Vec<String>> = list
            .escrows
            .iter()
            .map(|row| {
                let state = match (row.breached, row.alarm_seconds, row.even) {
                    (true, ..) => "BREACHED",
                    (_, Some(_), _) => "was breached",
                    (.., true) => "even",
                    _ => "covered",
                };
                let heights = format!("{}/{}", row.source_height, row.destination_height);
                let age = format!("{:.0} s", row.age_seconds);
                let (escrow, vouchers) = (row.escrow.clone(), row.vouchers.clone());
                let (lane, denom) = (row.lane.clone(), row.denom.clone());
                vec![state.to_owned(), escrow, vouchers, heights, age, lane, denom]
            })
            .collect();
        if rows.is_empty() {
            output.line("nothing was looked at yet: `postrider start` does so every few seconds");
        } else {
            let head = ["state", "escrow", "vouchers", "heights", "age", "lane", "denom"];
            for line in table(&head, &rows) {
                output.line(&line);
            }
        }
        if list.more > 0 {
            output.line(&format!("and {} more; see them with --limit", list.more));
        }
        output.document(&list);
        Ok(())
    }
}
