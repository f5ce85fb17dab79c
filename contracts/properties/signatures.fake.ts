import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import type { Cell } from "@ton/core";
import { hash, utf8 } from "../../protocol/index.ts";
import { readPayload, type Payload, type PayloadOf, type Signed } from "./bodies.fake.ts";
import { Refusal, refuseUnless, type Moment } from "./rules.fake.ts";

/** A key that signs cells, by node:crypto: nothing here is shared with what it tests. */
export interface Signer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes, over the cell's hash. */
  sign(cell: Cell): Uint8Array;
}

export function signerNamed(name: string): Signer {
  const seed = hash(utf8(name));
  const key = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" });
  const publicKey = new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32));
  return { publicKey, sign: (cell) => new Uint8Array(sign(null, cell.hash(), key)) };
}

export function isSigned(cell: Cell, signature: Uint8Array, publicKey: bigint): boolean {
  return verify(null, cell.hash(), publicKeyOf(publicKey), signature);
}

/** Signed by the gateway, of this kind, for this network and this contract. */
export function genuine<Type extends Exclude<Payload["type"], "other">>(
  { payload: cell, signature }: Signed,
  type: Type,
  gatewayKey: bigint,
  at: Moment,
): PayloadOf<Type> {
  refuseUnless(isSigned(cell, signature, gatewayKey), 403);
  const payload = readPayload(cell);
  // TVM's own code for a cell that does not begin as it should: the tag keeps the four kinds apart.
  if (!isOfType(payload, type)) throw new Refusal(63);
  const { networkId, contract } = payload as Exclude<Payload, { type: "other" }>;
  refuseUnless(networkId === at.networkId, 405);
  refuseUnless(contract === at.self, 404);
  return payload;
}

function isOfType<Type extends Exclude<Payload["type"], "other">>(
  payload: Payload,
  type: Type,
): payload is PayloadOf<Type> {
  return payload.type === type;
}

const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const known = new Map<bigint, KeyObject>();

function publicKeyOf(key: bigint): KeyObject {
  const found = known.get(key);
  if (found !== undefined) return found;
  const raw = Buffer.from(key.toString(16).padStart(64, "0"), "hex");
  const made = createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });
  known.set(key, made);
  return made;
}
