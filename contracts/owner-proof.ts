import { beginCell, Cell, loadStateInit, storeStateInit, type Slice } from "@ton/core";
import {
  concat,
  Failure,
  fromHex,
  hash,
  ownerProofPayload,
  toHex,
  utf8,
  verifySignature,
  type OwnerProof,
  type RawAddress,
  type Sign,
} from "../protocol/index.ts";

/** What a proof must say to count: this worker, this network, an app we know, not long ago. */
export interface OwnerProofExpectation {
  /** 32 bytes: the worker's identity key, which the wallet's payload commits to. */
  readonly identityKey: Uint8Array;
  readonly networkId: number;
  /** Unix seconds. */
  readonly now: number;
  /** Hosts of the apps' TON Connect manifests; exact. */
  readonly domains: readonly string[];
  /** Default {@link MAX_PROOF_AGE_SECONDS}. */
  readonly maxAgeSeconds?: number;
}

/** Hosts of the apps whose proofs count: `url` of `build/tonconnect-manifest.json`, which a release hosts. */
export const APP_DOMAINS: readonly string[] = ["cocoon-desktop.example"];

/**
 * A worker shows one proof to every gateway it comes to link with, so a proof may be days old. It commits to one identity
 * key, which signs the login beside it: a copy serves nobody else.
 */
export const MAX_PROOF_AGE_SECONDS = 30 * 86_400;

/**
 * The owner that a wallet's ton_proof names for a worker (NETWORK §1): checked without the chain, since the key stands
 * in the state init that the address is the hash of. Only wallets whose code is known can say so.
 *
 * @throws {Failure} `bad_login`.
 */
export function verifyOwnerProof(proof: OwnerProof, expected: OwnerProofExpectation): RawAddress {
  const age = expected.now - proof.timestamp;
  refuseUnless(expected.domains.includes(proof.domain), "a proof for another app");
  refuseUnless(age >= -CLOCK_TOLERANCE_SECONDS, "a proof from the future");
  refuseUnless(age <= (expected.maxAgeSeconds ?? MAX_PROOF_AGE_SECONDS), "a proof that is too old");
  const publicKey = publicKeyOf(proof);
  const payload = ownerProofPayload(expected.identityKey, expected.networkId);
  refuseUnless(verifySignature(proof.signature, proofHash(proof, payload), publicKey), "not signed by the wallet");
  return proof.address;
}

/** What a proof is about, for who makes one. */
export interface OwnerProofFacts {
  readonly identityKey: Uint8Array;
  readonly networkId: number;
  readonly domain: string;
  /** Unix seconds. */
  readonly timestamp: number;
}

/** A proof as a wallet app makes it, with a V5R1 wallet of this key: for the development network and tests. */
export function signOwnerProof(
  wallet: { readonly publicKey: Uint8Array; readonly sign: Sign },
  { identityKey, networkId, domain, timestamp }: OwnerProofFacts,
): OwnerProof {
  const { address, stateInit } = walletOf(wallet.publicKey, networkId);
  const message = proofHash({ address, domain, timestamp }, ownerProofPayload(identityKey, networkId));
  return { address, stateInit, domain, timestamp, signature: wallet.sign(message) };
}

/** Address and state init (a bag of cells) of the V5R1 wallet a key has on a network. */
export function walletOf(
  publicKey: Uint8Array,
  networkId: number,
): { readonly address: RawAddress; readonly stateInit: Uint8Array } {
  const data = beginCell()
    .storeBit(true) // may sign
    .storeUint(0, 32) // seqno
    .storeInt(networkId ^ V5_CLIENT_CONTEXT, 32)
    .storeBuffer(Buffer.from(publicKey))
    .storeBit(false) // no extensions
    .endCell();
  const init = { code: Cell.fromBase64(WALLET_V5R1_CODE), data };
  const cell = beginCell().store(storeStateInit(init)).endCell();
  return { address: `0:${cell.hash().toString("hex")}`, stateInit: new Uint8Array(cell.toBoc()) };
}

const CLOCK_TOLERANCE_SECONDS = 120;

/** The key in a wallet's data cell, or undefined where it may not sign. */
type ReadKey = (data: Slice) => Buffer | undefined;

/** Of v3 and v4: seqno, subwallet, key; v4 has plugins after it. */
const keyAfterTwoNumbers: ReadKey = (data) => data.skip(64).loadBuffer(32);

/** Of v5r1: whether the key may sign, seqno, wallet id, key, extensions. */
const keyThatMaySign: ReadKey = (data) => (data.loadBit() ? data.skip(64).loadBuffer(32) : undefined);

/** By the hash of the wallet's code. */
const KEY_READERS: Readonly<Record<string, ReadKey>> = {
  b61041a58a7980b946e8fb9e198e3c904d24799ffa36574ea4251c41a566f581: keyAfterTwoNumbers, // v3r1
  "84dafa449f98a6987789ba232358072bc0f76dc4524002a5d0918b9a75d2d599": keyAfterTwoNumbers, // v3r2
  feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0: keyAfterTwoNumbers, // v4r2
  "20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f": keyThatMaySign, // v5r1
};

