import { connect, type Socket } from "node:net";

/** What to ask an OpenAI-compatible endpoint, from outside the process that serves it. */
export interface LoadTarget {
  readonly host: string;
  readonly port: number;
  readonly apiKey: string;
  readonly model: string;
}

/** One connection's answers, read as bytes: a full HTTP client would cost more than what is measured. */
export interface SseConnection {
  /** Resolves when the answer's `[DONE]` has arrived. @throws {Error} when it ends otherwise. */
  ask(prompt: string, maxTokens: number, onChunk: (text: string, at: number) => void): Promise<void>;
  close(): void;
}

const DONE = "data: [DONE]";
const CONTENT = /"content":"([^"]*)"/g;

/** Milliseconds of the machine's steady clock, the same in every process. */
export function steadyNow(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Opens one keep-alive connection. */
export async function openSseConnection(target: LoadTarget): Promise<SseConnection> {
  const socket = connect({ host: target.host, port: target.port, noDelay: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  let pending: Pending | undefined;
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    if (pending === undefined) return;
    if (read(pending, text)) pending = undefined;
  });
  const fail = (): void => {
    pending?.reject(new Error("the connection ended before the answer did"));
    pending = undefined;
  };
  socket.on("error", fail);
  socket.on("close", fail);
  return {
    ask: (prompt, maxTokens, onChunk) =>
      new Promise((resolve, reject) => {
        pending = { tail: "", isAnswer: false, onChunk, resolve, reject };
        writeRequest(socket, target, prompt, maxTokens);
      }),
    close: () => socket.destroy(),
  };
}

interface Pending {
  tail: string;
  isAnswer: boolean;
  readonly onChunk: (text: string, at: number) => void;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Whether the answer is whole. */
function read(pending: Pending, text: string): boolean {
  const at = steadyNow();
  const whole = pending.tail + text;
  if (!pending.isAnswer) {
    const status = /HTTP\/1\.1 (\d{3})/.exec(whole)?.[1];
    if (status !== undefined && status !== "200") {
      pending.reject(new Error(`HTTP ${status}: ${whole.slice(-300)}`));
      return true;
    }
    pending.isAnswer = status !== undefined;
  }
  let end = 0;
  for (const match of whole.matchAll(CONTENT)) {
    if (match[1] !== undefined && match[1] !== "") pending.onChunk(match[1], at);
    end = match.index + match[0].length;
  }
  pending.tail = whole.slice(Math.max(end, whole.length - 2048));
  if (!pending.tail.includes(DONE)) return false;
  pending.resolve();
  return true;
}

function writeRequest(socket: Socket, target: LoadTarget, prompt: string, maxTokens: number): void {
  const body = JSON.stringify({
    model: target.model,
    stream: true,
    max_tokens: maxTokens,
    messages: [{ role: "user", content: prompt }],
  });
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: ${target.host}:${String(target.port)}\r\n` +
      `Authorization: Bearer ${target.apiKey}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`,
  );
}
