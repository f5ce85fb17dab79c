import { Worker } from "node:worker_threads";
import { NETWORKS } from "../contracts/networks.ts";
import { Failure, type Nanoton, type RawAddress } from "../protocol/index.ts";
import type { BlockPace } from "./chain/chain.ts";
import type { Fault } from "./chain/faults.ts";
import type { ChainNotice, ChainOrder, ChainThreadData, NodePlace, NumberedOrder } from "./chain/messages.ts";

export type { BlockPace } from "./chain/chain.ts";
export type { Fault, FaultType } from "./chain/faults.ts";

export interface ChainOptions {
  /** Default: the devnet's. */
  readonly networkId?: number;
  /** When messages are executed. Default: a block every 100 ms while there are any. */
  readonly blocks?: BlockPace;
  /** Of the first node; 0 or none: any free one. */
  readonly port?: number;
  /** Keeps the chain: read at the start, written every few seconds and at the end. */
  readonly folder?: string;
  /** Hears of bugs of the chain itself; a node of it then answers with HTTP 500. */
  readonly log?: (line: string) => void;
}

/** One node of a chain, at which wallets and roles ask, and what can be done to it. */
export interface DevnetNode {
  /** A toncenter v2 JSON-RPC address on this machine. */
  readonly endpoint: string;
  readonly faucetUrl: string;
  /** Spoils answers from now on. */
  fail(fault: Fault): Promise<void>;
  /** Ends every fault. */
  heal(): Promise<void>;
  /** It goes on saying what is true now, while the chain goes on. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

/** TON on one machine: the executor of the real chain, today's prices, a network id of its own. */
export interface DevnetChain extends DevnetNode {
  readonly networkId: number;
  /** Resolves when the chain has ended, by {@link close} or by a bug of its own. */
  readonly ended: Promise<void>;
  /** Another node of the same chain, with faults of its own. */
  addNode(port?: number): Promise<DevnetNode>;
  /** Coins from nowhere. They are in the account when this resolves. */
  faucet(address: RawAddress, amount: Nanoton): Promise<void>;
  /** Time passes on the chain, and on this machine not. */
  advance(seconds: number): Promise<void>;
  /** One block now: every message under way moves on by one hop. */
  makeBlock(): Promise<void>;
  /** Blocks until no message is under way. */
  settle(): Promise<void>;
  save(): Promise<void>;
  /** Saves, when there is a folder, and ends every node. */
  close(): Promise<void>;
}

const DEFAULT_BLOCKS: BlockPace = { everyMs: 100 };
/** So that a year's worth of a day a step is no slip of the hand, and a slip of the hand is refused. */
const MAX_ADVANCE_SECONDS = 4_000_000_000;

/** @throws {Failure} `port_taken`, `storage_failed`, `bad_configuration`. */
export async function startChain(options: ChainOptions = {}): Promise<DevnetChain> {
  const { networkId = NETWORKS.devnet.networkId, blocks = DEFAULT_BLOCKS, port = 0, folder, log } = options;
  const workerData: ChainThreadData = { networkId, blocks, port, folder };
  // The executor prints a word when it breaks, and standard output may be somebody's JSON.
  const worker = new Worker(new URL("chain/thread.ts", import.meta.url), { workerData, stdout: true, stderr: true });
  worker.stdout.resume();
  worker.stderr.resume();
  const thread = new ChainThread(worker, log);
  const first = await thread.ready;
  return {
    ...nodeAt(thread, first),
    networkId,
    ended: thread.ended,
    async addNode(atPort = 0) {
      const place = await thread.order({ type: "add-node", port: atPort });
      if (place === undefined) throw new Error("a node without a place");
      return nodeAt(thread, place);
    },
    async faucet(address, amount) {
      await thread.order({ type: "faucet", address, amount });
    },
    async advance(seconds) {
      if (!Number.isInteger(seconds) || seconds < 0 || seconds > MAX_ADVANCE_SECONDS) {
        throw new RangeError(`a clock is not put ${seconds} s ahead`);
      }
      await thread.order({ type: "advance", seconds });
    },
    async makeBlock() {
      await thread.order({ type: "make-block" });
    },
    async settle() {
      await thread.order({ type: "settle" });
    },
    async save() {
      await thread.order({ type: "save" });
    },
    close: () => thread.close(),
  };
}

function nodeAt(thread: ChainThread, { node, endpoint, faucetUrl }: NodePlace): DevnetNode {
  return {
    endpoint,
    faucetUrl,
    async fail(fault) {
      await thread.order({ type: "fail", node, fault });
    },
    async heal() {
      await thread.order({ type: "heal", node });
    },
    async freeze() {
      await thread.order({ type: "freeze", node });
    },
    async thaw() {
      await thread.order({ type: "thaw", node });
    },
  };
}

type Waiting = PromiseWithResolvers<NodePlace | undefined>;

/** The other end of the chain's thread. */
class ChainThread {
  readonly ready: Promise<NodePlace>;
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #isClosed = false;

  constructor(worker: Worker, log: ChainOptions["log"]) {
    const ready = Promise.withResolvers<NodePlace>();
    this.ready = ready.promise;
    this.#worker = worker;
    worker.on("message", (notice: ChainNotice) => {
      switch (notice.type) {
        case "ready":
          return ready.resolve(notice.place);
        case "failed":
          return ready.reject(new Failure(notice.code, notice.message));
        case "bug":
          return log?.(`chain: ${notice.message}`);
        case "done":
          return this.#take(notice.id)?.resolve(notice.place);
        case "refused":
          return this.#take(notice.id)?.reject(new Failure(notice.code, notice.message));
      }
    });
    this.ended = new Promise((resolve) => {
      const end = (cause?: unknown): void => {
        this.#isClosed = true;
        const failure = new Failure("internal", "the chain has ended", { cause });
        ready.reject(failure);
        for (const id of [...this.#waiting.keys()]) this.#take(id)?.reject(failure);
        resolve();
      };
      worker.once("error", end);
      worker.once("exit", () => end());
    });
  }

  /** @throws {Failure} what the order failed with; `internal` once the chain has ended. */
  order(order: ChainOrder): Promise<NodePlace | undefined> {
    if (this.#isClosed) throw new Failure("internal", "the chain has ended");
    const waiting: Waiting = Promise.withResolvers();
    const id = ++this.#lastId;
    this.#waiting.set(id, waiting);
    this.#worker.postMessage({ id, order } satisfies NumberedOrder);
    return waiting.promise;
  }

  /** @throws {Failure} `storage_failed` when the last state could not be written; the chain has ended all the same. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.order({ type: "close" });
    } finally {
      await this.#worker.terminate();
      await this.ended;
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }
}
