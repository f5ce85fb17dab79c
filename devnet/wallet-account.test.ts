import assert from "node:assert/strict";
import test from "node:test";
import { Address, beginCell, Cell, loadMessage, loadOutList, storeStateInit } from "@ton/core";
import { signOwnerProof, walletOf } from "../contracts/owner-proof.ts";
import { ownerProofPayload, toHex } from "../protocol/index.ts";
import { DEVNET_NETWORK_ID, devnetKey } from "./accounts.ts";
import { walletAccount, type TransferRequest } from "./wallet-account.ts";

const key = devnetKey(1, "wallet");
const account = walletAccount(key, DEVNET_NETWORK_ID);
const NOW_SECONDS = 1_790_000_000;
const RECEIVER = `0:${"ab".repeat(32)}`;

function request(overrides: Partial<TransferRequest["messages"][number]> = {}): TransferRequest {
  return {
    valid_until: NOW_SECONDS + 300,
    network: String(DEVNET_NETWORK_ID),
    from: account.address,
    messages: [{ address: Address.parse(RECEIVER).toString(), amount: "70000000", ...overrides }],
  };
}

const messageOf = (boc: Uint8Array) => loadMessage(Cell.fromBoc(Buffer.from(boc))[0]?.beginParse() ?? assert.fail());
const base64 = (cell: Cell): string => cell.toBoc().toString("base64");

test("the test wallet's account is the V5R1 that its key has on the devnet", () => {
  const { address, stateInit } = walletOf(key.publicKey, DEVNET_NETWORK_ID);
  assert.equal(account.address, address);
  assert.deepEqual(account.stateInit, stateInit);
});

test("two implementations of the address proof sign the same", () => {
  const identityKey = devnetKey(1, "worker").publicKey;
  const facts = { identityKey, networkId: DEVNET_NETWORK_ID, domain: "cocoon.example", timestamp: NOW_SECONDS };
  const payload = toHex(ownerProofPayload(identityKey, DEVNET_NETWORK_ID));
  assert.deepEqual(account.signProof({ ...facts, payload }), signOwnerProof(key, facts).signature);
});

test("a transfer deploys a wallet that is not on the chain yet, and only then", () => {
  const first = messageOf(account.signTransfer(request(), undefined));
  const later = messageOf(account.signTransfer(request(), 4));
  assert.ok(first.init);
  assert.equal(later.init, null);
  assert.ok(first.info.type === "external-in" && first.info.dest.toRawString() === account.address);
});

test("what an app asked for is what the wallet sends, and nothing else", () => {
  const payload = beginCell().storeUint(0x1c0c0101, 32).endCell();
  const init = { code: beginCell().storeUint(7, 8).endCell(), data: beginCell().storeUint(8, 8).endCell() };
  const stateInit = beginCell().store(storeStateInit(init)).endCell();
  const boc = account.signTransfer(request({ payload: base64(payload), stateInit: base64(stateInit) }), 5);
  const { body } = messageOf(boc);
  const signed = body.beginParse();
  assert.deepEqual([signed.skip(64).loadUint(32), signed.loadUint(32)], [NOW_SECONDS + 300, 5]);
  const [action, ...more] = loadOutList((signed.loadMaybeRef() ?? assert.fail()).beginParse());
  assert.ok(action?.type === "sendMsg" && more.length === 0 && action.outMsg.info.type === "internal");
  const { info, body: sent, init: deployed } = action.outMsg;
  assert.deepEqual([info.dest.toRawString(), info.value.coins, info.bounce], [RECEIVER, 70_000_000n, true]);
  assert.ok(sent.equals(payload) && deployed?.code?.equals(init.code) && deployed.data?.equals(init.data));
});
