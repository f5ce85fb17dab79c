import { parentPort, workerData } from "node:worker_threads";
import type { KnownWallet } from "./known-wallets.ts";
import type { ConnectRequest, SessionRefusal, TransactionRequest } from "./session.ts";
import type { FromThread, SendRefusal, ThreadData, ToThread } from "./thread.ts";
import { parseWalletAnswer } from "./answer.ts";
import { createBridgeFetch } from "./bridge-fetch.ts";
import { eventSourceClass } from "./event-source.ts";
import { createGuard, type Guard } from "./guard.ts";
import { sessionKeysIn } from "./session-keys.ts";

/**
 * The thread that TON Connect's SDK lives in. Three of its ways (3.4.1) are why it has one: it leaves promises rejected
 * where nobody can catch them, which ends a Node process; it prints whole requests, and in errors the session's secret
 * key, to the console; and it takes `fetch` and `EventSource` from the globals. Here all three are its own.
 */

const { networkId, manifestUrl, wallets, entries: kept } = workerData as ThreadData;
const say = (message: FromThread): void => parentPort?.postMessage(message);
const silent = (): void => undefined;

process.on("unhandledRejection", silent);
Object.assign(console, { debug: silent, log: silent, info: silent, warn: silent, error: silent });

const entries = new Map(Object.entries(kept));
const entriesNow = () => Object.fromEntries(entries);
let isReachable = true;
/** Done when the bridge has taken the newest question and the SDK has noted it. */
let asked: Promise<void> = Promise.resolve();
const posts = new Set<Promise<unknown>>();

const bridgeFetch = createBridgeFetch({
  bridges: wallets.map(({ bridgeUrl }) => bridgeUrl),
  fetch: globalThis.fetch,
  onRefused: (origin) => say({ type: "refused-fetch", origin }),
  onReachable: tellReachable,
});

function tellReachable(now: boolean): void {
  if (now === isReachable) return;
  isReachable = now;
  say({ type: "reachable", isReachable });
}

Object.assign(globalThis, {
  fetch(...given: Parameters<typeof bridgeFetch>) {
    const answered = bridgeFetch(...given);
    const done = answered.catch(silent).finally(() => posts.delete(done));
    posts.add(done);
    return answered;
  },
  EventSource: eventSourceClass({
    fetch: bridgeFetch,
    random: Math.random,
    guardFor,
    untilAsked: () => asked,
    onReachable: tellReachable,
    onConnectError: (code) => say({ type: "refused", ...connectRefusal(code) }),
  }),
});

// The SDK looks for both globals when it is loaded.
const sdk = await import("@tonconnect/sdk");

function guardFor(clientId: string): Guard | undefined {
  const keys = sessionKeysIn(entriesNow(), clientId);
  if (keys === undefined) return undefined;
  const session = new sdk.SessionCrypto({ publicKey: keys.publicKey, secretKey: keys.secretKey });
  return createGuard({ wallet: keys.wallet, open: (sealed, from) => session.decrypt(sealed, from) });
}

const changeEntries = async (change: () => void): Promise<void> => {
  change();
  say({ type: "entries", entries: entriesNow() });
};

const connector = new sdk.TonConnect({
  manifestUrl,
  analytics: { mode: "off" },
  disableAutoPauseConnection: true,
  walletsListSource: `data:application/json,${encodeURIComponent(JSON.stringify(wallets.map(asListed)))}`,
  storage: {
    getItem: async (key) => entries.get(key) ?? null,
    setItem: (key, value) => changeEntries(() => entries.set(key, value)),
    removeItem: (key) => changeEntries(() => entries.delete(key)),
  },
});
connector.setConnectionNetwork(String(networkId));
// From then on the SDK has the list, and reads its storage without leaving the turn.
await connector.getWallets();
connector.onStatusChange(
  (wallet) => {
    if (wallet === null) return say({ type: "gone" });
    const answer = parseWalletAnswer(wallet);
    if (answer === undefined) say({ type: "refused", code: "wallet_refused", message: "an answer that is none" });
    else say({ type: "answer", answer });
  },
  (error) => {
    const isOther = error instanceof sdk.WalletWrongNetworkError;
    say({
      type: "refused",
      code: isOther ? "wallet_network" : "wallet_refused",
      message: isOther ? "the wallet is on another network" : "the wallet app lacks what is needed",
    });
  },
);

