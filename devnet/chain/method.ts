import { blockId, type ChainBlock } from "./blocks.ts";
import type { Chain } from "./chain.ts";
import type { Parameters } from "./parameters.ts";
import type { ChainView } from "./state.ts";
import type { Json } from "./toncenter-format.ts";

/** What one node answers from: the chain, and how much of it this node has seen. */
export interface NodeSide {
  readonly chain: Chain;
  readonly view: () => ChainView;
}

/** One question of toncenter's API v2. @throws {Refusal} */
export type Method = (node: NodeSide, parameters: Parameters) => Promise<Json> | Json;

/** Answers from between two blocks, the newest of which is not older than it should be. */
export function atHead(method: Method): Method {
  return (node, parameters) => node.chain.atHead(() => method(node, parameters));
}

export function idOf(block: ChainBlock, workchain: number): Json {
  return { ...blockId(block, workchain) };
}
