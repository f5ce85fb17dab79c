import * as z from "zod";

/**
 * What of a bridge's messages may reach TON Connect's SDK. It takes whatever comes (3.4.1): a stranger who knows the
 * session's public key, which stands in the link, ends the process with one unreadable message, answers in the wallet's
 * name, or takes the session over with a second `connect`. Behind this door are only well-formed messages, each once,
 * and after the first `connect` only those of the wallet that sent it.
 */
export interface Guard {
  /** The messages that may be passed on now, in order. */
  admit(text: string): readonly Admitted[];
}

export type Admitted =
  | { readonly type: "connect" | "disconnect" | "response"; readonly text: string }
  /** Not for the SDK, which throws some of these where nobody can catch them. */
  | { readonly type: "connect-error"; readonly code: number };

export interface GuardOptions {
  /** The wallet's key, 64 hex digits, where the session has been agreed before. */
  readonly wallet: string | undefined;
  /** Opens a sealed message with the session's key. May throw anything. */
  readonly open: (sealed: Uint8Array, from: Uint8Array) => string;
}

const MAX_SEALED_CHARACTERS = 131_072;

const envelopeSchema = z.object({
  from: z.string().regex(/^[0-9a-f]{64}$/),
  message: z.string().max(MAX_SEALED_CHARACTERS),
});

const eventId = z.int().nonnegative();

const messageSchema = z.union([
  z.looseObject({
    event: z.literal("connect"),
    id: eventId,
    payload: z.looseObject({
      items: z.array(z.looseObject({ name: z.string() })).refine(hasAddress),
      device: z.looseObject({ appName: z.string(), features: z.array(z.unknown()) }),
    }),
  }),
  z.looseObject({ event: z.literal("connect_error"), id: eventId, payload: z.looseObject({ code: z.int() }) }),
  z.looseObject({ event: z.literal("disconnect"), id: eventId }),
  z.looseObject({
    event: z.undefined().optional(),
    id: z.union([z.string(), z.int()]),
    result: z.union([z.string(), z.looseObject({})]),
  }),
  z.looseObject({
    event: z.undefined().optional(),
    id: z.union([z.string(), z.int()]),
    error: z.looseObject({ code: z.int(), message: z.string() }),
  }),
]);
type WalletMessage = z.output<typeof messageSchema>;

/** A message of the SDK's next version that this one does not know is passed over, like everything unknown. */
export function createGuard({ wallet: agreed, open }: GuardOptions): Guard {
  let wallet = agreed;
  let isOver = false;
  let lastEventId = -1;
  /** By sender: goodbyes that overtook their greeting. */
  const early = new Map<string, { readonly id: number; readonly text: string }>();

  const bind = (from: string, id: number, text: string): readonly Admitted[] => {
    wallet = from;
    lastEventId = id;
    const goodbye = early.get(from);
    early.clear();
    if (goodbye === undefined || goodbye.id <= id) return [{ type: "connect", text }];
    isOver = true;
    return [
      { type: "connect", text },
      { type: "disconnect", text: goodbye.text },
    ];
  };

  const beforeGreeting = (from: string, message: WalletMessage, text: string): readonly Admitted[] => {
    if (message.event === "connect") return bind(from, message.id, text);
    if (message.event === "connect_error") return [{ type: "connect-error", code: message.payload.code }];
    if (message.event === "disconnect" && early.size < MAX_EARLY) early.set(from, { id: message.id, text });
    return [];
  };

  const afterGreeting = (from: string, message: WalletMessage, text: string): readonly Admitted[] => {
    if (from !== wallet) return [];
    if (message.event === undefined) return [{ type: "response", text }];
    if (message.event !== "disconnect" || message.id <= lastEventId) return [];
    isOver = true;
    return [{ type: "disconnect", text }];
  };

  return {
    admit(text) {
      const opened = openEnvelope(text, open);
      if (opened === undefined || isOver) return [];
      return (wallet === undefined ? beforeGreeting : afterGreeting)(opened.from, opened.message, text);
    },
  };
}

const MAX_EARLY = 8;

function openEnvelope(
  text: string,
  open: GuardOptions["open"],
): { readonly from: string; readonly message: WalletMessage } | undefined {
  try {
    const { from, message } = envelopeSchema.parse(JSON.parse(text));
    const opened = open(new Uint8Array(Buffer.from(message, "base64")), new Uint8Array(Buffer.from(from, "hex")));
    return { from, message: messageSchema.parse(JSON.parse(opened)) };
  } catch {
    return undefined; // not for us, or not what a wallet says; an error's text may hold the session's key
  }
}

function hasAddress(items: readonly { readonly name: string }[]): boolean {
  return items.some(({ name }) => name === "ton_addr");
}
