import assert from "node:assert/strict";
import { test } from "node:test";
import { Address, Cell, contractAddress, loadStateInit } from "@ton/core";
import { clientChannelOf, parseClientChannelMessage } from "../../contracts/ClientChannel.ts";
import { walletMessage } from "./orders.ts";
import { paymentLink, type WalletTransaction } from "./wallet.ts";

const terms = {
  owner: `0:${"0a".repeat(32)}`,
  gateway: `0:${"0b".repeat(32)}`,
  gatewayKey: new Uint8Array(32).fill(3),
  closeDelaySeconds: 86_400,
};
const OPEN = {
  type: "open-channel",
  amount: 1_000_000_000n,
  paymentKey: new Uint8Array(32).fill(4),
  creditLimit: 5n,
} as const;

const transaction = (networkId: number, isDeployed: boolean): WalletTransaction => ({
  validUntil: 1_790_000_300,
  networkId,
  from: terms.owner,
  messages: [walletMessage(OPEN, 77n, { networkId, terms, isDeployed })],
});

/** As a wallet app reads it. */
function opened(link: string) {
  const url = new URL(link);
  const cell = (name: string): Cell | undefined => {
    const text = url.searchParams.get(name);
    return text === null ? undefined : Cell.fromBoc(Buffer.from(text, "base64url"))[0];
  };
  return {
    to: Address.parseFriendly(url.pathname.split("/").at(-1) ?? ""),
    amount: url.searchParams.get("amount"),
    expires: url.searchParams.get("exp"),
    body: cell("bin"),
    init: cell("init"),
  };
}

test("a link has the channel's address, the amount, the message and the code that goes there", () => {
  const link = paymentLink(transaction(-239, false));
  assert.match(link, /^ton:\/\/transfer\/E[A-Za-z0-9_-]{47}\?[A-Za-z0-9_&=-]+$/);
  const { to, amount, expires, body, init } = opened(link);
  assert.equal(to.address.toRawString(), clientChannelOf(terms).address);
  assert.deepEqual([to.isBounceable, to.isTestOnly], [true, false]);
  assert.deepEqual([amount, expires], ["1070000000", "1790000300"]);
  assert.ok(body !== undefined && init !== undefined);
  assert.deepEqual(parseClientChannelMessage(new Uint8Array(body.toBoc())), { ...OPEN, queryId: 77n });
  assert.ok(contractAddress(0, loadStateInit(init.beginParse())).equals(to.address));
});

test("a channel that is there already is sent no code, and off mainnet the address says so", () => {
  const { to, init } = opened(paymentLink(transaction(-3, true)));
  assert.equal(init, undefined);
  assert.equal(to.isTestOnly, true);
});

test("a link carries one message, no more and no less", () => {
  const one = transaction(-239, true);
  assert.throws(() => paymentLink({ ...one, messages: [...one.messages, ...one.messages] }), RangeError);
  assert.throws(() => paymentLink({ ...one, messages: [] }), RangeError);
});
