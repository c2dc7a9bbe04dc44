//! What a relayer does beside bringing packets: clients are kept alive, and handshakes ended.

use super::Relayer;
use crate::{
    cosmos::CosmosNetwork,
    ibc::{
        attend::{Attended, Attending},
        path::PathError,
        submit::Outgoing,
        tend::Tending,
    },
};
use postrider_ibc::messages::Signer;
use postrider_store::StoreError;
use std::sync::Arc;

impl Relayer {
    fn others(&self) -> Vec<Arc<CosmosNetwork>> {
        let all = self.context.cosmos.values();
        all.filter(|o| o.name != self.network.name && o.is_known()).cloned().collect()
    }

    /// Ends the handshakes that others began, where the settings say so.
    pub(super) async fn attend(&mut self) -> Result<(), StoreError> {
        let settings = self.context.config.ibc.get(&self.network.name);
        if !settings.is_some_and(|ibc| ibc.handshakes) {
            return Ok(());
        }
        for other in self.others() {
            let mut attended = self.attended.remove(&other.name).unwrap_or_default();
            let looked = self.attend_to(&other, &mut attended).await;
            self.attended.insert(other.name.clone(), attended);
            match looked {
                Ok(outgoing) => {
                    self.submitter.send(outgoing).await?;
                }
                Err(error) => {
                    let (network, of) = (&self.network.name, &other.name);
                    tracing::warn!(%network, %of, %error, "handshakes were not looked at");
                }
            }
        }
        Ok(())
    }

    async fn attend_to(
        &mut self,
        other: &CosmosNetwork,
        attended: &mut Attended,
    ) -> Result<Vec<Outgoing>, PathError> {
        let (here, there) = (self.network.known_state().await?, other.known_state().await?);
        let address = self.submitter.address().to_owned();
        let attending = Attending {
            context: &self.context,
            network: &self.network,
            here: &here,
            signer: Signer(&address),
        };
        attending.look((other, &there), attended, &mut self.clients).await
    }

    /// Keeps the clients of all other networks from expiring.
    pub(super) async fn tend(&mut self) -> Result<(), StoreError> {
        let here = match self.network.known_state().await {
            Ok(here) => here,
            Err(error) => {
                tracing::warn!(network = %self.network.name, %error, "clients were not tended");
                return Ok(());
            }
        };
        for other in self.others() {
            let mut tended = self.tended.remove(&other.name).unwrap_or_default();
            let address = self.submitter.address().to_owned();
            let tending = Tending {
                context: &self.context,
                network: &self.network,
                here: &here,
                signer: Signer(&address),
            };
            let outgoing = tending.look(&other, &mut tended, &mut self.clients).await;
            self.tended.insert(other.name.clone(), tended);
            self.submitter.send(outgoing).await?;
        }
        Ok(())
    }
}
