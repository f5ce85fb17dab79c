import type { IncomingMessage } from "node:http";
import type { Parameters } from "./parameters.ts";
import { Refusal } from "./refusal.ts";
import type { Json } from "./toncenter-format.ts";

/** A question by its method, and what JSON-RPC wants to see again. */
export interface Question {
  readonly method: string;
  readonly parameters: Parameters;
  readonly id: Json;
}

const BASE = "http://127.0.0.1";
const MAX_BODY_BYTES = 1_048_576;

/** @throws {Refusal} */
export async function readQuestion(request: IncomingMessage): Promise<Question> {
  const url = request.url ?? "/";
  if (!URL.canParse(url, BASE)) throw new Refusal(404, "Not Found");
  const { pathname, searchParams } = new URL(url, BASE);
  const isPost = request.method === "POST";
  if (!isPost && request.method !== "GET") throw new Refusal(405, "Method Not Allowed");
  const body = isPost ? await readBody(request) : undefined;
  const inUrl: Parameters = Object.fromEntries(searchParams);
  if (pathname === "/faucet") return { method: "faucet", parameters: { ...inUrl, ...parametersIn(body) }, id: null };
  const [, name] = /^(?:\/api\/v2)?\/(\w+)$/.exec(pathname) ?? [];
  if (name === undefined) throw new Refusal(404, "Not Found");
  if (name.toLowerCase() !== "jsonrpc")
    return { method: name, parameters: { ...inUrl, ...parametersIn(body) }, id: null };
  if (!isPost) throw new Refusal(405, "Method Not Allowed");
  const { method, params, id } = parametersIn(body);
  if (typeof method !== "string") throw new Refusal(422, "Validation error: method must be a string");
  return {
    method,
    parameters: objectOf(params ?? {}),
    id: typeof id === "string" || typeof id === "number" ? id : null,
  };
}

function parametersIn(body: string | undefined): Parameters {
  if (body === undefined || body === "") return {};
  try {
    return objectOf(JSON.parse(body));
  } catch (cause) {
    throw cause instanceof Refusal ? cause : new Refusal(422, "Validation error: the body is not JSON", { cause });
  }
}

function objectOf(value: unknown): Parameters {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Parameters;
  throw new Refusal(422, "Validation error: parameters must be an object");
}

/** Not an iterator: leaving one early would cut the answer off too. */
function readBody(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    request.on("data", (part: Buffer) => {
      length += part.length;
      if (length <= MAX_BODY_BYTES) parts.push(part);
      else reject(new Refusal(413, `Validation error: the body must be at most ${MAX_BODY_BYTES} bytes`));
    });
    request.on("end", () => resolve(Buffer.concat(parts).toString("utf8")));
    request.on("error", (cause) => reject(new Refusal(400, "the question broke off", { cause })));
  });
}
