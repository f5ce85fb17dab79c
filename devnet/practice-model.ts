import { accessSync, constants, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { encodeGguf, type Gguf } from "./gguf-writer.ts";
import { type Script, scriptedModel } from "./scripted-model.ts";

/** What the practice model says. It knows a handful of subjects and, for everything else, what it is. */
const SCRIPT: Script = {
  name: "Cocoon practice model",
  opening: "self",
  passages: {
    self: {
      says: "This is Cocoon's practice model speaking: a few hundred lines of arithmetic that the program wrote for itself, so I cannot think about your question.",
      then: ["journey", "modest"],
    },
    modest: { says: " Ask me anything you like; my reply will hardly change.", then: ["journey"] },
    journey: {
      says: " What I can show you is the way it came. Your client sealed every word, a gateway carried what it could not read, one worker opened it, and each token of this answer was counted before it was sent.",
      then: ["invitation", "farewell"],
    },
    farewell: { says: " Nothing more is needed to try the network." },
    invitation: { says: " Load a real model and the same road brings you real answers." },
    greeting: {
      says: "Hello! Nice to meet you. I'm only here for practice, yet everything around me is real: sealing, metering, payment.",
      then: ["journey"],
    },
    privacy: {
      says: "Between you and this worker nobody else reads along, because only the two ends hold keys. But be careful: whoever owns an ordinary PC could look inside while it works, and Cocoon tells you so instead of hiding it.",
      then: ["invitation", "farewell"],
    },
    money: {
      says: "You pay per token, in nanoton. For this reply the worker receives a signed promise, and you countersign its count; neither side has to believe the other.",
      then: ["invitation", "farewell"],
    },
    call: { says: ["<tool_call>"] },
    result: {
      says: "Your tool has been asked, its result arrived back here sealed like any message, and that completes the round trip.",
    },
  },
  cues: [
    { words: ["hello", "hi", "hey"], passage: "greeting", priority: 0.5 },
    { words: ["private", "privacy", "secret", "encrypted", "read"], passage: "privacy", priority: 0.7 },
    { words: ["price", "pay", "cost", "earn", "money"], passage: "money", priority: 0.6 },
    { words: ["<tools>"], passage: "call", priority: 0.8 },
    { words: ["<tool_response>"], passage: "result", priority: 1 },
  ],
};

export function practiceModel(): Gguf {
  return scriptedModel(SCRIPT);
}

/**
 * The path of a small GGUF that answers any prompt in readable English, written on first use. The bytes are the same
 * on every machine; a copy that was damaged is written again.
 */
export async function ensurePracticeModel(): Promise<string> {
  return ensureModel("practice", practiceModel());
}

/** Writes a small model into the cache unless it is there already, and gives its path. */
export function ensureModel(name: string, model: Gguf): string {
  const bytes = Buffer.concat([...encodeGguf(model)]);
  const folder = cacheFolder();
  const path = join(folder, `${name}.gguf`);
  if (isWritten(path, bytes)) return path;
  mkdirSync(folder, { recursive: true });
  const unfinished = `${path}.${process.pid}.part`;
  writeFileSync(unfinished, bytes);
  renameSync(unfinished, path);
  return path;
}

function isWritten(path: string, bytes: Buffer): boolean {
  try {
    return readFileSync(path).equals(bytes);
  } catch {
    return false;
  }
}

/** Beside the installed packages in a checkout; in the person's own cache where that is not writable. */
export function cacheFolder(): string {
  const modules = join(import.meta.dirname, "..", "node_modules");
  try {
    accessSync(modules, constants.W_OK);
    return join(modules, ".cache", "cocoon");
  } catch {
    return join(homedir(), ".cache", "cocoon");
  }
}
