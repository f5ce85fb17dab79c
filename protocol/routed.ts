import { Failure } from "./failure.ts";
import { readU64, writeU64 } from "./bytes.ts";

/** A binary message on a link: `u64 routeId ‖ bytes`, the bytes being one sealed frame, one hello or one enc (NETWORK §1). */
export interface Routed {
  readonly routeId: number;
  readonly bytes: Uint8Array;
}

const ROUTE_BYTES = 8;

export function encodeRouted(routeId: number, bytes: Uint8Array): Uint8Array {
  const message = new Uint8Array(ROUTE_BYTES + bytes.length);
  writeU64(message, 0, routeId);
  message.set(bytes, ROUTE_BYTES);
  return message;
}

/** A view, not a copy. @throws {Failure} `bad_frame`. */
export function parseRouted(message: Uint8Array): Routed {
  if (message.length < ROUTE_BYTES) throw new Failure("bad_frame", "no route");
  return { routeId: readU64(message, 0, "bad_frame"), bytes: message.subarray(ROUTE_BYTES) };
}