let sending: AbortController | undefined;

parentPort?.on("message", (message: ToThread) => {
  switch (message.type) {
    case "connect":
      say({ type: "link", link: connect(message.request) });
      break;
    case "restore":
      void connector.restoreConnection().finally(() => say({ type: "restored", isConnected: connector.connected }));
      break;
    case "send":
      void send(message.request).then(say);
      break;
    case "cancel":
      sending?.abort();
      break;
    case "disconnect":
      void disconnect().finally(() => say({ type: "ended" }));
      break;
  }
});

function connect({ to, proofPayload }: ConnectRequest): string {
  const request = { tonProof: proofPayload };
  return "bridgeUrl" in to ? connector.connect(to, { request }) : connector.connect([...to], { request });
}

async function send({ validUntil, networkId: network, from, messages }: TransactionRequest): Promise<FromThread> {
  const { promise, resolve }: PromiseWithResolvers<void> = Promise.withResolvers();
  sending = new AbortController();
  asked = promise;
  const isOver = new Promise<never>((_, reject) =>
    sending?.signal.addEventListener("abort", () => reject(new Error())),
  );
  try {
    const request = { validUntil, network: String(network), from, messages: [...messages] };
    const options = { signal: sending.signal, onRequestSent: () => void setImmediate(resolve) };
    const { boc } = await Promise.race([connector.sendTransaction(request, options), isOver]);
    return { type: "sent", boc: new Uint8Array(Buffer.from(boc, "base64")) };
  } catch (error) {
    return { type: "not-sent", ...sendRefusal(error, sending.signal.aborted) };
  } finally {
    resolve();
  }
}

async function disconnect(): Promise<void> {
  if (connector.connected) await connector.disconnect();
  // A wallet of another network has been told by the SDK itself, which does not wait.
  await Promise.all(posts);
}

function connectRefusal(code: number): { readonly code: SessionRefusal; readonly message: string } {
  switch (code) {
    case 2:
    case 3:
      return { code: "wallet_manifest", message: "the wallet app could not read our manifest" };
    case 300:
      return { code: "wallet_declined", message: "declined in the wallet app" };
    default:
      return { code: "wallet_refused", message: `the wallet app answered with error ${code}` };
  }
}

function sendRefusal(error: unknown, isCancelled: boolean): { readonly code: SendRefusal; readonly message: string } {
  if (isCancelled)
    return isReachable
      ? { code: "wallet_silent", message: "no answer in time" }
      : { code: "wallet_unreachable", message: "the bridge did not answer in time" };
  if (error instanceof sdk.UserRejectsError) return { code: "wallet_declined", message: "declined in the wallet app" };
  if (error instanceof sdk.WalletWrongNetworkError) return { code: "wallet_network", message: "another network" };
  return { code: "wallet_refused", message: `the wallet app could not do it: ${nameOf(error)}` };
}

/** Not the message: that one may hold the session's key, or whatever a wallet wrote. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.constructor.name : "unknown";
}

/** TON Connect's own form of a list of wallets. */
function asListed({ appName, name, aboutUrl, universalLink, bridgeUrl, platforms, maxMessages }: KnownWallet): object {
  return {
    app_name: appName,
    name,
    image: aboutUrl,
    about_url: aboutUrl,
    universal_url: universalLink,
    bridge: [{ type: "sse", url: bridgeUrl }],
    platforms,
    features: [{ name: "SendTransaction", maxMessages }],
  };
}
