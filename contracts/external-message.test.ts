import assert from "node:assert/strict";
import test from "node:test";
import { Address, beginCell, Cell, external, storeMessage, type Message } from "@ton/core";
import { toHex } from "../protocol/index.ts";
import { externalHash, readExternal } from "./external-message.ts";

const to = new Address(0, Buffer.alloc(32, 7));
const body = beginCell().storeUint(0xfeed, 16).endCell();
const init = { code: Cell.EMPTY, data: beginCell().storeUint(1, 8).endCell() };

function boc(message: Message, options?: { forceRef: boolean }): Uint8Array {
  return new Uint8Array(beginCell().store(storeMessage(message, options)).endCell().toBoc());
}

test("a message has one hash, however its cells are laid out and whether or not it deploys", () => {
  const plain = external({ to, body });
  const withFee: Message = { ...plain, info: { type: "external-in", dest: to, importFee: 5n } };
  const hash = toHex(externalHash(boc(plain)));
  assert.equal(toHex(externalHash(boc(plain, { forceRef: true }))), hash);
  assert.equal(toHex(externalHash(boc(external({ to, body, init })))), hash);
  assert.equal(toHex(externalHash(boc(withFee))), hash);
});

test("another body or destination is another hash", () => {
  const plain = toHex(externalHash(boc(external({ to, body }))));
  assert.notEqual(toHex(externalHash(boc(external({ to, body: Cell.EMPTY })))), plain);
  assert.notEqual(toHex(externalHash(boc(external({ to: new Address(0, Buffer.alloc(32, 8)), body })))), plain);
});

test("what is no external message to workchain 0 is refused before anybody is asked", () => {
  const masterchain = new Address(-1, Buffer.alloc(32, 7));
  const outgoing: Message = { body, info: { type: "external-out", src: to, createdLt: 1n, createdAt: 1 } };
  const refused: readonly Uint8Array[] = [
    new Uint8Array(),
    new Uint8Array([1, 2, 3]),
    boc(external({ to, body })).slice(0, -3),
    new Uint8Array(Cell.EMPTY.toBoc()),
    boc(external({ to: masterchain, body })),
    boc(outgoing),
  ];
  for (const bytes of refused) assert.throws(() => readExternal(bytes), { code: "chain_refused" });
});
