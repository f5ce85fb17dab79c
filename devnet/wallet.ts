import { CONNECT_EVENT_ERROR_CODES as CONNECT, SEND_TRANSACTION_ERROR_CODES as SEND } from "@tonconnect/protocol";
import * as z from "zod";
import type { ChainReader } from "../contracts/chain-reader.ts";
import type { RawAddress } from "../protocol/index.ts";
import type { DevnetKey } from "./accounts.ts";
import { transferRequestSchema, walletAccount, type TransferRequest, type WalletAccount } from "./wallet-account.ts";
import { openMailbox, type Mailbox } from "./wallet-mailbox.ts";

/** A wallet app with a person at it, whose habits a test or the demo sets. Speaks TON Connect to a bridge, as apps do. */
export interface TestWallet {
  readonly address: RawAddress;
  habits: WalletHabits;
  /** Everything it was asked since it was opened, in order; `connect` among it. */
  readonly asked: readonly string[];
  /** What a person does with the code on the screen. Resolves when the wallet has answered, or decided not to. */
  open(link: string): Promise<void>;
  /** Ends the session from this side. */
  disconnect(): Promise<void>;
  close(): void;
}

type Decision = "approve" | "decline" | "ignore";

export interface WalletHabits {
  readonly connect: Decision;
  readonly transaction: Decision;
  /** What is different from an honest answer to a connection. */
  readonly alterItems: (items: ConnectItems) => readonly object[];
  /** The same for the message it says it has sent. */
  readonly alterResult: (boc: Uint8Array) => Uint8Array;
}

export interface ConnectItems {
  readonly address: Readonly<Record<"name" | "address" | "network" | "publicKey" | "walletStateInit", string>>;
  readonly proof: {
    readonly name: "ton_proof";
    readonly proof: {
      readonly timestamp: number;
      readonly domain: { readonly lengthBytes: number; readonly value: string };
      readonly payload: string;
      readonly signature: string;
    };
  };
}

export interface TestWalletOptions {
  readonly key: DevnetKey;
  readonly networkId: number;
  readonly bridgeUrl: string;
  readonly chain: Pick<ChainReader, "account" | "get" | "send">;
  /** An app's manifest, as its URL gives it; `url` in it is the app a proof is for. */
  readonly readManifest: (url: string) => Promise<unknown>;
  /** As a list of wallets names it. Default `test-wallet`. */
  readonly appName?: string;
  /** Unix ms. Default: the system's clock. */
  readonly now?: () => number;
}

export const WILLING: WalletHabits = {
  connect: "approve",
  transaction: "approve",
  alterItems: ({ address, proof }) => [address, proof],
  alterResult: (boc) => boc,
};

const PROTOCOL_VERSION = "2";
const MAX_MESSAGES = 255;

const connectRequestSchema = z.object({
  manifestUrl: z.string(),
  items: z.array(
    z.discriminatedUnion("name", [
      z.object({ name: z.literal("ton_addr"), network: z.string().optional() }),
      z.object({ name: z.literal("ton_proof"), payload: z.string() }),
    ]),
  ),
});
const manifestSchema = z.object({ url: z.url(), name: z.string(), iconUrl: z.url() });
const rpcSchema = z.object({ id: z.string(), method: z.string(), params: z.array(z.string()) });
type Rpc = z.output<typeof rpcSchema>;

export function createTestWallet(options: TestWalletOptions): TestWallet {
  return new BridgeWallet(options);
}

/** What a wallet says instead of doing what it was asked. */
class Refusal extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

class BridgeWallet implements TestWallet {
  habits = WILLING;
  readonly asked: string[] = [];
  readonly #options: TestWalletOptions;
  readonly #account: WalletAccount;
  #mailbox: Mailbox | undefined;
  #nextEventId = 1;
  #lastRequestId = -1;

  constructor(options: TestWalletOptions) {
    this.#options = options;
    this.#account = walletAccount(options.key, options.networkId);
  }

  get address(): RawAddress {
    return this.#account.address;
  }

