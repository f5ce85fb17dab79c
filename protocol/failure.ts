/** Who has to change something before the same request can work. */
export type Blame = "client" | "worker" | "gateway" | "network";

interface FailureRule {
  readonly blame: Blame;
  /** Whether the same request may be sent again, unchanged, and can then work. */
  readonly retry: boolean;
}

/**
 * Every code that crosses a role's border (ACN/1 §3.5). A code is one string; no detail travels beside it. Codes of the
 * evidence group never travel: a client that refuses evidence simply does not send.
 */
export const FAILURES = {
  // Wire
  bad_login: { blame: "client", retry: false },
  bad_hello: { blame: "client", retry: false },
  bad_hello_sig: { blame: "worker", retry: true },
  unknown_worker: { blame: "client", retry: false },
  evidence_stale: { blame: "client", retry: true },
  model_unavailable: { blame: "worker", retry: true },
  clock_skew: { blame: "client", retry: false },
  replay: { blame: "client", retry: false },
  session_expired: { blame: "client", retry: true },
  session_unknown: { blame: "client", retry: true },
  decrypt_failed: { blame: "client", retry: false },
  bad_frame: { blame: "client", retry: false },
  bad_padding: { blame: "client", retry: false },
  bad_message: { blame: "client", retry: false },
  frame_limit: { blame: "client", retry: false },
  data_after_fin: { blame: "client", retry: false },
  truncated: { blame: "network", retry: true },
  unsupported_field: { blame: "client", retry: false },
  context_overflow: { blame: "client", retry: false },
  worker_crashed: { blame: "worker", retry: true },
  client_too_slow: { blame: "client", retry: false },
  cancelled: { blame: "client", retry: true },
  no_worker: { blame: "network", retry: true },
  busy: { blame: "network", retry: true },
  rate_limited: { blame: "client", retry: true },
  internal: { blame: "gateway", retry: true },
  // Money
  reservation_unknown: { blame: "client", retry: true },
  reservation_exceeded: { blame: "client", retry: false },
  reservation_mismatch: { blame: "client", retry: false },
  payment_required: { blame: "client", retry: false },
  trial_exhausted: { blame: "client", retry: false },
  price_too_low: { blame: "client", retry: false },
  tier_too_low: { blame: "client", retry: false },
  bad_offer: { blame: "worker", retry: true },
  bad_receipt: { blame: "worker", retry: true },
  // Evidence (local to the client)
  evidence_format: { blame: "worker", retry: true },
  evidence_binding: { blame: "worker", retry: true },
  evidence_expired: { blame: "worker", retry: true },
  evidence_sig: { blame: "worker", retry: true },
  beacon_stale: { blame: "worker", retry: true },
  release_unchecked: { blame: "client", retry: false },
  sigstore_bundle: { blame: "worker", retry: true },
  sigstore_signer: { blame: "worker", retry: true },
  sigstore_subject: { blame: "worker", retry: true },
  policy_denied: { blame: "client", retry: false },
  policy_format: { blame: "client", retry: false },
  tpm_proof: { blame: "worker", retry: true },
  // The chain (local to who reads it)
  chain_unreachable: { blame: "network", retry: true },
  chain_rate_limited: { blame: "client", retry: true },
  chain_malformed: { blame: "network", retry: true },
  chain_lagging: { blame: "network", retry: true },
  chain_disagrees: { blame: "network", retry: true },
  chain_other_network: { blame: "client", retry: false },
  chain_refused: { blame: "client", retry: false },
  // A payer's channel (local to the client)
  spending_cap: { blame: "client", retry: false },
  deposit_too_small: { blame: "client", retry: false },
  channel_missing: { blame: "client", retry: false },
  channel_locked: { blame: "client", retry: false },
  channel_closing: { blame: "client", retry: false },
  channel_pending: { blame: "client", retry: true },
  gateway_contract: { blame: "gateway", retry: false },
  gateway_unlisted: { blame: "gateway", retry: false },
  gateway_terms: { blame: "gateway", retry: false },
  gateway_stake: { blame: "gateway", retry: false },
  gateway_closing: { blame: "gateway", retry: false },
  // A wallet (local to the worker or client that asks it)
  wallet_missing: { blame: "client", retry: false },
  wallet_declined: { blame: "client", retry: true },
  wallet_silent: { blame: "client", retry: true },
  wallet_unreachable: { blame: "network", retry: true },
  wallet_refused: { blame: "client", retry: false },
  wallet_manifest: { blame: "network", retry: true },
  wallet_network: { blame: "client", retry: false },
  wallet_address: { blame: "client", retry: false },
  wallet_proof: { blame: "client", retry: true },
  wallet_session: { blame: "client", retry: false },
  wallet_busy: { blame: "client", retry: true },
  wallet_balance: { blame: "client", retry: true },
  nothing_to_withdraw: { blame: "client", retry: false },
  // Promises to an owner (local to the worker that holds them)
  promise_fell: { blame: "gateway", retry: false },
  voucher_format: { blame: "client", retry: false },
  voucher_mismatch: { blame: "client", retry: false },
  voucher_signature: { blame: "client", retry: false },
  voucher_channel: { blame: "client", retry: false },
  // The machine a role runs on: shown to the person at it, never sent
  model_invalid: { blame: "worker", retry: false },
  out_of_memory: { blame: "worker", retry: false },
  port_taken: { blame: "client", retry: false },
  disk_full: { blame: "gateway", retry: true },
  storage_failed: { blame: "gateway", retry: true },
  gateway_unreachable: { blame: "network", retry: true },
  bad_configuration: { blame: "client", retry: false },
} as const satisfies Record<string, FailureRule>;

export type FailureCode = keyof typeof FAILURES;

/**
 * A failure the other side, or the person in front of the screen, must understand. The code travels; the message is for
 * the local log and never holds a prompt, a completion or a key.
 */
export class Failure extends Error {
  readonly code: FailureCode;

  constructor(code: FailureCode, message?: string, options?: ErrorOptions) {
    super(message === undefined ? code : `${code}: ${message}`, options);
    this.name = "Failure";
    this.code = code;
  }
}

/** Whether a string from outside is one of our codes. */
export function isFailureCode(value: unknown): value is FailureCode {
  return typeof value === "string" && Object.hasOwn(FAILURES, value);
}

/** The code of a failure, or `internal` for a bug: what may be told to another party about any error. */
export function codeOf(error: unknown): FailureCode {
  return error instanceof Failure ? error.code : "internal";
}
