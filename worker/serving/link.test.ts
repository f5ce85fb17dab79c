import assert from "node:assert/strict";
import { test } from "node:test";
import {
  parseWorkerToGateway,
  stringify,
  type GatewayToWorker,
  type MessageOf,
  type SignedVoucher,
} from "../../protocol/index.ts";
import { fakeClock } from "./clock.fake.ts";
import { identityOf } from "./identity.ts";
import { createLink } from "./link.ts";
import { reconnectDelayMs } from "./reconnect.ts";
import type { SocketEvents } from "./socket.ts";

const KEY = new Uint8Array(32).fill(3);

function linked({
  random = 0.999,
  newestVoucher = () => undefined,
}: { random?: number; newestVoucher?: () => SignedVoucher | undefined } = {}) {
  const clock = fakeClock();
  const sockets: (SocketEvents & { sent: string[]; closed: boolean })[] = [];
  const events = { ready: 0, down: 0 };
  const link = createLink(
    {
      gateway: { url: "https://gateway.example", key: KEY },
      identity: identityOf(new Uint8Array(32).fill(4)),
      owner: undefined,
      networkId: -3,
      newestVoucher,
      clock,
      random: () => random,
      dial: (_url, handlers) => {
        const socket = { ...handlers, sent: [] as string[], closed: false };
        sockets.push(socket);
        return {
          send: (data) => socket.sent.push(String(data)),
          bufferedBytes: 0,
          close: () => {
            socket.closed = true;
            handlers.onClose("closed by us");
          },
        };
      },
    },
    {
      onMessage: () => undefined,
      onReady: () => events.ready++,
      onBytes: () => undefined,
      onDown: () => events.down++,
      onChange: () => undefined,
    },
  );
  link.open();
  const current = () => {
    const socket = sockets.at(-1);
    if (socket === undefined) throw new RangeError("nothing was dialled");
    return socket;
  };
  const say = (message: GatewayToWorker): void => current().onText(stringify(message));
  const challenge = (overrides: Partial<MessageOf<GatewayToWorker, "challenge">> = {}): void => {
    const time = Math.floor(clock.now() / 1000);
    const nonce = new Uint8Array(32);
    say({ type: "challenge", protocol: { min: 1, max: 1 }, gatewayKey: KEY, nonce, networkId: -3, time, ...overrides });
  };
  const logIn = (): void => {
    challenge();
    say({ type: "welcome", feeBps: 500, ownerNamed: true, voucher: null });
  };
  return { clock, link, sockets, events, current, say, challenge, logIn };
}

test("a heartbeat goes out every ten seconds, and a gateway silent for 25 s is gone", () => {
  const { clock, link, current, events, logIn, say } = linked();
  logIn();
  for (let at = 0; at < 6; at++) {
    clock.advance(10_000);
    say({ type: "heartbeat" });
  }
  assert.equal(current().sent.filter((text) => text.includes("heartbeat")).length, 6);
  clock.advance(20_000);
  assert.equal(link.state().phase, "ready");
  clock.advance(5000);
  assert.equal(link.state().phase, "waiting");
  assert.equal(events.down, 1);
});

test("a login that is not answered within ten seconds is given up", () => {
  const { clock, link } = linked();
  clock.advance(10_000);
  const state = link.state();
  assert.equal(state.phase === "waiting" && state.code, "gateway_unreachable");
});

test("a link that never worked waits longer and longer, up to half a minute", () => {
  const { clock, sockets, current, link } = linked();
  const delays = Array.from({ length: 9 }, () => {
    current().onClose("refused");
    const state = link.state();
    const delay = state.phase === "waiting" ? state.retryAt - clock.now() : 0;
    const before = sockets.length;
    clock.advance(delay + 1);
    assert.equal(sockets.length, before + 1);
    return Math.round(delay);
  });
  assert.deepEqual(delays, [500, 999, 1998, 3996, 7992, 15984, 29970, 29970, 29970]);
});

test("a link that served less than ten minutes ago is tried at least every three seconds", () => {
  const { clock, current, link, logIn } = linked();
  logIn();
  for (let at = 0; at < 10; at++) {
    current().onClose("refused");
    const state = link.state();
    assert.ok(state.phase === "waiting" && state.retryAt - clock.now() <= 3000);
    clock.advance(3000);
  }
});

