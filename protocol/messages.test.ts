import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { hasCode } from "./failure.fake.ts";
import { Failure } from "./failure.ts";
import {
  MAX_CONTROL_BYTES,
  parseClientToGateway,
  parseGatewayToClient,
  parseGatewayToWorker,
  parseWorkerToGateway,
  type ClientToGateway,
  type GatewayToClient,
  type GatewayToWorker,
  type WorkerToGateway,
} from "./messages.ts";
import { pick, seededRandom } from "./parties.fake.ts";
import { stringify } from "./strict-json.ts";

const KEY = new Uint8Array(32).fill(1);
const SIGNATURE = new Uint8Array(64).fill(2);
const HASH = "ab".repeat(32);
const ADDRESS = `0:${HASH}`;
const PRICE = { prompt: 100n, cached: 10n, completion: 400n };
const VOUCHER = { boc: new Uint8Array(105), signature: SIGNATURE };
const COUNTERSIGNED = { ...VOUCHER, gatewaySignature: SIGNATURE };
const RECEIPT = { reservationId: "r1", receipt: new Uint8Array(178), signature: SIGNATURE };

const LOGIN = { type: "login", protocol: 1, key: KEY, address: "", time: 1_700_000_000, signature: SIGNATURE } as const;
const HEARTBEAT = { type: "heartbeat" } as const;
const CLOSE = { type: "close", routeId: 1, code: "client_too_slow" } as const;
const CHALLENGE = {
  type: "challenge",
  protocol: { min: 1, max: 1 },
  gatewayKey: KEY,
  nonce: new Uint8Array(32),
  networkId: -239,
  time: 1_700_000_000,
} as const;
const DRAIN = { type: "drain" as const, until: 1_700_000_000, elsewhere: ["wss://gateway.example"] };
const ERROR = { type: "error", code: "rate_limited", id: "1", retryAfterMs: 1000 } as const;
const RESERVE = {
  type: "reserve",
  id: "1",
  model: "practice",
  manifestRoot: HASH,
  maxPromptBytes: 1000,
  maxCompletionTokens: 64,
  maxPrice: PRICE,
  minTier: "software",
  candidates: 2,
  preferWorker: HASH,
  continues: "r0",
} as const;
const OWNER_PROOF = {
  address: ADDRESS,
  stateInit: new Uint8Array(200),
  domain: "app.example",
  timestamp: 1,
  signature: SIGNATURE,
};

const CLIENT_TO_GATEWAY: readonly ClientToGateway[] = [
  { ...LOGIN, address: ADDRESS },
  { ...LOGIN, address: ADDRESS, countersigned: COUNTERSIGNED },
  RESERVE,
  { type: "release", reservationId: "r1" },
  { type: "hello", id: "2", reservationId: "r1", workerId: HASH },
  { type: "open", id: "3", reservationId: "r1", workerId: HASH, sessionId: "cd".repeat(16), streamId: 1 },
  { type: "countersign", total: 2n ** 120n - 1n, signature: SIGNATURE },
  { type: "dispute", receiptHash: HASH, promptTokens: 0, completionTokens: 2, signature: SIGNATURE },
  CLOSE,
  HEARTBEAT,
];

const GATEWAY_TO_CLIENT: readonly GatewayToClient[] = [
  CHALLENGE,
  { type: "welcome", feeBps: 500, countersigned: COUNTERSIGNED },
  { type: "welcome", feeBps: 0, countersigned: null },
  ERROR,
  { type: "error", code: "internal" },
  {
    type: "reserved",
    id: "1",
    reservationId: "r1",
    feeBps: 500,
    holdNanoton: 2394n,
    expiresAt: 1_700_000_030,
    routeId: 12,
    candidates: [{ workerId: HASH, evidenceHash: HASH, offer: new Uint8Array(300), offerSignature: SIGNATURE }],
  },
  { type: "refused", id: "1", code: "tier_too_low", tiersOffered: { software: 3, tpm: 0, tee: 0 }, lowestPrice: PRICE },
  { type: "refused", id: "1", code: "no_worker", tiersOffered: { software: 0, tpm: 0, tee: 0 } },
  { type: "route", id: "2", routeId: Number.MAX_SAFE_INTEGER },
  { type: "charge", receipts: [RECEIPT, RECEIPT], voucher: VOUCHER },
  { type: "charge", receipts: [RECEIPT], voucher: null },
  CLOSE,
  DRAIN,
  HEARTBEAT,
];

const WORKER_TO_GATEWAY: readonly WorkerToGateway[] = [
  { ...LOGIN, ownerProof: OWNER_PROOF, voucher: VOUCHER },
  { type: "offer", id: "1", offer: new Uint8Array(300), offerSignature: SIGNATURE, evidenceHash: HASH, slots: 4 },
  { type: "withdraw_offer", manifestRoot: HASH },
  { type: "receipt", ...RECEIPT },
  { type: "voucher_ack", total: 0n },
  { type: "redeem_request", id: "3", total: 5n, maxDeduction: 1n, signature: SIGNATURE },
  CLOSE,
  HEARTBEAT,
];

