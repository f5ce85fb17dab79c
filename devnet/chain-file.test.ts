import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { TonClient } from "@ton/ton";
import { SYSTEM_CHAIN_CLOCK } from "../contracts/chain-clock.ts";
import { toncenterReader } from "../contracts/toncenter.ts";
import { DEVNET_NETWORK_ID } from "./accounts.ts";
import { startChain, type ChainOptions, type DevnetChain } from "./chain.ts";
import { coinsFor, contract, funded, STRANGER, transfer, transferBoc, WALLET } from "./chain.fake.ts";

let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "cocoon-chain-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** A file that is whole, and has something else in it. */
function withHash(body: string): string {
  return `cocoon devnet chain 1 ${createHash("sha256").update(body).digest("hex")}\n${body}`;
}

/** A chain that ends with its test, whatever comes of it. */
async function started(t: TestContext, options: ChainOptions): Promise<DevnetChain> {
  const chain = await startChain(options);
  t.after(() => chain.close());
  return chain;
}

/** Everything that can be asked of a chain about the wallet. */
async function told({ endpoint }: DevnetChain): Promise<unknown> {
  const options = { endpoint, networkId: DEVNET_NETWORK_ID, fetch, clock: SYSTEM_CHAIN_CLOCK, random: Math.random };
  const reader = toncenterReader(options);
  const newest = await reader.newestBlock();
  const blocks = await Promise.all(Array.from({ length: newest.seqno }, (_, at) => reader.block(at + 1)));
  const [account, seqno, history] = [reader.account(WALLET), reader.get(WALLET, "seqno"), reader.transactions(WALLET)];
  return { blocks, account: await account, seqno: await seqno, history: await history };
}

test("a chain that was saved goes on where it stopped, down to the message under way and the clock", async (t) => {
  const at = join(folder, "goes-on");
  const { chain, opened } = await funded({ blocks: "by-hand", folder: at });
  t.after(() => chain.close());
  await transfer(opened, 0, coinsFor(STRANGER, 1n));
  await chain.settle();
  await chain.advance(100_000);
  await chain.makeBlock();
  await transfer(opened, 1, coinsFor(STRANGER, 5n));
  const before = await told(chain);
  await chain.close();

  const again = await started(t, { blocks: "by-hand", folder: at });
  assert.deepEqual(await told(again), before);
  const client = new TonClient({ endpoint: again.endpoint });
  assert.equal(await client.getBalance(STRANGER), 1n);
  await again.settle();
  assert.equal(await client.getBalance(STRANGER), 6n, "the message that was under way arrives");
  assert.equal(await client.open(contract).getSeqno(), 2);
  const [newest] = await client.getTransactions(contract.address, { limit: 1 });
  assert.ok((newest?.now ?? 0) > Date.now() / 1_000 + 99_000, "and the clock is still ahead");
});

test("a chain is on disk when it was told to save, whatever comes after", async (t) => {
  const at = join(folder, "saved");
  const { chain, opened } = await funded({ blocks: "at-once", folder: at });
  t.after(() => chain.close());
  await transfer(opened, 0, coinsFor(STRANGER, 3n));
  await chain.save();
  const saved = readFileSync(join(at, "chain.saved"), "utf8");
  await chain.close();
  writeFileSync(join(at, "chain.saved"), saved);
  const again = await started(t, { blocks: "at-once", folder: at });
  assert.equal(await new TonClient({ endpoint: again.endpoint }).getBalance(STRANGER), 3n);
});

test("a chain without a folder leaves nothing behind", async (t) => {
  const { chain } = await funded({ blocks: "at-once" });
  t.after(() => chain.close());
  await chain.save();
  await chain.close();
  const fresh = await started(t, { blocks: "at-once" });
  assert.equal(await new TonClient({ endpoint: fresh.endpoint }).getBalance(contract.address), 0n);
});

test("a file that was damaged is not started from, and not overwritten", async (t) => {
  const at = join(folder, "damaged");
  const { chain } = await funded({ blocks: "at-once", folder: at });
  t.after(() => chain.close());
  await chain.close();
  const path = join(at, "chain.saved");
  const whole = readFileSync(path, "utf8");
  const [head = "", body = ""] = whole.split("\n");
  const damages: readonly string[] = [
    "",
    "{}",
    whole.slice(0, -1),
    `${whole} `,
    body,
    `${head}\n`,
    `${head.replace("chain 1", "chain 2")}\n${body}`,
    `${head}\n${body.replace('"aheadSeconds":0', '"aheadSeconds":9')}`,
    withHash('{"networkId":7}'),
    withHash(body.replace('"pending":[]', '"pending":["AAAA"]')),
  ];
  for (const damage of damages) {
    writeFileSync(path, damage);
    await assert.rejects(startChain({ folder: at }), { code: "storage_failed" }, damage.slice(0, 40));
    assert.equal(readFileSync(path, "utf8"), damage);
  }
});

test("a chain of another network is not taken for this one", async () => {
  const at = join(folder, "other");
  await (await startChain({ folder: at, networkId: 8 })).close();
  await assert.rejects(startChain({ folder: at }), { code: "bad_configuration", message: /network 8/ });
});

test("a chain that cannot be written says so and ends all the same", async (t) => {
  const at = join(folder, "a-file");
  writeFileSync(at, "");
  await assert.rejects(startChain({ folder: at }), { code: "storage_failed" });
  const at2 = join(folder, "becomes-a-file");
  const chain = await started(t, { folder: at2 });
  rmSync(at2, { recursive: true, force: true });
  writeFileSync(at2, "");
  await assert.rejects(chain.save(), { code: "storage_failed" });
  await assert.rejects(chain.close(), { code: "storage_failed" });
  await assert.rejects(fetch(chain.endpoint));
});

test("what was accepted but not executed when a chain was killed is gone, as it is on any chain", async (t) => {
  const at = join(folder, "killed");
  const { chain } = await funded({ blocks: "by-hand", folder: at });
  t.after(() => chain.close());
  await chain.save();
  const saved = readFileSync(join(at, "chain.saved"), "utf8");
  const boc = Buffer.from(transferBoc(0, coinsFor(STRANGER, 5n))).toString("base64");
  await fetch(chain.endpoint, {
    method: "POST",
    body: JSON.stringify({ method: "sendBoc", params: { boc }, id: "1" }),
  });
  await chain.close();
  writeFileSync(join(at, "chain.saved"), saved);
  const again = await started(t, { blocks: "by-hand", folder: at });
  await again.settle();
  assert.equal(await new TonClient({ endpoint: again.endpoint }).getBalance(STRANGER), 0n);
});
