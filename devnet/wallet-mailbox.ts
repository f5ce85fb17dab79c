import { Base64, hexToByteArray, SessionCrypto } from "@tonconnect/protocol";

/** A wallet's end of one session over a bridge: sealed messages from one app, and back to it. */
export interface Mailbox {
  /** Keeps trying until it is handed in, or the mailbox is closed. */
  post(message: unknown): Promise<void>;
  close(): void;
}

export interface MailboxOptions {
  readonly bridgeUrl: string;
  /** The app's client id, 64 hex digits. */
  readonly app: string;
  onMessage(message: unknown): Promise<void>;
}

const RETRY_MS = 100;
const TTL_SECONDS = "300";

export function openMailbox(options: MailboxOptions): Mailbox {
  const ended = new AbortController();
  const session = new SessionCrypto();
  void listen(options, session, ended.signal);
  return {
    async post(message) {
      const { bridgeUrl, app } = options;
      const sealed = Base64.encode(session.encrypt(JSON.stringify(message), hexToByteArray(app)));
      const query = new URLSearchParams({ client_id: session.sessionId, to: app, ttl: TTL_SECONDS });
      const url = `${bridgeUrl}/message?${query.toString()}`;
      await untilDone(ended.signal, async () => (await fetch(url, { method: "POST", body: sealed })).ok);
    },
    close: () => ended.abort(),
  };
}

async function listen(options: MailboxOptions, session: SessionCrypto, ended: AbortSignal): Promise<void> {
  let lastEventId = "0";
  await untilDone(ended, async () => {
    const query = new URLSearchParams({ client_id: session.sessionId, last_event_id: lastEventId });
    const response = await fetch(`${options.bridgeUrl}/events?${query.toString()}`, { signal: ended });
    for await (const event of eventsOf(response)) {
      lastEventId = event.id;
      const { from, message } = JSON.parse(event.data) as { readonly from: string; readonly message: string };
      if (from !== options.app) continue;
      const opened = session.decrypt(Base64.decode(message).toUint8Array(), hexToByteArray(from));
      await options.onMessage(JSON.parse(opened));
    }
    return false;
  });
}

/** Tries again while the bridge cannot be reached. */
async function untilDone(ended: AbortSignal, attempt: () => Promise<boolean>): Promise<void> {
  while (!ended.aborted) {
    if (await attempt().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function* eventsOf(response: Response): AsyncGenerator<{ readonly id: string; readonly data: string }> {
  const body: AsyncIterable<Uint8Array> | null = response.body;
  const decoder = new TextDecoder();
  let buffered = "";
  for await (const bytes of body ?? []) {
    buffered += decoder.decode(bytes, { stream: true });
    const events = buffered.split("\r\n\r\n");
    buffered = events.pop() ?? "";
    for (const event of events) {
      const [, id] = /^id: (.*)$/m.exec(event) ?? [];
      const [, data] = /^data: (.*)$/m.exec(event) ?? [];
      if (id !== undefined && data !== undefined) yield { id, data };
    }
  }
}
