import type * as z from "zod";
import { equalBytes, Failure, type RawAddress } from "../protocol/index.ts";
import type {
  Account,
  Block,
  ChainReader,
  ChainTransaction,
  History,
  Since,
  StackItem,
  TransactionId,
} from "./chain-reader.ts";
import { readExternal } from "./external-message.ts";
import { pause } from "./pace.ts";
import * as answers from "./toncenter-answers.ts";
import { ToncenterNode, type NodeAnswer, type NodeOptions, type Question } from "./toncenter-node.ts";
import { readTransaction } from "./transaction.ts";

export interface ToncenterOptions extends NodeOptions {
  /** The network that was chosen: a node of another one is refused before anything is read from it. */
  readonly networkId: number;
}

/**
 * A {@link ChainReader} over a toncenter v2 HTTP API: public, the user's own, or a devnet's. Plain fetch and not
 * `@ton/ton`'s TonClient: that one brings a second HTTP library, knows no queue and no repeat, and drops the block an
 * answer belongs to, by which a lagging node is known.
 *
 * @throws {Failure} `bad_configuration`.
 */
export function toncenterReader(options: ToncenterOptions): ChainReader {
  return new ToncenterReader(options);
}

/** A block takes seconds; two minutes without one is a node that has fallen behind, or a chain that stands still. */
const STALE_AFTER_MS = 120_000;
/** Nodes behind one address are a block or two apart. */
const FRESHER_AFTER_MS = 1_000;
const FRESHNESS_ATTEMPTS = 4;
const PAGE = 100;
const DEFAULT_LIMIT = 1_000;
const MASTERCHAIN = { workchain: -1, shard: "-9223372036854775808" };

/** Exit codes of an account without code, in two generations of nodes, and of a contract without the method. */
const NOBODY_ANSWERS = new Set([-13, -256, 11]);

/** What nodes say of a block that they do not have, or not yet. */
const NO_SUCH_BLOCK = /not found|cannot find block|not in db|not applied|LITE_SERVER_NOTREADY/i;
/** What they say of transactions older than what they keep. */
const FORGOTTEN = /not in db|cannot (find|locate|compute)|not found/i;
/** What they say of a message that its contract does not accept, or that is none. */
const NOT_ACCEPTED = /cannot apply external message|was not accepted|deserialize bag-of-cells/i;

/** When an answer was true. */
interface Freshness {
  /** Of the masterchain block it was read at. */
  readonly seqno?: number | undefined;
  /** Unix seconds of that block. */
  readonly utime?: number;
}

class ToncenterReader implements ChainReader {
  readonly #options: ToncenterOptions;
  readonly #node: ToncenterNode;
  #checkedNetwork: Promise<number> | undefined;
  #highestSeqno = 0;

  constructor(options: ToncenterOptions) {
    this.#options = options;
    this.#node = new ToncenterNode(options);
  }

  networkId(): Promise<number> {
    if (this.#checkedNetwork === undefined) {
      this.#checkedNetwork = this.#checkNetwork();
      this.#checkedNetwork.catch(() => (this.#checkedNetwork = undefined));
    }
    return this.#checkedNetwork;
  }

