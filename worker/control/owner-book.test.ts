import assert from "node:assert/strict";
import test from "node:test";
import type { OwnerProof } from "../../protocol/index.ts";
import { fakeDisk, type FakeDisk } from "../serving/disk.fake.ts";
import { openOwnerBook, type OwnerBook } from "./owner-book.ts";

const NOW_SECONDS = 1_790_000_000;
const A = `0:${"aa".repeat(32)}`;
const B = `0:${"bb".repeat(32)}`;

function proof(address: string, timestamp = NOW_SECONDS): OwnerProof {
  const signature = new Uint8Array(64).fill(1);
  return { address, stateInit: new Uint8Array([1, 2]), domain: "app.example", timestamp, signature };
}

function open(disk: FakeDisk, { networkId = -239, nowSeconds = NOW_SECONDS } = {}): Promise<OwnerBook> {
  return openOwnerBook(disk, { networkId, now: () => nowSeconds * 1000 });
}

test("a worker that nobody has named earns for nobody", async () => {
  const book = await open(fakeDisk());
  assert.deepEqual([book.current(), book.former()], [undefined, []]);
});

test("the owner named last is found again after a restart, with the proof, and those before by their address", async () => {
  const disk = fakeDisk();
  const book = await open(disk);
  await book.name({ address: A, proof: proof(A) });
  await book.name({ address: B, proof: proof(B) });
  for (const found of [book, await open(disk)])
    assert.deepEqual([found.current(), found.former()], [{ address: B, proof: proof(B) }, [A]]);
});

test("an owner who comes back is the current one, and is there once", async () => {
  const disk = fakeDisk();
  const book = await open(disk);
  for (const address of [A, B, A]) await book.name({ address, proof: proof(address) });
  assert.deepEqual([book.current()?.address, book.former()], [A, [B]]);
});

test("an address without a proof keeps the proof that was known of it", async () => {
  const book = await open(fakeDisk());
  await book.name({ address: A, proof: proof(A) });
  await book.name({ address: A });
  assert.deepEqual(book.current(), { address: A, proof: proof(A) });
  await book.name({ address: B });
  assert.deepEqual(book.current(), { address: B });
});

test("a proof that gateways would refuse for its age is not shown", async () => {
  const disk = fakeDisk();
  await (await open(disk)).name({ address: A, proof: proof(A) });
  const shown = async (days: number) => (await open(disk, { nowSeconds: NOW_SECONDS + days * 86_400 })).current();
  assert.ok((await shown(29))?.proof);
  assert.deepEqual(await shown(29.1), { address: A });
});

test("each network has owners of its own", async () => {
  const disk = fakeDisk();
  await (await open(disk)).name({ address: A, proof: proof(A) });
  const other = await open(disk, { networkId: -3 });
  assert.equal(other.current(), undefined);
  await other.name({ address: B });
  assert.equal((await open(disk)).current()?.address, A);
  assert.deepEqual((await open(disk)).former(), []);
});

test("an owner that cannot be written down is not the owner", async () => {
  const disk = fakeDisk();
  const book = await open(disk);
  await book.name({ address: A });
  disk.isFull = true;
  await assert.rejects(book.name({ address: B }), { code: "disk_full" });
  assert.equal(book.current()?.address, A);
});

test("a damaged file stops the start and says what to do", async () => {
  for (const text of [
    "",
    "{",
    '{"v":2,"owners":[]}',
    '{"v":1,"owners":[{"networkId":-239,"address":"x","proof":null}]}',
  ]) {
    const disk = fakeDisk();
    disk.files.set("owners.json", Buffer.from(text));
    await assert.rejects(open(disk), { code: "storage_failed", message: /owners\.json is damaged: restore it/ });
  }
});
