import { randomBytes } from "node:crypto";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { codeOf, Failure } from "../../protocol/index.ts";
import { Chain } from "./chain.ts";
import { loadChain, saveChain } from "./chain-file.ts";
import { Emulator } from "./emulator.ts";
import type { ChainNotice, ChainOrder, ChainThreadData, NodePlace, NumberedOrder } from "./messages.ts";
import { ChainNode } from "./node.ts";
import { ChainState } from "./state.ts";

/**
 * The thread a chain lives in, its HTTP servers included. The executor is synchronous WASM: a fifth of a second to
 * compile, milliseconds a message, and it must not stand between a role's sockets and their bytes.
 */

/** Most that a killed devnet forgets. */
const SAVE_EVERY_MS = 5_000;

const { networkId, blocks, port, folder } = workerData as ChainThreadData;

async function main(parent: MessagePort): Promise<void> {
  const say = (notice: ChainNotice): void => parent.postMessage(notice);
  const bug = (error: unknown): void => say({ type: "bug", message: messageOf(error) });
  try {
    const house = await ChainHouse.open(bug);
    parent.on("message", ({ id, order }: NumberedOrder) => {
      house.perform(order).then(
        (place) => {
          say({ type: "done", id, ...(place === undefined ? {} : { place }) });
          if (order.type === "close") parent.close();
        },
        (error: unknown) => say({ type: "refused", id, code: codeOf(error), message: messageOf(error) }),
      );
    });
    say({ type: "ready", place: await house.addNode(port) });
  } catch (error) {
    say({ type: "failed", code: codeOf(error), message: messageOf(error) });
    parent.close();
  }
}

/** A chain, its nodes and its file. */
class ChainHouse {
  readonly #chain: Chain;
  readonly #bug: (error: unknown) => void;
  readonly #nodes: ChainNode[] = [];
  #savedSeqno = 0;
  #saver: NodeJS.Timeout | undefined;

  private constructor(chain: Chain, bug: (error: unknown) => void) {
    this.#chain = chain;
    this.#bug = bug;
    if (folder !== undefined) this.#saver = setInterval(() => this.#saveChanges(), SAVE_EVERY_MS).unref();
  }

  static async open(bug: (error: unknown) => void): Promise<ChainHouse> {
    const saved = folder === undefined ? undefined : loadChain(folder);
    if (saved !== undefined && saved.networkId !== networkId) {
      throw new Failure("bad_configuration", `${folder ?? ""} holds a chain of network ${saved.networkId}`);
    }
    const { state = new ChainState([], new Map(), []), ...rest } = saved ?? {};
    const emulator = await Emulator.create(networkId);
    const chain = new Chain({ ...rest, networkId, pace: blocks, emulator, state, now: Date.now, randomBytes, bug });
    return new ChainHouse(chain, bug);
  }

  async addNode(atPort: number): Promise<NodePlace> {
    const node = await ChainNode.start({ chain: this.#chain, port: atPort, bug: this.#bug });
    this.#nodes.push(node);
    return { node: this.#nodes.length - 1, endpoint: node.endpoint, faucetUrl: node.faucetUrl };
  }

  async perform(order: ChainOrder): Promise<NodePlace | undefined> {
    switch (order.type) {
      case "faucet":
        await this.#chain.faucet(order.address, order.amount);
        return undefined;
      case "advance":
        await this.#chain.advance(order.seconds);
        return undefined;
      case "make-block":
        await this.#chain.makeBlock();
        return undefined;
      case "settle":
        await this.#chain.settle();
        return undefined;
      case "save":
        await this.#chain.inTurn(() => this.#save());
        return undefined;
      case "close":
        await this.#close();
        return undefined;
      case "add-node":
        return this.addNode(order.port);
      case "fail":
        this.#node(order.node).faults.add(order.fault);
        return undefined;
      case "heal":
        this.#node(order.node).faults.heal();
        return undefined;
      case "freeze":
        // Between two blocks: a node has seen all of a block or nothing of it.
        await this.#chain.inTurn(() => this.#node(order.node).freeze());
        return undefined;
      case "thaw":
        this.#node(order.node).thaw();
        return undefined;
    }
  }

  async #close(): Promise<void> {
    clearInterval(this.#saver);
    await Promise.all(this.#nodes.map((node) => node.close()));
    await this.#chain.close();
    this.#save();
  }

  #saveChanges(): void {
    if (this.#chain.state.head.seqno === this.#savedSeqno) return;
    this.#chain.inTurn(() => this.#save()).catch(this.#bug);
  }

  #save(): void {
    if (folder === undefined) return;
    saveChain(folder, this.#chain);
    this.#savedSeqno = this.#chain.state.head.seqno;
  }

  #node(index: number): ChainNode {
    const node = this.#nodes[index];
    if (node === undefined) throw new RangeError(`no node ${index}`);
    return node;
  }
}

function messageOf(error: unknown): string {
  if (error instanceof Failure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

if (parentPort !== null) await main(parentPort);