  async newestBlock(): Promise<Block> {
    await this.networkId();
    return (await this.#newestHeader()).block;
  }

  async block(seqno: number): Promise<Block | undefined> {
    await this.networkId();
    const answer = await this.#node.ask({
      method: "getBlockHeader",
      params: { ...MASTERCHAIN, seqno },
      isRepeatable: true,
      isAnswer: (error) => NO_SUCH_BLOCK.test(error),
    });
    return answer.type === "error" ? undefined : this.#headerOf(answer.result, seqno).block;
  }

  async account(address: RawAddress): Promise<Account> {
    await this.networkId();
    return this.#fresh(async () => {
      const result = await this.#ask("getAddressInformation", { address });
      const read = this.#read(answers.addressInformation, result, "an account");
      const { state, balance, code, data, last_transaction_id: last } = read;
      const contract = state === "active" && code !== "" && data !== "" ? { code, data } : undefined;
      return {
        value: { address, state, balance, lastTransaction: last.lt === 0n ? undefined : last, contract },
        seqno: read.block_id.seqno,
        utime: read.sync_utime,
      };
    });
  }

  async get(
    address: RawAddress,
    method: string,
    args: readonly StackItem[] = [],
  ): Promise<readonly StackItem[] | undefined> {
    await this.networkId();
    const stack = args.map(argument);
    return this.#fresh(async () => {
      const result = await this.#ask("runGetMethod", { address, method, stack });
      const read = this.#read(answers.runResult, result, `the answer of ${method}`);
      return { value: this.#stackOf(method, read), seqno: read.block_id?.seqno };
    });
  }

  async transactions(address: RawAddress, { after = 0n, limit = DEFAULT_LIMIT }: Since = {}): Promise<History> {
    await this.networkId();
    const newestFirst: ChainTransaction[] = [];
    let next: TransactionId | undefined;
    while (newestFirst.length < limit) {
      const page = await this.#page({ address, after, next, count: Math.min(PAGE, limit - newestFirst.length) });
      if (page === undefined) return { transactions: newestFirst.reverse(), isWhole: false };
      newestFirst.push(...page.transactions);
      next = page.next;
      if (next === undefined) return { transactions: newestFirst.reverse(), isWhole: true };
    }
    return { transactions: newestFirst.reverse(), isWhole: false };
  }

  async send(boc: Uint8Array): Promise<void> {
    readExternal(boc);
    await this.networkId();
    const answer = await this.#node.ask({
      method: "sendBoc",
      params: { boc: Buffer.from(boc).toString("base64") },
      isRepeatable: false,
      isAnswer: (error) => NOT_ACCEPTED.test(error),
    });
    if (answer.type === "error") throw new Failure("chain_refused", answer.error);
  }

  async #checkNetwork(): Promise<number> {
    const { networkId } = await this.#newestHeader();
    if (networkId === this.#options.networkId) return networkId;
    const { host } = this.#node.endpoint;
    throw new Failure("chain_other_network", `${host} is of network ${networkId}, not ${this.#options.networkId}`);
  }

  async #newestHeader(): Promise<Header> {
    return this.#fresh(async () => {
      const { last } = this.#read(
        answers.masterchainInfo,
        await this.#ask("getMasterchainInfo", {}),
        "the newest block",
      );
      const header = this.#headerOf(
        await this.#ask("getBlockHeader", { ...MASTERCHAIN, seqno: last.seqno }),
        last.seqno,
      );
      if (!equalBytes(header.block.rootHash, last.root_hash)) throw this.#node.malformed("two blocks of one number");
      return { value: header, seqno: last.seqno, utime: header.block.genUtime };
    });
  }

  #headerOf(result: unknown, seqno: number): Header {
    const { id, global_id: networkId, gen_utime: genUtime } = this.#read(answers.blockHeader, result, "a block");
    if (id.seqno !== seqno || id.workchain !== -1) throw this.#node.malformed("another block than asked for");
    return { networkId, block: { seqno, rootHash: id.root_hash, genUtime } };
  }

  #stackOf(
    method: string,
    { exit_code: exitCode, stack }: z.output<typeof answers.runResult>,
  ): readonly StackItem[] | undefined {
    if (NOBODY_ANSWERS.has(exitCode)) return undefined;
    // TVM has two codes for success.
    if (exitCode !== 0 && exitCode !== 1) throw this.#node.malformed(`${method} ended with exit code ${exitCode}`);
    return stack.map((entry) => {
      const item = answers.stackItem(entry);
      if (item === undefined) throw this.#node.malformed(`a stack of ${method} that cannot be read`);
      return item;
    });
  }

  /** Undefined when the node no longer has them. */
  async #page(request: PageRequest): Promise<Page | undefined> {
    // Most nodes keep some days; toncenter has others behind it that keep all, and asks them only when told to.
    const recent = await this.#pageFrom(request, {});
    const answer = recent.type === "error" ? await this.#pageFrom(request, { archival: true }) : recent;
    if (answer.type === "error") return undefined;
    return this.#linked(this.#read(answers.transactions, answer.result, "transactions"), request);
  }

  #pageFrom({ address, after, next, count }: PageRequest, where: { readonly archival?: true }): Promise<NodeAnswer> {
    const from = next === undefined ? {} : { lt: next.lt.toString(), hash: Buffer.from(next.hash).toString("hex") };
    return this.#node.ask({
      method: "getTransactions",
      params: { address, limit: count, to_lt: after.toString(), ...from, ...where },
      isRepeatable: true,
      isAnswer: (error) => FORGOTTEN.test(error),
    });
  }

  /** Each names the one before, so nothing can be left out between them. */
  #linked(read: z.output<typeof answers.transactions>, { address, after, next, count }: PageRequest): Page {
    const transactions: ChainTransaction[] = [];
    let expected = next;
    for (const { data, transaction_id: id } of read.slice(0, count)) {
      if (id.lt <= after) break;
      if (expected !== undefined && !isSame(expected, id)) throw this.#node.malformed("a gap between transactions");
      const { transaction, previous } = readTransaction(data, { ...id, address });
      transactions.push(transaction);
      expected = previous;
      if (previous === undefined) break;
      if (previous.lt >= id.lt) throw this.#node.malformed("transactions that go round in a circle");
    }
    if (next !== undefined && transactions.length === 0) throw this.#node.malformed("transactions that end too early");
    return { transactions, next: expected !== undefined && expected.lt > after ? expected : undefined };
  }

  /** Asks again while the answer is older than one that was seen before. */
  async #fresh<Value>(read: () => Promise<Freshness & { readonly value: Value }>): Promise<Value> {
    for (let attempt = 1; ; attempt++) {
      const { value, ...freshness } = await read();
      const why = this.#staleness(freshness);
      if (why === undefined) {
        this.#highestSeqno = Math.max(this.#highestSeqno, freshness.seqno ?? 0);
        return value;
      }
      if (attempt >= FRESHNESS_ATTEMPTS) throw new Failure("chain_lagging", `${this.#node.endpoint.host}: ${why}`);
      await pause(this.#options.clock, FRESHER_AFTER_MS, this.#options.signal);
    }
  }

  #staleness({ seqno, utime }: Freshness): string | undefined {
    const ageMs = utime === undefined ? 0 : this.#options.clock.now() - utime * 1_000;
    if (ageMs > STALE_AFTER_MS) return `its newest block is ${Math.round(ageMs / 1_000)} s old`;
    const isBehind = seqno !== undefined && seqno < this.#highestSeqno;
    return isBehind ? `block ${seqno} after block ${this.#highestSeqno}` : undefined;
  }

  async #ask(method: string, params: Question["params"]): Promise<unknown> {
    const answer = await this.#node.ask({ method, params, isRepeatable: true });
    return answer.type === "result" ? answer.result : undefined;
  }

  #read<Schema extends z.ZodType>(schema: Schema, result: unknown, what: string): z.output<Schema> {
    const parsed = schema.safeParse(result);
    if (parsed.success) return parsed.data;
    const path = parsed.error.issues[0]?.path.map(String).join(".") ?? "";
    throw this.#node.malformed(`${what}, not as the API has it${path === "" ? "" : `: ${path}`}`, parsed.error);
  }
}

interface Header {
  readonly networkId: number;
  readonly block: Block;
}

interface PageRequest {
  readonly address: RawAddress;
  readonly after: bigint;
  /** Where to go on; undefined for the newest. */
  readonly next: TransactionId | undefined;
  readonly count: number;
}

interface Page {
  readonly transactions: readonly ChainTransaction[];
  /** The next older one that was asked for; undefined when there is none. */
  readonly next: TransactionId | undefined;
}

function isSame(a: TransactionId, b: TransactionId): boolean {
  return a.lt === b.lt && equalBytes(a.hash, b.hash);
}

/** An argument as toncenter v2 takes it. */
function argument(item: StackItem): readonly [type: string, value: string] {
  switch (item.type) {
    case "int":
      return ["num", item.value.toString()];
    case "cell":
      return ["tvm.Cell", Buffer.from(item.boc).toString("base64")];
    case "slice":
      return ["tvm.Slice", Buffer.from(item.boc).toString("base64")];
    case "null":
    case "tuple":
      throw new RangeError(`toncenter takes no ${item.type} as an argument`);
  }
}
