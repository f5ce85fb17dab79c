import assert from "node:assert/strict";
import test from "node:test";
import { createGuard, type Guard } from "./guard.ts";

const WALLET = "aa".repeat(32);
const STRANGER = "bb".repeat(32);
const DEVICE = { appName: "test-wallet", features: ["SendTransaction"] };
const ADDRESS = { name: "ton_addr", address: `0:${"11".repeat(32)}`, network: "7" };
const SECRET = "keypair secretkey: 1,2,3";

const connect = (id = 1) => ({ event: "connect", id, payload: { items: [ADDRESS], device: DEVICE } });
const disconnect = (id = 2) => ({ event: "disconnect", id, payload: {} });
const RESPONSE = { id: "0", result: "te6cc" };

/** Sealing is only Base64 here: what opens it is an argument. */
function sealed(message: unknown, from = WALLET): string {
  return JSON.stringify({ from, message: Buffer.from(JSON.stringify(message)).toString("base64") });
}

function guard(wallet?: string): Guard {
  return createGuard({
    wallet,
    open(bytes) {
      const text = Buffer.from(bytes).toString("utf8");
      if (text === "") throw new Error(SECRET);
      return text;
    },
  });
}

const typesOf = (admitted: ReturnType<Guard["admit"]>): readonly string[] => admitted.map(({ type }) => type);

test("a greeting, answers and a goodbye pass, in this order", () => {
  const door = guard();
  const passed = [connect(), RESPONSE, { id: 1, error: { code: 300, message: "no" } }, disconnect()].map((message) =>
    door.admit(sealed(message)),
  );
  assert.deepEqual(passed.map(typesOf), [["connect"], ["response"], ["response"], ["disconnect"]]);
  assert.deepEqual(passed[0], [{ type: "connect", text: sealed(connect()) }]);
});

test("before a greeting nothing else passes, and after a goodbye nothing at all", () => {
  const door = guard();
  assert.deepEqual([...door.admit(sealed(RESPONSE)), ...door.admit(sealed(disconnect(0)))], []);
  door.admit(sealed(connect(1)));
  door.admit(sealed(disconnect(2)));
  assert.deepEqual([...door.admit(sealed(connect(3))), ...door.admit(sealed(RESPONSE))], []);
});

test("after a greeting only the wallet that sent it is heard, and it greets once", () => {
  const door = guard();
  door.admit(sealed(connect()));
  for (const message of [connect(9), disconnect(9), RESPONSE])
    assert.deepEqual(door.admit(sealed(message, STRANGER)), []);
  assert.deepEqual(door.admit(sealed(connect(9))), []);
  assert.deepEqual(typesOf(door.admit(sealed(disconnect(9)))), ["disconnect"]);
});

test("a session that was agreed before a restart belongs to its wallet from the start", () => {
  const door = guard(WALLET);
  assert.deepEqual(door.admit(sealed(connect(), STRANGER)), []);
  assert.deepEqual(door.admit(sealed(connect())), []);
  assert.deepEqual(typesOf(door.admit(sealed(RESPONSE))), ["response"]);
});

test("a goodbye that overtakes its greeting follows it; an older one does not", () => {
  for (const [goodbye, expected] of [
    [disconnect(2), ["connect", "disconnect"]],
    [disconnect(0), ["connect"]],
  ] as const) {
    const door = guard();
    assert.deepEqual(door.admit(sealed(goodbye)), []);
    assert.deepEqual(typesOf(door.admit(sealed(connect(1)))), expected);
  }
});

test("a stranger's early goodbye does not end the wallet's session", () => {
  const door = guard();
  door.admit(sealed(disconnect(100), STRANGER));
  assert.deepEqual(typesOf(door.admit(sealed(connect()))), ["connect"]);
  assert.deepEqual(typesOf(door.admit(sealed(RESPONSE))), ["response"]);
});

test("a refusal is told by its code, and never reaches the SDK", () => {
  const door = guard();
  const refusal = { event: "connect_error", id: 1, payload: { code: 2, message: "no manifest" } };
  assert.deepEqual(door.admit(sealed(refusal)), [{ type: "connect-error", code: 2 }]);
  assert.deepEqual(typesOf(door.admit(sealed(connect(2)))), ["connect"]);
  assert.deepEqual(door.admit(sealed(refusal)), []);
});

const NOT_FOR_US: readonly string[] = [
  "",
  "heartbeat",
  "null",
  "[]",
  JSON.stringify({ from: WALLET }),
  JSON.stringify({ from: "aa", message: "e30=" }),
  JSON.stringify({ from: WALLET, message: 7 }),
  JSON.stringify({ from: WALLET, message: "" }),
  JSON.stringify({ from: WALLET, message: "A".repeat(131_073) }),
  ...[
    null,
    7,
    [],
    {},
    { id: "0" },
    { id: null, result: "x" },
    { event: "other", id: 1 },
    { event: "other", id: 1, result: "x" },
    { ...connect(), id: -1 },
    { ...connect(), id: "1" },
    { ...connect(), payload: null },
    { ...connect(), payload: { items: [], device: DEVICE } },
    { ...connect(), payload: { items: [null], device: DEVICE } },
    { ...connect(), payload: { items: [ADDRESS] } },
    { ...connect(), payload: { items: [ADDRESS], device: { appName: 1, features: [] } } },
    { event: "connect_error", id: 1, payload: { code: "300" } },
  ].map((message) => sealed(message)),
];

test("what is not a wallet's message is passed over, whatever it is, and changes nothing", () => {
  const door = guard();
  for (const text of NOT_FOR_US) assert.deepEqual(door.admit(text), [], text.slice(0, 100));
  assert.deepEqual(typesOf(door.admit(sealed(connect()))), ["connect"]);
});