test("reconnecting is jittered over the whole delay, and waits as long as the gateway asks", () => {
  const facts = { failures: 3, servedAt: undefined, now: 0, retryAfterMs: undefined };
  assert.equal(
    reconnectDelayMs(facts, () => 0),
    0,
  );
  assert.equal(
    reconnectDelayMs(facts, () => 0.5),
    2000,
  );
  assert.equal(
    reconnectDelayMs({ ...facts, retryAfterMs: 9000 }, () => 0.5),
    9000,
  );
});

test("nothing is sent on a link that is not logged in", () => {
  const { link, current } = linked();
  assert.equal(link.send({ type: "heartbeat" }), false);
  assert.equal(link.sendBytes(1, new Uint8Array(1)), false);
  assert.deepEqual(current().sent, []);
});

test("a second challenge or a welcome out of turn ends the link", () => {
  for (const [first, second] of [
    ["challenge", "challenge"],
    ["login", "challenge"],
    ["welcome", ""],
  ]) {
    const { link, challenge, logIn, say } = linked();
    if (first === "challenge") challenge();
    if (first === "login") logIn();
    if (first === "welcome") say({ type: "welcome", feeBps: 0, ownerNamed: false, voucher: null });
    if (second === "challenge") challenge();
    const state = link.state();
    assert.equal(state.phase === "waiting" && state.code, "bad_login");
  }
});

test("the login is signed for the gateway that was dialled, whatever the nonce is the hash of", () => {
  const { current, challenge } = linked();
  const voucherHash = new Uint8Array(32).fill(0x99);
  challenge({ nonce: voucherHash });
  const login = JSON.parse(current().sent[0] ?? "{}") as { signature: string };
  const overNonce = identityOf(new Uint8Array(32).fill(4)).sign(voucherHash);
  assert.notEqual(login.signature, Buffer.from(overNonce).toString("base64url"));
});

test("how far this computer's clock is off is known from the challenge", () => {
  const { clock, link, challenge } = linked();
  challenge({ time: Math.floor(clock.now() / 1000) - 600 });
  assert.equal(link.clockAheadMs(), 600_000);
});

test("late words of an abandoned socket change nothing", () => {
  const { clock, sockets, events, link } = linked();
  clock.advance(10_000);
  clock.advance(1000);
  sockets[0]?.onText('{"type":"heartbeat"}');
  sockets[0]?.onClose("late");
  assert.equal(link.state().phase, "connecting");
  assert.equal(events.down, 0);
});

test("each login shows the newest voucher there is by then", () => {
  const kept: SignedVoucher[] = [];
  const { clock, challenge, current } = linked({ newestVoucher: () => kept.at(-1) });
  const shown = (): SignedVoucher | undefined => {
    const login = parseWorkerToGateway(current().sent[0] ?? "");
    return login.type === "login" ? login.voucher : assert.fail(login.type);
  };
  challenge();
  assert.equal(shown(), undefined);
  kept.push({ boc: new Uint8Array(100), signature: new Uint8Array(64) });
  current().onClose("cut");
  clock.advance(60_000);
  challenge();
  assert.deepEqual(shown(), kept[0]);
});

test("a closed link is not dialled again", () => {
  const { clock, link, sockets, logIn, events } = linked();
  logIn();
  link.close();
  clock.advance(3_600_000);
  assert.equal(sockets.length, 1);
  assert.deepEqual([link.state().phase, events.down], ["closed", 1]);
});

for (const url of ["not a url", "ftp://127.0.0.1", "http://gateway.example", "ws://192.168.1.5:80"]) {
  test(`${url} is refused as the address of a gateway`, () => {
    const never = () => assert.fail("dialled");
    const identity = identityOf(new Uint8Array(32));
    const options = { identity, owner: undefined, networkId: -3, newestVoucher: never, clock: fakeClock() };
    const events = { onMessage: never, onReady: never, onBytes: never, onDown: never, onChange: never };
    assert.throws(() => createLink({ ...options, gateway: { url, key: KEY }, random: () => 0, dial: never }, events), {
      code: "bad_configuration",
    });
  });
}
