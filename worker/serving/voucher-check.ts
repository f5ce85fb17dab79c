import {
  Failure,
  parsePayload,
  payloadHash,
  type FailureCode,
  type Nanoton,
  type PayoutVoucher,
  type SignedPayload,
  type SignedVoucher,
  type Verify,
} from "../../protocol/index.ts";

/** What a voucher must be bound to before it is worth anything here. */
export interface VoucherTerms {
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  readonly networkId: number;
  readonly verify: Verify;
}

/** More coins than TON has: whoever promises them promises nothing. Below it, every total fits 64 bits. */
export const MAX_TOTAL: Nanoton = 2n ** 63n - 1n;

/** @throws {Failure} `code` unless the gateway signed this payout on this network. Its channel is not looked at. */
export function checkedPayout(
  { boc, signature }: SignedVoucher,
  { gatewayKey, networkId, verify }: VoucherTerms,
  code: FailureCode,
): PayoutVoucher {
  const payload = parsed(boc, code);
  if (payload.type !== "payout") throw new Failure(code, "not a payout voucher");
  if (payload.networkId !== networkId) throw new Failure(code, "a voucher of another TON network");
  if (payload.total > MAX_TOTAL) throw new Failure(code, "a voucher for more coins than there are");
  if (!verify(signature, payloadHash(payload), gatewayKey)) throw new Failure(code, "not signed by the gateway");
  return payload;
}

function parsed(boc: Uint8Array, code: FailureCode): SignedPayload {
  try {
    return parsePayload(boc);
  } catch (cause) {
    throw new Failure(code, "not a signed payload", { cause });
  }
}
