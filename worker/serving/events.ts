import { encodeSealedEvent, MAX_FRAME_DATA, type SealedEvent } from "../../protocol/index.ts";
import type { EngineEvent } from "../engine/messages.ts";

/** What an engine produced, as the client gets to see it. */
export function sealedEventOf(event: Extract<EngineEvent, { type: "delta" | "tool_call" }>): SealedEvent {
  const tokenIds = [...event.tokenIds];
  if (event.type === "delta") {
    return event.reasoning
      ? { t: "delta", text: event.text, tokenIds, reasoning: true }
      : { t: "delta", text: event.text, tokenIds };
  }
  const { index, id, name, arguments: args } = event;
  return {
    t: "tool_call",
    index,
    ...(id === undefined ? {} : { id }),
    ...(name === undefined ? {} : { name }),
    ...(args === undefined ? {} : { arguments: args }),
    tokenIds,
  };
}

/** Both in one, when a client reads the same from it; undefined when they have to stay two. */
export function mergeEvents(first: SealedEvent, second: SealedEvent): SealedEvent | undefined {
  const tokenIds = [...first.tokenIds, ...second.tokenIds];
  if (first.t === "delta" && second.t === "delta") {
    return first.reasoning === second.reasoning ? { ...first, text: first.text + second.text, tokenIds } : undefined;
  }
  if (first.t === "delta" || second.t === "delta") return undefined;
  const continues = first.index === second.index && second.id === undefined && second.name === undefined;
  if (!continues) return undefined;
  return { ...first, arguments: (first.arguments ?? "") + (second.arguments ?? ""), tokenIds };
}

/** The event's bytes, cut into as many events as frames need. */
export function encodeEvent(event: SealedEvent): readonly Uint8Array[] {
  const whole = encodeSealedEvent(event);
  if (whole.length <= MAX_FRAME_DATA) return [whole];
  const [first, second] = halves(event);
  return [...encodeEvent(first), ...encodeEvent(second)];
}

/** Ids and text are halved each for itself: ids may run ahead of the text anyway. */
function halves(event: SealedEvent): readonly [SealedEvent, SealedEvent] {
  const [firstIds, secondIds] = [
    event.tokenIds.slice(0, event.tokenIds.length / 2),
    event.tokenIds.slice(event.tokenIds.length / 2),
  ];
  if (event.t === "delta") {
    const [first, second] = halfText(event.text);
    return [
      { ...event, text: first, tokenIds: firstIds },
      { ...event, text: second, tokenIds: secondIds },
    ];
  }
  const [first, second] = halfText(event.arguments ?? "");
  return [
    { ...event, arguments: first, tokenIds: firstIds },
    { t: "tool_call", index: event.index, arguments: second, tokenIds: secondIds },
  ];
}

/** Not between the two halves of a surrogate pair: neither would be UTF-8. */
function halfText(text: string): readonly [string, string] {
  const middle = Math.floor(text.length / 2);
  const unit = text.charCodeAt(middle);
  const at = unit >= 0xdc00 && unit <= 0xdfff ? middle - 1 : middle;
  return [text.slice(0, at), text.slice(at)];
}
