import type { FailureCode, Nanoton, RawAddress } from "../../protocol/index.ts";
import type { BlockPace } from "./chain.ts";
import type { Fault } from "./faults.ts";

/** What the thread of a chain is started with. */
export interface ChainThreadData {
  readonly networkId: number;
  readonly blocks: BlockPace;
  readonly port: number;
  readonly folder: string | undefined;
}

/** What is asked of a chain from beside it: nothing that a wallet or a role could ask of a public node. */
export type ChainOrder =
  | { readonly type: "faucet"; readonly address: RawAddress; readonly amount: Nanoton }
  | { readonly type: "advance"; readonly seconds: number }
  | { readonly type: "make-block" }
  | { readonly type: "settle" }
  | { readonly type: "save" }
  | { readonly type: "close" }
  | { readonly type: "add-node"; readonly port: number }
  | { readonly type: "fail"; readonly node: number; readonly fault: Fault }
  | { readonly type: "heal" | "freeze" | "thaw"; readonly node: number };

export interface NodePlace {
  /** Number of the node in further orders. */
  readonly node: number;
  readonly endpoint: string;
  readonly faucetUrl: string;
}

/** From the thread: answers by the number of their order, and what nobody asked for. */
export type ChainNotice =
  | { readonly type: "ready"; readonly place: NodePlace }
  | { readonly type: "failed"; readonly code: FailureCode; readonly message: string }
  | { readonly type: "bug"; readonly message: string }
  | { readonly type: "done"; readonly id: number; readonly place?: NodePlace }
  | { readonly type: "refused"; readonly id: number; readonly code: FailureCode; readonly message: string };

export interface NumberedOrder {
  readonly id: number;
  readonly order: ChainOrder;
}
