import assert from "node:assert/strict";
import { request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { beginCell, Cell, external, storeMessage, toNano } from "@ton/core";
import type { DevnetChain } from "./chain.ts";
import { coinsFor, funded, STRANGER, transferBoc, WALLET } from "./chain.fake.ts";

let chain: DevnetChain;

before(async () => {
  // A bug of the chain ends the test that brought it about.
  ({ chain } = await funded({ blocks: "at-once" }));
});
after(() => chain.close());

interface Answered {
  readonly status: number;
  readonly ok: boolean;
  readonly result?: unknown;
  readonly error?: string;
}

async function answered(response: Response): Promise<Answered> {
  return { status: response.status, ...((await response.json()) as Omit<Answered, "status">) };
}

/** A body as it is, to the JSON-RPC address. */
async function post(body: string): Promise<Answered> {
  return answered(await fetch(chain.endpoint, { method: "POST", body }));
}

function ask(method: unknown, params?: unknown): Promise<Answered> {
  return post(JSON.stringify({ id: "1", jsonrpc: "2.0", method, params }));
}

function get(path: string): Promise<Answered> {
  return fetch(new URL(path, chain.endpoint)).then(answered);
}

/** With headers that fetch would not send. */
function withHost(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const url = new URL("/api/v2/getMasterchainInfo", chain.endpoint);
    request(url, { headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on("error", reject)
      .end();
  });
}

test("a question can be a URL, as at toncenter", async () => {
  const { result } = await get(`/api/v2/getAddressBalance?address=${WALLET}`);
  assert.equal(result, toNano(100).toString());
  const block = await get("/api/v2/getBlockHeader?workchain=-1&shard=-9223372036854775808&seqno=1");
  assert.equal((block.result as { id: { seqno: number } }).id.seqno, 1);
  const posted = await answered(
    await fetch(new URL("/api/v2/getAddressState", chain.endpoint), {
      method: "POST",
      body: JSON.stringify({ address: WALLET }),
    }),
  );
  assert.equal(posted.result, "uninitialized");
});

test("only who asks by the node's own address is answered", async () => {
  const { port } = new URL(chain.endpoint);
  assert.equal(await withHost(`127.0.0.1:${port}`), 200);
  assert.equal(await withHost(`localhost:${port}`), 200);
  for (const host of ["evil.example", `evil.example:${port}`, `127.0.0.1.evil.example:${port}`, "127.0.0.1"]) {
    assert.equal(await withHost(host), 403);
  }
});

test("nobody but this machine is listened to", () => {
  assert.equal(new URL(chain.endpoint).hostname, "127.0.0.1");
});

test("coins are given to whoever asks", async () => {
  const { result } = await get(`/faucet?address=${STRANGER.toString()}&amount=0.5`);
  assert.deepEqual(result, { address: STRANGER.toRawString(), nanoton: "500000000" });
  assert.equal((await get(`/api/v2/getAddressBalance?address=${STRANGER.toRawString()}`)).result, "500000000");
  for (const amount of ["0", "-1", "x", "1e9", "9999999999999", ""]) {
    assert.equal((await get(`/faucet?address=${WALLET}&amount=${amount}`)).status, 422, amount);
  }
  assert.equal((await get("/faucet")).status, 422);
  assert.equal((await get("/faucet?address=me")).status, 416);
});

const junk = Buffer.from("not a bag of cells").toString("base64");
const masterchain = "Ef8zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM0vF";
const shard = "-9223372036854775808";

/** Questions that make no sense, and what a node says to them. */
const REFUSED: readonly (readonly [status: number, method: unknown, params?: unknown])[] = [
  [422, "noSuchMethod", {}],
  [422, "toString", {}],
  [422, "__proto__", {}],
  [422, 5, {}],
  [422, undefined, {}],
  [422, "getAddressInformation", []],
  [422, "getAddressInformation", "x"],
  [422, "getAddressInformation", {}],
  [422, "getAddressInformation", { address: 5 }],
  [422, "getAddressInformation", { address: { toString: 1 } }],
  [416, "getAddressInformation", { address: "" }],
  [416, "getAddressInformation", { address: "0:12" }],
  [416, "getAddressInformation", { address: masterchain }],
  [416, "getAddressInformation", { address: `0:${"g".repeat(64)}` }],
  [416, "getTransactions", { address: "x".repeat(100_000) }],
  [422, "getTransactions", { address: WALLET, limit: 0 }],
  [422, "getTransactions", { address: WALLET, limit: 101 }],
  [422, "getTransactions", { address: WALLET, limit: "ten" }],
  [422, "getTransactions", { address: WALLET, limit: 1.5 }],
  [422, "getTransactions", { address: WALLET, lt: "5", hash: "short" }],
  [500, "getTransactions", { address: WALLET, lt: "5", hash: "ab".repeat(32) }],
  [422, "runGetMethod", { address: WALLET }],
  [422, "runGetMethod", { address: WALLET, method: "" }],
  [422, "runGetMethod", { address: WALLET, method: "x".repeat(257) }],
  [422, "runGetMethod", { address: WALLET, method: 1e300 }],
  [422, "runGetMethod", { address: WALLET, method: "seqno", stack: "none" }],
  [422, "runGetMethod", { address: WALLET, method: "seqno", stack: [5] }],
  [422, "runGetMethod", { address: WALLET, method: "seqno", stack: [["num", {}]] }],
  [422, "runGetMethod", { address: WALLET, method: "seqno", stack: [["num", `0x${"f".repeat(65)}`]] }],
  [422, "runGetMethod", { address: WALLET, method: "seqno", stack: [["tvm.Tuple", "x"]] }],
  [422, "runGetMethod", { address: WALLET, method: "seqno", stack: Array.from({ length: 256 }, () => ["num", "1"]) }],
  [500, "runGetMethod", { address: WALLET, method: "seqno", stack: [["tvm.Cell", junk]] }],
  [422, "lookupBlock", { workchain: -1, shard }],
  [422, "lookupBlock", { workchain: 5, shard, seqno: 1 }],
  [422, "lookupBlock", { workchain: -1, shard: "4611686018427387904", seqno: 1 }],
  [500, "lookupBlock", { workchain: -1, shard, seqno: 99_999 }],
  [500, "lookupBlock", { workchain: -1, shard, seqno: 0 }],
  [500, "lookupBlock", { workchain: -1, shard, seqno: -5 }],
  [500, "lookupBlock", { workchain: -1, shard, unixtime: 1 }],
  [500, "getBlockHeader", { workchain: -1, shard, seqno: 1, root_hash: "ab".repeat(32) }],
  [500, "shards", { seqno: 99_999 }],
  [422, "shards", {}],
  [500, "getConfigParam", { config_id: 34 }],
  [422, "sendBoc", {}],
  [500, "sendBoc", { boc: "" }],
  [500, "sendBoc", { boc: junk }],
  [500, "sendBoc", { boc: Cell.EMPTY.toBoc().toString("base64") }],
  [422, "sendBoc", { boc: "A".repeat(200_000) }],
  [500, "estimateFee", { address: WALLET, body: junk }],
  [500, "estimateFee", { address: STRANGER.toRawString(), body: Cell.EMPTY.toBoc().toString("base64") }],
  [503, "tryLocateTx", { source: WALLET, destination: WALLET, created_lt: 5 }],
  [422, "tryLocateTx", { source: WALLET, destination: WALLET }],
];

for (const [status, method, params] of REFUSED) {
  test(`HTTP ${status} for ${String(method)} ${(params === undefined ? "" : JSON.stringify(params)).slice(0, 90)}`, async () => {
    const refusal = await ask(method, params);
    assert.equal(refusal.status, status, refusal.error);
    assert.equal(refusal.ok, false);
    assert.equal(typeof refusal.error, "string");
  });
}

test("a body that is no question is refused", async () => {
  for (const body of ["", "{", "null", "5", "[]", '"x"', "\u0000", "{}", "[".repeat(100_000)]) {
    assert.equal((await post(body)).status, 422, body.slice(0, 20));
  }
  assert.equal((await get("/api/v2/jsonRPC")).status, 405);
  assert.equal((await get("/")).status, 404);
  assert.equal((await get("/api/v2/../etc/passwd")).status, 404);
  assert.equal((await get("/api/v2/getMasterchainInfo/x")).status, 404);
  assert.equal((await answered(await fetch(chain.endpoint, { method: "PUT", body: "{}" }))).status, 405);
});

test("a body of more than a mebibyte is refused, and not kept", async () => {
  const outcome = await post(`{"method":"sendBoc","params":{"boc":"${"A".repeat(2_000_000)}"}}`).then(
    ({ status }) => status,
    () => 413, // the connection may be closed while the rest of the body is still being sent
  );
  assert.equal(outcome, 413);
});

test("what is not HTTP ends its own connection and nothing else", async () => {
  const port = Number(new URL(chain.endpoint).port);
  for (const bytes of [
    "\u0016\u0003\u0001",
    "GET\r\n\r\n",
    "GET // HTTP/1.1\r\nhost: x\r\n\r\n",
    "POST / HTTP/9.9\r\n\r\n",
  ]) {
    await new Promise<void>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
      socket.on("close", () => resolve()).on("error", () => undefined);
      socket.on("data", () => socket.end());
    });
  }
  assert.equal((await ask("getMasterchainInfo", {})).status, 200);
});

