import { beginCell, Dictionary, storeTransaction, type Message, type Transaction } from "@ton/core";
import type { RawAddress } from "../protocol/index.ts";

/** What a scripted node does with a question. */
export type Reply = Response | Error | ((question: AskedQuestion) => Response | Promise<Response>);

export interface AskedQuestion {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export interface ScriptedNode {
  readonly fetch: typeof fetch;
  /** Every question so far. */
  readonly asked: readonly AskedQuestion[];
  /** The replies to a method, one after the other; the last one stays. */
  on(method: string, ...replies: Reply[]): void;
}

/** A node of toncenter's kind without a socket: says what it was told to, and remembers what it was asked. */
export function scriptedNode({ networkId = 7, genUtime = 1_800_000_000, seqno = 100 } = {}): ScriptedNode {
  const scripts = new Map<string, Reply[]>();
  const asked: AskedQuestion[] = [];
  const node: ScriptedNode = {
    asked,
    on(method, ...replies) {
      scripts.set(method, replies);
    },
    async fetch(input, init) {
      const { method, params } = JSON.parse(init?.body as string) as Pick<AskedQuestion, "method" | "params">;
      const { headers, signal } = init as { headers: Record<string, string>; signal: AbortSignal };
      const question = { method, params, url: input as string, headers, signal };
      asked.push(question);
      signal.throwIfAborted();
      const replies = scripts.get(method) ?? [refused(422, "Unknown method")];
      const [next] = replies;
      if (replies.length > 1) replies.shift();
      if (next instanceof Error) throw next;
      return typeof next === "function" ? next(question) : (next?.clone() ?? refused(500, "nothing scripted"));
    },
  };
  node.on("getMasterchainInfo", ok(masterchainInfo(seqno)));
  node.on("getBlockHeader", ({ params }) => ok(blockHeader(Number(params.seqno), { networkId, genUtime })));
  return node;
}

export function ok(result: unknown): Response {
  return Response.json({ ok: true, result, jsonrpc: "2.0", id: "1" });
}

export function refused(status: number, error: string, headers: Record<string, string> = {}): Response {
  return Response.json({ ok: false, error, code: status }, { status, headers });
}

/** Never answers, until it is given up on. */
export function silence({ signal }: AskedQuestion): Promise<Response> {
  return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
}

export function blockId(seqno: number): Readonly<Record<string, unknown>> {
  return { workchain: -1, shard: "-9223372036854775808", seqno, root_hash: hashOf(seqno), file_hash: hashOf(seqno) };
}

export function masterchainInfo(seqno: number): unknown {
  return { "@type": "blocks.masterchainInfo", last: blockId(seqno), init: blockId(0), state_root_hash: hashOf(seqno) };
}

export function blockHeader(seqno: number, facts: { networkId: number; genUtime: number }): unknown {
  return { id: blockId(seqno), global_id: facts.networkId, gen_utime: facts.genUtime };
}

/** 32 bytes in base64. */
export function hashOf(number: number): string {
  return Buffer.alloc(32, number).toString("base64");
}

/** Transactions of one account, oldest first, each naming the one before. */
export function transactionLine(
  address: RawAddress,
  count: number,
  inMessage?: Message,
): readonly (Transaction & { readonly boc: string })[] {
  const line: (Transaction & { readonly boc: string })[] = [];
  for (let at = 0; at < count; at++) {
    const previous = line.at(-1);
    const fields = {
      address: BigInt(`0x${address.slice(2)}`),
      lt: BigInt(at + 1) * 10n,
      prevTransactionLt: previous?.lt ?? 0n,
      prevTransactionHash: BigInt(`0x0${previous?.hash().toString("hex") ?? ""}`),
      now: 1_800_000_000 + at,
      outMessagesCount: 0,
      oldStatus: "active",
      endStatus: "active",
      inMessage,
      outMessages: Dictionary.empty<number, Message>(Dictionary.Keys.Uint(15)),
      totalFees: { coins: 5n },
      stateUpdate: { oldHash: Buffer.alloc(32), newHash: Buffer.alloc(32) },
      description: {
        type: "generic",
        creditFirst: false,
        computePhase: { type: "skipped", reason: "no-gas" },
        aborted: true,
        destroyed: false,
      },
    } as const;
    const hash = (): Buffer => raw.hash();
    const raw = beginCell()
      .store(storeTransaction({ ...fields, raw: beginCell().endCell(), hash }))
      .endCell();
    line.push({ ...fields, raw, hash, boc: raw.toBoc().toString("base64") });
  }
  return line;
}
