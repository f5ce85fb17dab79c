import {
  Failure,
  linkMessage,
  PROTOCOL_VERSIONS,
  type ClientToGateway,
  type MessageOf,
  type WorkerToGateway,
} from "../protocol/index.ts";
import { importPublicKey, isSignedBy, type PublicKey } from "./signatures.ts";

export type WorkerLogin = MessageOf<WorkerToGateway, "login">;
export type ClientLogin = MessageOf<ClientToGateway, "login">;
export type Login = WorkerLogin | ClientLogin;

export interface LoginExpectation {
  readonly role: "worker" | "client";
  readonly gatewayKey: Uint8Array;
  /** The nonce of this link's challenge; undefined once it was answered. */
  readonly nonce: Uint8Array | undefined;
  /** Unix seconds. */
  readonly now: number;
}

/** How far a peer's clock may be off (ACN/1 §3.3). */
export const CLOCK_TOLERANCE_SECONDS = 120;

/**
 * The key a peer has shown to hold. The nonce is the gateway's own and the label keeps every other signature of the key
 * from being one (ACN/1 §3.1).
 *
 * @throws {Failure} in the order of ACN/1 §3.6: `bad_login`, `clock_skew`, `replay`, `bad_login`.
 */
export function checkLogin(login: Login, expected: LoginExpectation): PublicKey {
  const { min, max } = PROTOCOL_VERSIONS;
  if (login.protocol < min || login.protocol > max) throw new Failure("bad_login", "another protocol version");
  const key = importPublicKey(login.key);
  if (key === undefined) throw new Failure("bad_login", "not a key");
  if (Math.abs(login.time - expected.now) > CLOCK_TOLERANCE_SECONDS) throw new Failure("clock_skew");
  if (expected.nonce === undefined) throw new Failure("replay");
  const { role, gatewayKey, nonce } = expected;
  const message = linkMessage({ role, gatewayKey, nonce, time: login.time, address: login.address });
  if (!isSignedBy(key, message, login.signature)) throw new Failure("bad_login", "bad signature");
  return key;
}
