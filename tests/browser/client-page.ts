import { createClient } from "../../client/browser.ts";
import { DEMO_POLICY, Failure, fromHex } from "../../protocol/index.ts";

/** What Node's side of the test calls. */
export interface ClientPage {
  readonly hasNode: boolean;
  /** Logs in at a gateway without a channel: `ready`, or the code of the failure. */
  login(gatewayUrl: string, gatewayKey: string, paymentSeed: string): Promise<string>;
  /** Asks for a model that nobody serves, and answers with the code of the failure. */
  ask(model: string): Promise<string>;
  /** The whole answer of a worker on any PC, by a client of its own on the gateway's trial. */
  answer(gatewayUrl: string, gatewayKey: string, model: string, question: string): Promise<string>;
  leave(): Promise<void>;
}

let client: ReturnType<typeof createClient> | undefined;

const page: ClientPage = {
  hasNode: "Buffer" in globalThis || "process" in globalThis,
  async login(url, key, paymentSeed) {
    client = createClient({ gateway: { url, key: fromHex(key) }, paymentSeed: fromHex(paymentSeed) });
    return outcome(client.ready());
  },
  async ask(model) {
    if (client === undefined) throw new Error("not logged in");
    return outcome(client.complete({ model, messages: [{ role: "user", content: "Once" }] }));
  },
  async answer(url, key, model, question) {
    const paymentSeed = crypto.getRandomValues(new Uint8Array(32));
    const own = createClient({ gateway: { url, key: fromHex(key) }, paymentSeed, policy: DEMO_POLICY });
    await own.ready();
    const { text } = await own.complete({ model, max_tokens: 8, messages: [{ role: "user", content: question }] });
    await own.close();
    return text;
  },
  async leave() {
    await client?.close();
  },
};

Object.assign(globalThis, { clientPage: page });

async function outcome(doing: Promise<unknown>): Promise<string> {
  try {
    await doing;
    return "ready";
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
}
