import { signOwnerProof } from "../../../contracts/owner-proof.ts";
import { keyPairFromSeed, ownerProofPayload, toHex } from "../../../protocol/index.ts";
import type { WalletAnswer } from "./answer.ts";

export interface AnswerFacts {
  readonly identityKey: Uint8Array;
  readonly networkId?: number;
  readonly domain?: string;
  /** Unix seconds. */
  readonly timestamp: number;
}

/** What an honest wallet answers, with the key of this number. */
export function fakeAnswer(
  { identityKey, networkId = -239, domain = "app.example", timestamp }: AnswerFacts,
  wallet = 1,
): WalletAnswer {
  const key = keyPairFromSeed(new Uint8Array(32).fill(wallet));
  const { address, stateInit, signature } = signOwnerProof(key, { identityKey, networkId, domain, timestamp });
  const payload = toHex(ownerProofPayload(identityKey, networkId));
  const proof = { domain, timestamp, payload, signature };
  return { address, networkId, stateInit, appName: "tonkeeper", maxMessages: 255, proof };
}