test("a message of cells without end is refused", async () => {
  let deep = beginCell().endCell();
  for (let depth = 0; depth < 900; depth++) deep = beginCell().storeRef(deep).endCell();
  const message = beginCell()
    .store(storeMessage(external({ to: STRANGER, body: deep })))
    .endCell();
  assert.equal((await ask("sendBoc", { boc: message.toBoc().toString("base64") })).status, 500);
});

test("chance finds no question that a node cannot answer or refuse", async () => {
  const methods = [
    "getMasterchainInfo",
    "lookupBlock",
    "getBlockHeader",
    "shards",
    "getBlockTransactions",
    "getConfigParam",
    "getAddressInformation",
    "getAddressBalance",
    "runGetMethod",
    "getTransactions",
    "tryLocateTx",
    "tryLocateSourceTx",
    "sendBoc",
    "sendBocReturnHash",
    "estimateFee",
    "packAddress",
    "faucet",
  ];
  const names =
    "address workchain shard seqno unixtime method stack boc limit lt hash to_lt source destination body amount config_id created_lt";
  const boc = Buffer.from(transferBoc(0, coinsFor(STRANGER, 1n))).toString("base64");
  const values: readonly unknown[] = [
    ...[null, true, 0, -1, 1, 7, 1e308, 2 ** 53, "", "0", "-1", "999999999999999999999", "NaN", [], {}, [["num", "1"]]],
    ...[[["tvm.Cell", boc]], [[]], WALLET, STRANGER.toString(), shard, "seqno", "get_public_key", boc, junk],
    ...[boc.slice(0, 60), "ab".repeat(32), "💥", "x".repeat(3_000), { a: { b: [] } }],
  ];
  const random = seeded(20_261_125);
  const pick = <Value>(list: readonly Value[]): Value => list[Math.floor(random() * list.length)] as Value;
  const statuses = new Map<number, number>();
  for (let round = 0; round < 600; round++) {
    const params = Object.fromEntries(
      names.split(" ").flatMap((name) => (random() < 0.5 ? [[name, pick(values)]] : [])),
    );
    const { status } = await ask(pick(methods), params);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  const known = new Set([200, 416, 422, 500, 503]);
  assert.ok(
    [...statuses.keys()].every((status) => known.has(status)),
    JSON.stringify([...statuses]),
  );
  assert.ok((statuses.get(200) ?? 0) > 20 && (statuses.get(422) ?? 0) > 100, JSON.stringify([...statuses]));
  assert.equal((await ask("getAddressBalance", { address: WALLET })).status, 200);
});

/** Mulberry32: enough for picking. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
