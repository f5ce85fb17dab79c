import { verifyOwnerProof } from "../../contracts/owner-proof.ts";
import { Failure, ownerProofPayload, toHex, type OwnerProof, type RawAddress } from "../../protocol/index.ts";
import type { WalletAnswer } from "./ton-connect/answer.ts";

export interface AnswerExpectation {
  /** 32 bytes. */
  readonly identityKey: Uint8Array;
  readonly networkId: number;
  /** The host of our manifest's `url`. */
  readonly domain: string;
  /** Unix seconds. */
  readonly now: number;
  /** The only account that will do; undefined: any. */
  readonly address: RawAddress | undefined;
}

/** A proof is made while the link is open, and cannot be kept from an earlier connection. */
const MAX_AGE_SECONDS = 600;

/**
 * The proof by which gateways learn that this worker earns for the wallet that answered: checked here as they will check
 * it, before the wallet is taken for the owner's.
 *
 * @throws {Failure} `wallet_network`, `wallet_address`, `wallet_proof`.
 */
export function checkWalletAnswer(answer: WalletAnswer, expected: AnswerExpectation): OwnerProof {
  const { address, networkId, stateInit, proof } = answer;
  const { identityKey, domain, now } = expected;
  if (networkId !== expected.networkId)
    throw new Failure("wallet_network", `the wallet is on network ${networkId}, not ${expected.networkId}`);
  if (expected.address !== undefined && address !== expected.address)
    throw new Failure("wallet_address", "another account answered than the one that was asked for");
  if (proof === undefined) throw new Failure("wallet_proof", "the wallet sent no proof of its address");
  if (proof.payload !== toHex(ownerProofPayload(identityKey, networkId)))
    throw new Failure("wallet_proof", "a proof for another worker");
  const { timestamp, signature } = proof;
  const ownerProof = { address, stateInit, domain: proof.domain, timestamp, signature };
  try {
    verifyOwnerProof(ownerProof, { identityKey, networkId, now, domains: [domain], maxAgeSeconds: MAX_AGE_SECONDS });
  } catch (cause) {
    throw new Failure("wallet_proof", cause instanceof Error ? cause.message : "the proof does not hold", { cause });
  }
  return ownerProof;
}
