import { FAILURES, type Failure, type FailureCode } from "../protocol/index.ts";
import { ClientFailure, explain, type FailureFacts } from "./client-failure.ts";

/** An error answer in OpenAI's shape. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON: `{error: {message, type, param, code}}`. */
  readonly body: string;
}

/** What is wrong with a request before it is one of ours; the codes are those OpenAI clients know. */
const HTTP_ERRORS = {
  invalid_api_key: { status: 401, message: "The API key is missing or wrong. Send it as `Authorization: Bearer …`." },
  host_not_allowed: { status: 403, message: "This endpoint answers only to its own address on this computer." },
  not_found: { status: 404, message: "No such address here." },
  method_not_allowed: { status: 405, message: "This address does not take that method." },
  request_timeout: { status: 408, message: "The request did not arrive in time." },
  body_too_large: { status: 413, message: "The request is too large for this endpoint." },
  bad_http: { status: 400, message: "Not an HTTP request." },
} as const;

export type HttpErrorCode = keyof typeof HTTP_ERRORS;

export function httpError(code: HttpErrorCode): ErrorAnswer {
  const { status, message } = HTTP_ERRORS[code];
  return errorAnswer(status, { message, param: null, code }, {});
}

/** The answer for a request that failed before its first event. */
export function failureAnswer(failure: Failure): ErrorAnswer {
  const facts = factsOf(failure);
  const status = statusOf(failure.code, facts);
  const headers: Record<string, string> = { "x-should-retry": String(FAILURES[failure.code].retry) };
  if (status === TOO_MANY) headers["retry-after"] = String(Math.max(1, Math.ceil((facts.retryAfterMs ?? 0) / 1000)));
  if (facts.tiersOffered !== undefined) {
    const { tee, tpm, software } = facts.tiersOffered;
    headers["x-cocoon-tiers-offered"] = `tee=${tee},tpm=${tpm},software=${software}`;
  }
  return errorAnswer(status, { message: explain(failure), param: facts.param ?? null, code: failure.code }, headers);
}

/** The same inside a stream that has begun. */
export function failureEvent(failure: Failure): string {
  return `data: ${failureAnswer(failure).body}\n\n`;
}

const TOO_MANY = 429;

/** Where the blame does not tell the status. A worker's or gateway's fault is 502, a lack of either 503. */
const STATUS: Partial<Record<FailureCode, number>> = {
  unsupported_field: 400,
  context_overflow: 400,
  frame_limit: 413,
  reservation_exceeded: 413,
  payment_required: 402,
  trial_exhausted: 402,
  spending_cap: 402,
  price_too_low: 402,
  tier_too_low: 403,
  policy_denied: 403,
  release_unchecked: 403,
  rate_limited: TOO_MANY,
  busy: TOO_MANY,
  cancelled: 499,
  model_unavailable: 503,
  no_worker: 503,
  gateway_unreachable: 503,
  clock_skew: 500,
  disk_full: 500,
  storage_failed: 500,
  internal: 500,
};

function statusOf(code: FailureCode, { param }: FailureFacts): number {
  if (code === "model_unavailable" && param === "model") return 404;
  if (param !== undefined) return 400;
  return STATUS[code] ?? 502;
}

function factsOf(failure: Failure): FailureFacts {
  return failure instanceof ClientFailure ? failure.facts : {};
}

function errorAnswer(
  status: number,
  error: { readonly message: string; readonly param: string | null; readonly code: string },
  headers: Readonly<Record<string, string>>,
): ErrorAnswer {
  const { message, param, code } = error;
  return { status, headers, body: JSON.stringify({ error: { message, type: typeOf(status), param, code } }) };
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 402) return "insufficient_quota";
  if (status === 403) return "permission_error";
  if (status === TOO_MANY) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "api_error";
}
