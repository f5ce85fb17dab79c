/** One message on its way through a TON Connect bridge: sealed for its reader, so all a bridge sees is who and when. */
export interface BridgeEvent {
  /** Grows with every message of the bridge; a reader that comes back names the last one it has seen. */
  readonly id: number;
  /** The client id it is for. */
  readonly to: string;
  /** What goes over the wire. */
  readonly data: string;
  /** Unix ms. */
  readonly expiresAt: number;
}

export interface BridgeMessage {
  readonly from: string;
  readonly to: string;
  /** Base64, as it came. */
  readonly message: string;
  readonly ttlSeconds: number;
}

/** Messages kept for readers who are away. Bounded: a bridge must not be filled by strangers. */
export interface BridgeQueue {
  /** Undefined for a life that is none: zero, or longer than a bridge keeps anything. */
  add(message: BridgeMessage, now: number): BridgeEvent | undefined;
  /** What is kept for these readers after an event, oldest first. */
  since(readers: readonly string[], lastEventId: number, now: number): readonly BridgeEvent[];
}

/** Longest life of a message, as TON Connect's bridges have it. */
export const MAX_TTL_SECONDS = 300;

const MAX_PER_READER = 64;
const MAX_KEPT = 1024;

export function createBridgeQueue(): BridgeQueue {
  let kept: readonly BridgeEvent[] = [];
  let lastId = 0;
  return {
    add({ from, to, message, ttlSeconds }, now) {
      if (!(ttlSeconds > 0 && ttlSeconds <= MAX_TTL_SECONDS)) return undefined;
      const event = { id: ++lastId, to, data: JSON.stringify({ from, message }), expiresAt: now + ttlSeconds * 1000 };
      const alive = kept.filter(({ expiresAt }) => expiresAt > now);
      kept = [...withRoomFor(to, alive), event].slice(-MAX_KEPT);
      return event;
    },
    since(readers, lastEventId, now) {
      return kept.filter(({ id, to, expiresAt }) => id > lastEventId && expiresAt > now && readers.includes(to));
    },
  };
}

/** A reader that is written to without end loses its oldest messages, nobody else's. */
function withRoomFor(reader: string, events: readonly BridgeEvent[]): readonly BridgeEvent[] {
  const excess = events.filter(({ to }) => to === reader).length - MAX_PER_READER + 1;
  if (excess <= 0) return events;
  let dropped = 0;
  return events.filter(({ to }) => to !== reader || ++dropped > excess);
}
