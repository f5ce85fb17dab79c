import { utf8, type ChatRequestBody, type CompletionRequestBody } from "../protocol/index.ts";

/** A request to a model, as its body travels inside the seal. */
export type ModelRequest =
  | { readonly path: "/v1/chat/completions"; readonly body: ChatRequestBody }
  | { readonly path: "/v1/completions"; readonly body: CompletionRequestBody };

/** What surrounds a body inside the seal, known once a worker was chosen. */
export interface Enclosure {
  readonly maxTokens: number;
  readonly reservationId: string;
  /** Lowercase hex. */
  readonly offerHash: string;
}

/** A body serialised once, before it is known which worker gets it; a long prompt is not walked again at a retry. */
export interface SealedBody {
  /** At most this many bytes of plaintext, whatever the reservation is called and allows. */
  readonly maxBytes: number;
  /** UTF-8 bytes of the longest stop string: what an answer may end on without its text being sent. */
  readonly withheldBytes: number;
  plaintext(enclosure: Enclosure): Uint8Array;
  toJSON(): string;
}

/** As many as a request may ask for. */
const MOST_TOKENS = 1_000_000;
const LONGEST_RESERVATION_ID = "x".repeat(64);
const ANY_HASH = "0".repeat(64);

/** The bytes are those of the protocol's `encodeSealedRequest`. */
export function sealedBody({ path, body }: ModelRequest): SealedBody {
  const head = `{"v":1,"path":"${path}","body":`;
  const encoded = utf8(head + JSON.stringify(body));
  const tail = (enclosure: Enclosure): Uint8Array =>
    utf8(
      `,"maxTokens":${enclosure.maxTokens},"reservationId":${JSON.stringify(enclosure.reservationId)},"offerHash":"${enclosure.offerHash}"}`,
    );
  const longest = tail({ maxTokens: MOST_TOKENS, reservationId: LONGEST_RESERVATION_ID, offerHash: ANY_HASH });
  return {
    maxBytes: encoded.length + longest.length,
    withheldBytes: Math.max(0, ...[body.stop ?? []].flat().map((stop) => utf8(stop).length)),
    plaintext(enclosure) {
      const end = tail(enclosure);
      const whole = new Uint8Array(encoded.length + end.length);
      whole.set(encoded);
      whole.set(end, encoded.length);
      return whole;
    },
    toJSON: () => "[secret]",
  };
}

/** The limit a request names for its answer; undefined when it leaves that open. */
export function maxTokensOf({ path, body }: ModelRequest): number | undefined {
  const chosen = path === "/v1/chat/completions" ? (body.max_completion_tokens ?? body.max_tokens) : body.max_tokens;
  return chosen ?? undefined;
}