const GATEWAY_TO_WORKER: readonly GatewayToWorker[] = [
  CHALLENGE,
  { type: "welcome", feeBps: 500, ownerNamed: true, voucher: VOUCHER },
  ERROR,
  { type: "offer_accepted", id: "1" },
  { type: "route", kind: "hello", routeId: 1, reservationId: "r1" },
  {
    type: "route",
    kind: "stream",
    routeId: 2,
    reservationId: "r1",
    sessionId: "cd".repeat(16),
    streamId: 1,
    manifestRoot: HASH,
    offerHash: HASH,
    maxPromptBytes: 1000,
    maxCompletionTokens: 64,
  },
  { type: "voucher", ...VOUCHER },
  { type: "redeeming", id: "3", total: 9n, deduction: 1n },
  { type: "possession", routeId: 3, manifestRoot: HASH, nonce: KEY, leaves: 31 },
  { type: "reasons", counts: { reason_price: 4 } },
  CLOSE,
  DRAIN,
  HEARTBEAT,
];

const LINKS = [
  { name: "client to gateway", parse: parseClientToGateway as (text: string) => unknown, messages: CLIENT_TO_GATEWAY },
  { name: "gateway to client", parse: parseGatewayToClient as (text: string) => unknown, messages: GATEWAY_TO_CLIENT },
  { name: "worker to gateway", parse: parseWorkerToGateway as (text: string) => unknown, messages: WORKER_TO_GATEWAY },
  { name: "gateway to worker", parse: parseGatewayToWorker as (text: string) => unknown, messages: GATEWAY_TO_WORKER },
];

for (const { name, parse, messages } of LINKS) {
  test(`${name}: every message comes back as it was`, () => {
    for (const message of messages) assert.deepEqual(parse(stringify(message)), message, message.type);
  });

  test(`${name}: a key too many, too few or of another type is refused`, () => {
    for (const message of messages) {
      const fields = JSON.parse(stringify(message)) as Record<string, unknown>;
      assert.throws(
        () => parse(JSON.stringify({ ...fields, extra: 1 })),
        hasCode("bad_message"),
        `${message.type} with more`,
      );
      for (const key of Object.keys(fields)) {
        for (const value of [true, {}, [], null, -1, 1e300, 0.5, "", "\u0000", ["x"]]) {
          const changed = { ...fields, [key]: value };
          if (JSON.stringify(changed) === JSON.stringify(fields)) continue;
          assert.ok(isRefusedOrDifferent(parse, changed, message), `${message.type}.${key} = ${JSON.stringify(value)}`);
        }
        const { [key]: _, ...rest } = fields;
        assert.ok(isRefusedOrDifferent(parse, rest, message), `${message.type} without ${key}`);
      }
    }
  });

  test(`${name}: what is no message is bad_message`, () => {
    const nothing = [
      "",
      " ",
      "null",
      "1",
      '"heartbeat"',
      "[]",
      "{}",
      '{"type":null}',
      '{"type":"nope"}',
      '{"type":"__proto__"}',
    ];
    const almost = [
      '{"type":"heartbeat"',
      '{"type":"heartbeat"}}',
      '{"type":"heartbeat","type":"heartbeat"}',
      "heartbeat",
      "\u0000",
    ];
    for (const text of [...nothing, ...almost]) assert.throws(() => parse(text), hasCode("bad_message"), text);
  });

  test(`${name}: a message beyond 64 KiB is refused unread, ten megabytes too`, () => {
    const padding = (length: number): string => `{"type":"heartbeat"}${" ".repeat(length - 20)}`;
    assert.deepEqual(parse(padding(MAX_CONTROL_BYTES)), HEARTBEAT);
    for (const length of [MAX_CONTROL_BYTES + 1, 10_000_000])
      assert.throws(() => parse(padding(length)), hasCode("bad_message", /long/));
    // Counted in bytes of UTF-8, as the wire has them, not in UTF-16 units.
    assert.throws(() => parse(`"${"ж".repeat(MAX_CONTROL_BYTES / 2)}"`), hasCode("bad_message", /long/));
  });

  test(`${name}: text changed at random is refused or says something else, and never crashes`, () => {
    const random = seededRandom(41);
    for (const message of messages) {
      const text = stringify(message);
      for (let i = 0; i < 200; i++) {
        const at = pick(random, text.length);
        const changed = text.slice(0, at) + String.fromCharCode(pick(random, 128)) + text.slice(at + (i % 2));
        try {
          parse(changed);
        } catch (error) {
          assert.ok(error instanceof Failure && error.code === "bad_message");
        }
      }
    }
  });
}

