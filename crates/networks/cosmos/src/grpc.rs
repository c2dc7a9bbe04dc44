//! A gRPC query by its path, over `abci_query`.

use crate::{query::AbciQuery, upstream::Upstream};
use postrider_jsonrpc::UpstreamError;
use postrider_message::Height;
use prost::Message;

impl Upstream {
    /// Asks a gRPC query service, such as `/cosmos.bank.v1beta1.Query/Balance`, in the state at
    /// `height`; the newest if none. The answer is this upstream's word.
    ///
    /// # Errors
    /// [`UpstreamError::Refused`] with a positive code when the application refuses.
    pub async fn grpc<Request, Response>(
        &self,
        path: &str,
        request: &Request,
        height: Option<Height>,
    ) -> Result<Response, UpstreamError>
    where
        Request: Message,
        Response: Message + Default,
    {
        let data = request.encode_to_vec();
        let query = AbciQuery { path: path.to_owned(), data, height, prove: false };
        let answer = self.query(&query).await?.accepted()?;
        Response::decode(answer.value.as_slice()).map_err(|error| {
            UpstreamError::Garbage(format!("the answer to {path}: {error}").into())
        })
    }
}
