use super::*;
use crate::{
    config::PeerConfig,
    peers::testing::{DVN, Script, context, http, peer},
};
use alloy_primitives::{Address, B256, FixedBytes};
use postrider_layerzero::{
    dvn::Vid,
    request::{SignatureAnswer, SignatureRequest, VERSION},
    wire::Eid,
};
use postrider_message::{DutyKind, MessageId};
use postrider_signing::{IdentityKey, Sealed};
use postrider_store::Gathering;
use tempfile::TempDir;

/// A peer with this identity that answers each item alike.
fn says(key: &IdentityKey, item: Answered) -> Script {
    let key = key.clone();
    Arc::new(move |body: &[u8]| {
        let asked = SignatureRequest::read(body).unwrap();
        let (request, items) =
            (Sealed::Request.digest(body), vec![item.clone(); asked.items.len()]);
        let body = SignatureAnswer { version: VERSION, request, items }.bytes().unwrap();
        http(200, Some(key.seal(Sealed::Answer, &body).unwrap()), &body)
    })
}

async fn asker(answer: Answered) -> (Asker, TempDir) {
    let identity = IdentityKey::random();
    let (context, folder) = context(identity.address()).await;
    let network = Arc::clone(context.network(&"alpha".parse().unwrap()).unwrap());
    let url = peer(says(&identity, answer)).await;
    let config = PeerConfig { url, identity: identity.address() };
    let client = PeerClient::new(config, IdentityKey::random()).unwrap();
    let peer = DvnPeer { name: "bern".parse().unwrap(), signer: Address::repeat_byte(7) };
    (Asker::new(context, network, peer, client), folder)
}

fn wanted() -> Ask {
    let duty = Duty {
        message: MessageId(B256::ZERO),
        kind: DutyKind::Attest,
        part: 0,
        network: "alpha".parse().unwrap(),
        worker: DVN.into(),
        state: DutyState::Waiting(Reason::AwaitingPlan),
        attempts: 0,
        not_before: UnixMillis(0),
    };
    let item = Asked {
        chain_id: 1,
        eid: Eid(30101),
        height: 5,
        block: B256::repeat_byte(1),
        index: 0,
        library: Address::repeat_byte(2),
        confirmations: 1,
        expires: 2_000,
    };
    let dvn = DvnPlace { chain_id: 1, eid: Eid(30101), address: Address::ZERO, vid: Vid(1) };
    let digest = ExecuteDigest(B256::repeat_byte(5));
    Ask { duty, dvn, item, digest, present: 1, needed: 2 }
}

/// What stands in the way after the peer has been asked once.
async fn asked_once(asker: &Asker) -> Option<Trouble> {
    let ask = wanted();
    let terms = Gathering {
        duty: ask.duty.id(),
        confirmations: ask.item.depth(),
        expires: ask.item.expires,
        digest: ask.digest.0,
    };
    asker.context.store.propose(vec![terms], 1_000).await.unwrap();
    assert_eq!(asker.want(ask.clone()), None);
    let (portion, _) = asker.due();
    assert_eq!(portion.len(), 1);
    asker.ask(portion).await;
    let kept = asker.context.store.gathered(&[ask.duty.id()]).await.unwrap();
    assert_eq!(kept[0].1, [], "nothing of it is kept");
    assert!(asker.due().0.is_empty(), "it is not asked again at once");
    asker.trouble(ask.duty.id())
}

async fn alarms(asker: &Asker) -> Vec<AlarmKind> {
    asker.context.store.alarms(10).await.unwrap().into_iter().map(|alarm| alarm.kind).collect()
}

/// Class (m), R5: what the pinned key did not sign is no signature, however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn r5_m_a_signature_of_another_key_is_none() {
    let mut zero_s = [1; 65];
    zero_s[32..64].fill(0);
    for list in [vec![], vec![[0; 65]], vec![[27; 65], [1; 65], zero_s]] {
        let list = list.into_iter().map(FixedBytes).collect();
        let (asker, _folder) = asker(Answered::Signed(list)).await;
        let trouble = asked_once(&asker).await.unwrap();
        assert!(trouble.detail.to_string().contains("bern answers with no signature"));
        assert_eq!(alarms(&asker).await, [AlarmKind::PeerDissents]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_peers_words() {
    let detail = "no such message\n".into();
    let (asker, _folder) = asker(Answered::Refused { why: Refused::NotThere, detail }).await;
    let trouble = asked_once(&asker).await.unwrap();
    assert_eq!(trouble.why, Some(Refused::NotThere));
    assert_eq!(trouble.detail.to_string(), "bern refuses: no such message ");
    assert_eq!(alarms(&asker).await, [], "to refuse is a peer's right");
}

/// R6: what is wanted is bounded, and what does not fit says so.
#[tokio::test(flavor = "multi_thread")]
async fn r6_what_is_wanted_is_bounded() {
    let (asker, _folder) = asker(Answered::Signed(vec![])).await;
    let mut ask = wanted();
    for n in 0..MAX_WANTED as u64 {
        ask.duty.message = MessageId(B256::left_padding_from(&n.to_be_bytes()));
        assert_eq!(asker.want(ask.clone()), None);
    }
    assert_eq!(asker.due().0.len(), MAX_ITEMS);
    ask.duty.message = MessageId(B256::repeat_byte(0xff));
    let full = asker.want(ask.clone()).unwrap();
    assert!(full.detail.to_string().contains("others first"), "{full:?}");
    assert_eq!(asker.trouble(ask.duty.id()), None);
}