test("the specification lists every message with its fields, on its own link", async () => {
  const specification = await readFile(new URL("README.md", import.meta.url), "utf8");
  for (const { name, messages } of LINKS) {
    const [, table = ""] = specification.toLowerCase().split(`### ${name}\n`);
    const rows = (table.split(/\n##+ /)[0] ?? "").split("\n").filter((line) => line.startsWith("| `"));
    const described = (type: string): string => rows.filter((row) => row.startsWith(`| \`${type}\``)).join(" ");
    for (const { type, ...fields } of messages)
      for (const field of Object.keys(fields))
        assert.match(described(type), new RegExp(`\\b${field}\\b`, "i"), `${name}: ${type}`);
    const types = new Set(messages.map((message) => message.type as string));
    assert.deepEqual(new Set(rows.map((row) => row.split("`")[1])), types, name);
  }
});

test("a message of another link is refused: a client cannot speak as a gateway", () => {
  for (const { name, parse, messages } of LINKS)
    for (const other of LINKS) {
      if (other.name === name) continue;
      for (const message of other.messages) {
        const text = stringify(message);
        const isKnownHere = messages.some((ours) => stringify(ours) === text);
        if (!isKnownHere && !isShared(name, other.name, message.type))
          assert.throws(() => parse(text), hasCode("bad_message"), `${name}: ${text}`);
      }
    }
});

test("amounts are decimal text, and never negative, fractional or beyond 120 bits", () => {
  const total = (value: unknown): string => JSON.stringify({ type: "voucher_ack", total: value });
  for (const value of [0, 1, -1, "-1", "1.5", "01", "1e3", "", (2n ** 120n).toString(), "9".repeat(10_000), null])
    assert.throws(() => parseWorkerToGateway(total(value)), hasCode("bad_message"), String(value).slice(0, 20));
});

test("bounds of a reservation are bounds", () => {
  const fields = JSON.parse(stringify(RESERVE)) as Record<string, unknown>;
  for (const [key, values] of Object.entries({
    maxPromptBytes: [0, 16_777_217],
    maxCompletionTokens: [0, 1_000_001],
    candidates: [0, 9],
    minTier: ["secure", "TEE"],
    manifestRoot: [HASH.toUpperCase(), HASH.slice(1)],
    id: ["", "x".repeat(65)],
    model: ["x".repeat(201)],
    maxPrice: [
      { ...PRICE, cached: "101", prompt: "100", completion: "1" },
      { prompt: "1", completion: "1" },
    ],
  }))
    for (const value of values as readonly unknown[])
      assert.throws(
        () => parseClientToGateway(stringify({ ...fields, [key]: value })),
        hasCode("bad_message"),
        `${key} ${String(value)}`,
      );
});

test("an address is raw, in workchain 0, lowercase, or empty", () => {
  for (const address of [`-1:${HASH}`, `0:${HASH.toUpperCase()}`, `0:${HASH}0`, "EQ", ` ${ADDRESS}`, `${ADDRESS}\n`])
    assert.throws(() => parseWorkerToGateway(stringify({ ...LOGIN, address })), hasCode("bad_message"), address);
});

test("a login shows what its role has: a worker a voucher and an owner's proof, a client what it countersigned", () => {
  for (const shown of [{ ownerProof: OWNER_PROOF }, { voucher: VOUCHER }])
    assert.throws(() => parseClientToGateway(stringify({ ...LOGIN, ...shown })), hasCode("bad_message"));
  for (const shown of [{ countersigned: COUNTERSIGNED }, { voucher: COUNTERSIGNED }])
    assert.throws(() => parseWorkerToGateway(stringify({ ...LOGIN, ...shown })), hasCode("bad_message"));
  assert.throws(() => parseClientToGateway(stringify({ ...LOGIN, countersigned: VOUCHER })), hasCode("bad_message"));
  assert.throws(() => parseClientToGateway(stringify({ ...LOGIN, countersigned: null })), hasCode("bad_message"));
});

test("an owner's proof names an owner", () => {
  const ownerProof = { ...OWNER_PROOF, address: "" };
  assert.throws(() => parseWorkerToGateway(stringify({ ...LOGIN, ownerProof })), hasCode("bad_message"));
});

test("a refusal says which field is wrong, and nothing of its value", () => {
  const route = { type: "route", kind: "stream", routeId: 2, reservationId: "r1", sessionId: "short" };
  assert.throws(() => parseGatewayToWorker(JSON.stringify(route)), hasCode("bad_message", /sessionId/));
  assert.throws(
    () => parseGatewayToWorker(JSON.stringify({ ...route, kind: "other" })),
    hasCode("bad_message", /kind/),
  );
  assert.throws(() => parseClientToGateway('{"type":"prompt text"}'), hasCode("bad_message", /type/));
});

/** Whether the text is refused, or read as something that is not the original. */
function isRefusedOrDifferent(parse: (text: string) => unknown, fields: object, original: object): boolean {
  try {
    return stringify(parse(JSON.stringify(fields))) !== stringify(original);
  } catch (error) {
    return error instanceof Failure && error.code === "bad_message";
  }
}

/** Messages that two links have in common by design. */
function isShared(one: string, other: string, type: string): boolean {
  const common = ["close", "heartbeat"];
  if (one.startsWith("gateway") && other.startsWith("gateway")) common.push("challenge", "error", "drain");
  if (!one.startsWith("gateway") && !other.startsWith("gateway")) common.push("login");
  return common.includes(type);
}
