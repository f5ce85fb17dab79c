/** One event of a text/event-stream (HTML, "Server-sent events"). */
export interface StreamEvent {
  /** The newest id of the stream, also of an event that came without one. */
  readonly id: string;
  readonly data: string;
}

/** Longest event, in characters: a wallet's answer takes a few thousand. */
export const MAX_EVENT_CHARACTERS = 262_144;

/**
 * Events of a body as they come. Heartbeats, comments and names of events are passed over: a bridge sends messages.
 *
 * @throws {RangeError} for an event that outgrows {@link MAX_EVENT_CHARACTERS}.
 */
export async function* eventsOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  let id = "";
  let data: string[] = [];
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) yield { id, data: data.join("\n") };
        data = [];
        continue;
      }
      const [, field, value = ""] = /^([^:]+):? ?(.*)$/.exec(line) ?? [];
      if (field === "id") id = value;
      if (field === "data") data.push(value);
    }
    if (rest.length + data.reduce((sum, line) => sum + line.length, 0) > MAX_EVENT_CHARACTERS)
      throw new RangeError("an event without end");
  }
}
