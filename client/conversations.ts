import { hash, toHex, utf8 } from "../protocol/index.ts";
import type { ModelRequest } from "./sealed-body.ts";

/** Which worker answered a conversation last: it may still have the prefix in its cache. */
export interface Conversations {
  /** A name for the conversation that gives nothing of it away; later turns have the same. */
  nameOf(request: ModelRequest): string;
  workerOf(name: string): string | undefined;
  answered(name: string, workerId: string): void;
}

const MAX_CONVERSATIONS = 1024;

/** `salt` keeps a name from being guessed by who guesses the prompt. */
export function createConversations(salt: Uint8Array): Conversations {
  const workers = new Map<string, string>();
  return {
    nameOf: ({ path, body }) =>
      toHex(hash(salt, utf8(body.model + (path === "/v1/completions" ? body.prompt : opening(body))))),
    workerOf: (name) => workers.get(name),
    answered(name, workerId) {
      workers.delete(name);
      workers.set(name, workerId);
      if (workers.size <= MAX_CONVERSATIONS) return;
      const [oldest] = workers.keys();
      if (oldest !== undefined) workers.delete(oldest);
    },
  };
}

/** Everything up to the first word of the user. */
function opening({ messages }: Extract<ModelRequest, { path: "/v1/chat/completions" }>["body"]): string {
  const first = messages.findIndex(({ role }) => role === "user");
  return JSON.stringify(messages.slice(0, first + 1));
}