  async open(link: string): Promise<void> {
    const query = new URL(link).searchParams;
    if (query.get("v") !== PROTOCOL_VERSION) throw new Error("a link of another version of TON Connect");
    const request = connectRequestSchema.parse(JSON.parse(query.get("r") ?? ""));
    this.asked.push("connect");
    this.close();
    this.#lastRequestId = -1;
    this.#mailbox = openMailbox({
      bridgeUrl: this.#options.bridgeUrl,
      app: query.get("id") ?? "",
      onMessage: (message) => this.#onRequest(rpcSchema.parse(message)),
    });
    if (this.habits.connect === "ignore") return;
    await this.#post(await this.#connectEvent(request).catch(connectError));
  }

  async disconnect(): Promise<void> {
    await this.#post({ event: "disconnect", payload: {} });
  }

  close(): void {
    this.#mailbox?.close();
    this.#mailbox = undefined;
  }

  async #post(event: object): Promise<void> {
    await this.#mailbox?.post({ ...event, id: this.#nextEventId++ });
  }

  async #connectEvent({ manifestUrl, items }: z.output<typeof connectRequestSchema>): Promise<object> {
    const manifest = manifestSchema.safeParse(
      await this.#options.readManifest(manifestUrl).catch((): never => {
        throw new Refusal(CONNECT.MANIFEST_NOT_FOUND_ERROR, "no manifest");
      }),
    );
    if (!manifest.success) throw new Refusal(CONNECT.MANIFEST_CONTENT_ERROR, "a manifest without what it needs");
    if (this.habits.connect === "decline") throw new Refusal(CONNECT.USER_REJECTS_ERROR, "declined");
    const payload = items.find((item) => item.name === "ton_proof")?.payload ?? "";
    return { event: "connect", payload: { items: this.#items(manifest.data.url, payload), device: this.#device() } };
  }

  #items(appUrl: string, payload: string): readonly object[] {
    const { address, publicKey, stateInit, networkId } = this.#account;
    const { now = Date.now } = this.#options;
    const timestamp = Math.floor(now() / 1000);
    const domain = new URL(appUrl).host;
    return this.habits.alterItems({
      address: {
        name: "ton_addr",
        address,
        network: String(networkId),
        publicKey,
        walletStateInit: base64(stateInit),
      },
      proof: {
        name: "ton_proof",
        proof: {
          timestamp,
          domain: { lengthBytes: Buffer.byteLength(domain), value: domain },
          payload,
          signature: base64(this.#account.signProof({ domain, timestamp, payload })),
        },
      },
    });
  }

  #device(): object {
    const { appName = "test-wallet" } = this.#options;
    const features = ["SendTransaction", { name: "SendTransaction", maxMessages: MAX_MESSAGES }];
    return { platform: "linux", appName, appVersion: "1.0", maxProtocolVersion: 2, features };
  }

  /** A request that comes a second time is one that is answered already. */
  async #onRequest(request: Rpc): Promise<void> {
    if (Number(request.id) <= this.#lastRequestId) return;
    this.#lastRequestId = Number(request.id);
    this.asked.push(request.method);
    const { id } = request;
    try {
      const result = await this.#resultOf(request);
      if (result !== undefined) await this.#mailbox?.post({ id, result });
    } catch (error) {
      const { code, message } = error instanceof Refusal ? error : new Refusal(SEND.UNKNOWN_ERROR, String(error));
      await this.#mailbox?.post({ id, error: { code, message } });
    }
    if (request.method === "disconnect") this.close();
  }

  async #resultOf({ method, params }: Rpc): Promise<string | object | undefined> {
    if (method === "disconnect") return {};
    if (method !== "sendTransaction") throw new Refusal(SEND.METHOD_NOT_SUPPORTED, "not supported");
    const request = this.#checked(transferRequestSchema.safeParse(JSON.parse(params[0] ?? "null")).data);
    if (this.habits.transaction === "ignore") return undefined;
    if (this.habits.transaction === "decline") throw new Refusal(SEND.USER_REJECTS_ERROR, "declined");
    const boc = this.#account.signTransfer(request, await this.#seqno());
    await this.#options.chain.send(boc);
    return base64(this.habits.alterResult(boc));
  }

  #checked(request: TransferRequest | undefined): TransferRequest {
    const { now = Date.now, networkId } = this.#options;
    if (request === undefined) throw new Refusal(SEND.BAD_REQUEST_ERROR, "not a request");
    if (request.valid_until * 1000 < now()) throw new Refusal(SEND.BAD_REQUEST_ERROR, "a request that is over");
    if (request.network !== String(networkId)) throw new Refusal(SEND.BAD_REQUEST_ERROR, "another network");
    if (request.from !== this.address) throw new Refusal(SEND.BAD_REQUEST_ERROR, "another account");
    if (request.messages.length > MAX_MESSAGES) throw new Refusal(SEND.BAD_REQUEST_ERROR, "too many messages");
    return request;
  }

  /** Undefined while the wallet's contract is not on the chain. */
  async #seqno(): Promise<number | undefined> {
    const { chain } = this.#options;
    if ((await chain.account(this.address)).state !== "active") return undefined;
    const seqno = (await chain.get(this.address, "seqno"))?.[0];
    if (seqno?.type !== "int") throw new Error("the wallet's contract has no seqno");
    return Number(seqno.value);
  }
}

function connectError(error: unknown): object {
  const { code, message } = error instanceof Refusal ? error : new Refusal(CONNECT.UNKNOWN_ERROR, String(error));
  return { event: "connect_error", payload: { code, message } };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
