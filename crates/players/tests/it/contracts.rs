//! Wallets that are contracts (EIP-1271), on a real chain.

use alloy::primitives::Bytes;
use laurel_chain::{ChainError, LaneSigner};
use laurel_devnet::testing::CONTRACT_WALLET_SIGNATURE;
use laurel_events::WalletKind;
use laurel_players::{LinkError, WalletProof, ask_contract, wallet_of, wallet_proof};

use crate::world::{CHAIN, Chain, World, key, no_node};

const ACCEPTED: Bytes = Bytes::from_static(&CONTRACT_WALLET_SIGNATURE);

#[tokio::test]
async fn a_contract_that_accepts_the_signature_is_linked_with_its_proof() {
    let (world, chain) = (World::new().await, Chain::new().await);
    let player = world.player("anna").await;
    let challenge = world.challenge(player, chain.wallet).await;
    let proven = world.prove(&chain.node, player, &challenge.message, ACCEPTED).await.unwrap();
    world.link(player, &proven).await.unwrap();

    let mut conn = world.database.pool().acquire().await.unwrap();
    let wallet = wallet_of(&mut conn, CHAIN, player).await.unwrap().unwrap();
    assert_eq!((wallet.address, wallet.kind), (chain.wallet, WalletKind::Contract));
    assert!(wallet_of(&mut conn, 1, player).await.unwrap().is_none(), "for its chain only");
    let proof = wallet_proof(&mut conn, CHAIN, player).await.unwrap().unwrap();
    let WalletProof { address, hash, signature, version } = &proof;
    assert_eq!((address, signature, *version), (&chain.wallet, &ACCEPTED, 1));
    assert!(ask_contract(&chain.node, CHAIN, *address, *hash, signature).await.unwrap());
    chain.toggle().await;
    assert!(!ask_contract(&chain.node, CHAIN, *address, *hash, signature).await.unwrap());
}

#[tokio::test]
async fn a_contract_that_refuses_and_an_account_without_code_are_not_linked() {
    let (world, chain) = (World::new().await, Chain::new().await);
    let player = world.player("anna").await;
    let challenge = world.challenge(player, chain.wallet).await;
    // The deployer owns the contract, but the contract decides.
    let owner = key(0).sign_message(challenge.message.as_bytes()).unwrap();
    for signature in [owner, Bytes::new(), Bytes::from_static(&[0x42])] {
        let refused = world.prove(&chain.node, player, &challenge.message, signature).await;
        assert!(matches!(refused, Err(LinkError::WrongSignature { .. })), "{refused:?}");
    }
    chain.toggle().await;
    let refused = world.prove(&chain.node, player, &challenge.message, ACCEPTED).await;
    assert!(matches!(refused, Err(LinkError::WrongSignature { .. })), "{refused:?}");

    let nobody = world.challenge(player, key(5).address()).await;
    let refused = world.prove(&chain.node, player, &nobody.message, ACCEPTED).await;
    assert!(matches!(refused, Err(LinkError::WrongSignature { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_node_of_another_chain_or_none_says_nothing_about_a_contract() {
    let (world, chain) = (World::new().await, Chain::new().await);
    let player = world.player("anna").await;
    let challenge = world.challenge(player, chain.wallet).await;
    let silent = world.prove(&no_node(), player, &challenge.message, ACCEPTED).await;
    assert!(matches!(silent, Err(LinkError::Chain(_))), "{silent:?}");
    let hash = alloy::primitives::B256::ZERO;
    let other = ask_contract(&chain.node, CHAIN + 1, chain.wallet, hash, &ACCEPTED).await;
    assert!(matches!(other, Err(ChainError::Untrue(_))), "{other:?}");
}

#[tokio::test]
async fn a_new_link_ends_the_old_proof() {
    let (world, chain) = (World::new().await, Chain::new().await);
    let player = world.player("anna").await;
    let challenge = world.challenge(player, chain.wallet).await;
    let proven = world.prove(&chain.node, player, &challenge.message, ACCEPTED).await.unwrap();
    world.link(player, &proven).await.unwrap();
    world.linked("anna", &key(1)).await;
    let mut conn = world.database.pool().acquire().await.unwrap();
    assert_eq!(wallet_proof(&mut conn, CHAIN, player).await.unwrap(), None);
    assert_eq!(wallet_of(&mut conn, CHAIN, player).await.unwrap().unwrap().version, 2);
}