function publicKeyOf(proof: OwnerProof): Uint8Array {
  const { code, data } = stateInitOf(proof);
  const readKey = KEY_READERS[code.hash().toString("hex")];
  if (readKey === undefined) throw refusal("a wallet whose code is not known");
  const key = attempt(() => readKey(data.beginParse()));
  if (key === undefined) throw refusal("a wallet whose key may not sign");
  return new Uint8Array(key);
}

/** Code and data of the wallet, when their cell is what the address is the hash of. */
function stateInitOf({ address, stateInit }: OwnerProof): { readonly code: Cell; readonly data: Cell } {
  const cells = attempt(() => Cell.fromBoc(Buffer.from(stateInit)));
  const [cell] = cells;
  if (cell === undefined || cells.length > 1) throw refusal("not one state init");
  refuseUnless(address === `0:${cell.hash().toString("hex")}`, "another address's state init");
  const { code, data, libraries, special } = attempt(() => loadStateInit(cell.beginParse()));
  // An exotic cell may stand for another one: only plain cells are what their hash says.
  if (!code || !data || libraries || special || [cell, code, data].some(({ isExotic }) => isExotic)) {
    throw refusal("not a wallet's state init");
  }
  return { code, data };
}

/** What a wallet signs (TON Connect, "Address proof signature"); numbers are little-endian but for the workchain. */
function proofHash(proof: Pick<OwnerProof, "address" | "domain" | "timestamp">, payload: Uint8Array): Uint8Array {
  const domain = utf8(proof.domain);
  const numbers = new DataView(new ArrayBuffer(12));
  numbers.setUint32(0, domain.length, true);
  numbers.setBigUint64(4, BigInt(proof.timestamp), true);
  const message = concat(
    utf8("ton-proof-item-v2/"),
    new Uint8Array(4), // workchain 0
    fromHex(proof.address.slice(2)),
    new Uint8Array(numbers.buffer, 0, 4),
    domain,
    new Uint8Array(numbers.buffer, 4, 8),
    utf8(toHex(payload)),
  );
  return hash(Uint8Array.of(0xff, 0xff), utf8("ton-connect"), hash(message));
}

/** What reads a stranger's cells throws in many ways; all mean the same. */
function attempt<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (cause) {
    throw refusal("not a wallet's state init", cause);
  }
}

function refuseUnless(holds: boolean, why: string): void {
  if (!holds) throw refusal(why);
}

function refusal(why: string, cause?: unknown): Failure {
  return new Failure("bad_login", why, cause === undefined ? undefined : { cause });
}

/** Flags of a wallet id of V5R1: a client's context, workchain 0, version 0, subwallet 0. */
const V5_CLIENT_CONTEXT = -0x8000_0000;

/** V5R1 as ton-blockchain/wallet-contract-v5 compiles to and @ton/ton 16.3.0 (MIT) carries it: a bag of cells. */
const WALLET_V5R1_CODE =
  "te6cckECFAEAAoEAART/APSkE/S88sgLAQIBIAINAgFIAwQC3NAg10nBIJFbj2Mg1wsfIIIQZXh0br0hghBzaW50vbCSXwPgghBleHRuuo60gC" +
  "DXIQHQdNch+kAw+kT4KPpEMFi9kVvg7UTQgQFB1yH0BYMH9A5voTGRMOGAQNchcH/bPOAxINdJgQKAuZEw4HDiEA8CASAFDAIBIAYJAgFuBwgA" +
  "Ga3OdqJoQCDrkOuF/8AAGa8d9qJoQBDrkOuFj8ACAUgKCwAXsyX7UTQcdch1wsfgABGyYvtRNDXCgCAAGb5fD2omhAgKDrkPoCwBAvIOAR4g1w" +
  "sfghBzaWduuvLgin8PAeaO8O2i7fshgwjXIgKDCNcjIIAg1yHTH9Mf0x/tRNDSANMfINMf0//XCgAK+QFAzPkQmiiUXwrbMeHywIffArNQB7Dy" +
  "0IRRJbry4IVQNrry4Ib4I7vy0IgikvgA3gGkf8jKAMsfAc8Wye1UIJL4D95w2zzYEAP27aLt+wL0BCFukmwhjkwCIdc5MHCUIccAs44tAdcoIH" +
  "YeQ2wg10nACPLgkyDXSsAC8uCTINcdBscSwgBSMLDy0InXTNc5MAGk6GwShAe78uCT10rAAPLgk+1V4tIAAcAAkVvg69csCBQgkXCWAdcsCBwS" +
  "4lIQseMPINdKERITAJYB+kAB+kT4KPpEMFi68uCR7UTQgQFB1xj0BQSdf8jKAEAEgwf0U/Lgi44UA4MH9Fvy4Iwi1woAIW4Bs7Dy0JDiyFADzx" +
  "YS9ADJ7VQAcjDXLAgkji0h8uCS0gDtRNDSAFETuvLQj1RQMJExnAGBAUDXIdcKAPLgjuLIygBYzxbJ7VST8sCN4gAQk1vbMeHXTNC01sNe";
