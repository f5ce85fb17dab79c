import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ABORT,
  chargeFor,
  DATA,
  ENC_BYTES,
  FIN,
  offerHashOf,
  sealedBytes,
  type ClientToGateway,
  type MessageOf,
} from "../protocol/index.ts";
import { OWNER, scene, type Scene } from "./gateway.fake.ts";
import {
  answer,
  ask,
  chargeVoucher,
  countersign,
  openStream,
  PRICE,
  refused,
  reserve,
  reserved,
  ROOT,
  sealedFrame,
  sendReceipt,
  serve,
  USAGE,
  type FakeClient,
  type FakeWorker,
} from "./peers.fake.ts";

const SESSION = "5e".repeat(16);

interface Cast {
  readonly stage: Scene;
  readonly worker: FakeWorker;
  readonly client: FakeClient;
}

async function cast(t: Parameters<typeof scene>[0], options: Parameters<typeof scene>[1] = {}): Promise<Cast> {
  const stage = await scene(t, options);
  const worker = await stage.worker();
  const client = await stage.client();
  return { stage, worker, client };
}

/** Keeps links alive over moved time. */
async function beat(...peers: readonly (FakeClient | FakeWorker)[]): Promise<void> {
  for (const peer of peers) peer.send({ type: "heartbeat" });
  await Promise.all(peers.map((peer) => peer.heard()));
}

function opening(
  reservationId: string,
  worker: FakeWorker,
  { id = "o", routeId }: { readonly id?: string; readonly routeId?: number } = {},
): MessageOf<ClientToGateway, "open"> {
  const open = { type: "open", id, reservationId, workerId: worker.workerId, sessionId: SESSION, streamId: 1 } as const;
  return routeId === undefined ? open : { ...open, routeId };
}

async function greet(
  { client, worker }: Cast,
  reservationId: string,
): Promise<{ clientRoute: number; workerRoute: number }> {
  client.send({ type: "hello", id: "h", reservationId, workerId: worker.workerId });
  const { routeId: clientRoute } = await client.next("route");
  const route = await worker.next("route");
  assert.equal(route.kind, "hello");
  assert.equal(route.reservationId, reservationId);
  return { clientRoute, workerRoute: route.routeId };
}

test("a hello and its answer pass unchanged, and the reservation is bound to that worker", async (t) => {
  const actors = await cast(t);
  const { client, worker } = actors;
  const { reservationId } = await reserved(client);
  const { clientRoute, workerRoute } = await greet(actors, reservationId);
  const [hello, welcome] = [new Uint8Array(145).fill(1), new Uint8Array(1345).fill(2)];
  client.frame(clientRoute, hello);
  assert.deepEqual(await worker.nextFrame(workerRoute), hello);
  worker.frame(workerRoute, welcome);
  assert.deepEqual(await client.nextFrame(clientRoute), welcome);
});

test("a bound reservation is not opened at another candidate", async (t) => {
  const actors = await cast(t);
  const { client, stage, worker } = actors;
  const other = await stage.worker();
  const { reservationId, candidates } = await reserved(client, { candidates: 2 });
  assert.equal(candidates.length, 2);
  const { clientRoute, workerRoute } = await greet(actors, reservationId);
  client.frame(clientRoute, new Uint8Array(145));
  await worker.nextFrame(workerRoute);
  client.send({ type: "open", id: "o", reservationId, workerId: other.workerId, sessionId: SESSION, streamId: 1 });
  assert.equal((await client.next("error")).code, "reservation_mismatch");
});

test("a worker that is busy at the hello sets the client free for the next candidate, and is not at fault", async (t) => {
  const actors = await cast(t);
  const { client, stage, worker } = actors;
  const other = await stage.worker();
  const { reservationId } = await reserved(client, { candidates: 2 });
  const { clientRoute, workerRoute } = await greet(actors, reservationId);
  client.frame(clientRoute, new Uint8Array(145));
  await worker.nextFrame(workerRoute);
  worker.send({ type: "close", routeId: workerRoute, code: "busy" });
  assert.deepEqual(await client.next("close"), { type: "close", routeId: clientRoute, code: "busy" });
  client.send({ type: "hello", id: "h2", reservationId, workerId: other.workerId });
  await client.next("route");
});

test("a worker that fills up between hello and open sets the reservation free for the next candidate", async (t) => {
  const actors = await cast(t);
  const { client, stage } = actors;
  const full = await stage.worker({ slots: 1 });
  const { reservationId, candidates } = await reserved(client, { id: "late", candidates: 2 });
  assert.equal(candidates.length, 2);
  client.send({ type: "hello", id: "h", reservationId, workerId: full.workerId });
  await client.next("route");
  const first = await reserved(client, { id: "early", candidates: 2 });
  const open = { type: "open" as const, workerId: full.workerId, sessionId: SESSION, streamId: 1 };
  client.send({ ...open, id: "o1", reservationId: first.reservationId });
  await client.next("route");

  client.send({ ...open, id: "o2", reservationId });

  assert.equal((await client.next("error")).code, "busy");
  client.send({ type: "hello", id: "h2", reservationId, workerId: actors.worker.workerId });
  await client.next("route", (one) => one.id === "h2");
});

test("frames right behind an open that names the reservation's route reach the worker, in order, and nothing is answered", async (t) => {
  const { client, worker } = await cast(t);
  const { reservationId, routeId } = await reserved(client);
  const [data, fin] = [sealedFrame(DATA, 200), sealedFrame(FIN)];

  client.send(opening(reservationId, worker, { routeId }));
  client.frame(routeId, data);
  client.frame(routeId, fin);

  const route = await worker.next("route");
  assert.deepEqual(await worker.nextFrame(route.routeId), data);
  assert.deepEqual(await worker.nextFrame(route.routeId), fin);
  worker.frame(route.routeId, data);
  assert.deepEqual(await client.nextFrame(routeId), data);
  assert.equal(client.received.filter(({ type }) => type === "route").length, 0);
});

test("a refused open takes its route with it: what was sent behind it is dropped, and the next open is given a new one", async (t) => {
  const { client, worker, stage } = await cast(t);
  const full = await stage.worker({ slots: 1 });
  const late = await reserved(client, { id: "late", candidates: 2 });
  const first = await reserved(client, { id: "early", candidates: 2 });
  client.send(opening(first.reservationId, full, { id: "o1", routeId: first.routeId }));
  await full.next("route");

  client.send(opening(late.reservationId, full, { id: "o2", routeId: late.routeId }));
  client.frame(late.routeId, sealedFrame(DATA, 200));
  assert.deepEqual(await client.next("error"), { type: "error", code: "busy", id: "o2" });
  client.send(opening(late.reservationId, worker, { id: "o3", routeId: late.routeId }));
  assert.deepEqual(await client.next("error"), { type: "error", code: "reservation_mismatch", id: "o3" });
  client.send(opening(late.reservationId, worker, { id: "o4" }));

  const { routeId } = await client.next("route");
  assert.notEqual(routeId, late.routeId);
  const fin = sealedFrame(FIN);
  client.frame(routeId, fin);
  assert.deepEqual(await worker.nextFrame((await worker.next("route")).routeId), fin);
});

test("a route that was kept for another reservation, or for none, opens nothing", async (t) => {
  const { client, worker } = await cast(t);
  const mine = await reserved(client, { id: "a" });
  const other = await reserved(client, { id: "b" });
  client.send(opening(mine.reservationId, worker, { id: "o1", routeId: other.routeId }));
  client.send(opening(other.reservationId, worker, { id: "o2", routeId: 999 }));
  assert.equal((await client.next("error", (one) => one.id === "o1")).code, "reservation_mismatch");
  assert.equal((await client.next("error", (one) => one.id === "o2")).code, "reservation_mismatch");
});

test("a worker that does not answer a hello within five seconds is given up", async (t) => {
  const actors = await cast(t);
  const { client, stage, worker } = actors;
  const { reservationId } = await reserved(client);
  const { clientRoute, workerRoute } = await greet(actors, reservationId);
  client.frame(clientRoute, new Uint8Array(145));
  await worker.nextFrame(workerRoute);
  stage.clock.advance(5001);
  assert.equal((await client.next("close")).code, "truncated");
  await worker.next("close");
});

test("20 hellos a second reach a worker, the next are rate_limited", async (t) => {
  const { client, worker } = await cast(t);
  const { reservationId } = await reserved(client);
  for (let i = 0; i < 25; i++) client.send({ type: "hello", id: `h${i}`, reservationId, workerId: worker.workerId });
  assert.equal((await client.next("error")).code, "rate_limited");
  assert.equal(client.received.filter(({ type }) => type === "route").length, 20);
});

test("frames pass unchanged and in order, both ways, each under its link's own route", async (t) => {
  const { client, worker } = await cast(t);
  const first = await openStream(client, worker, { id: "a" });
  const second = await openStream(client, worker, { id: "b" });
  assert.notEqual(first.clientRoute, second.clientRoute);
  const frames = Array.from({ length: 50 }, () => sealedFrame(DATA, 200));
  for (const frame of frames) {
    worker.frame(first.workerRoute, frame);
    worker.frame(second.workerRoute, frame);
  }
  for (const frame of frames) {
    assert.deepEqual(await client.nextFrame(first.clientRoute), frame);
    assert.deepEqual(await client.nextFrame(second.clientRoute), frame);
  }
  const up = sealedFrame(FIN);
  client.frame(first.clientRoute, up);
  assert.deepEqual(await worker.nextFrame(first.workerRoute), up);
});

test("the enc of a session's first stream passes and is no part of the request's hash", async (t) => {
  const { client, worker } = await cast(t);
  const stream = await openStream(client, worker);
  const enc = new Uint8Array(ENC_BYTES).fill(3);
  client.frame(stream.clientRoute, enc);
  assert.deepEqual(await worker.nextFrame(stream.workerRoute), enc);
  await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  await answer(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  sendReceipt(stream);
  await client.next("charge");
});

test("a worker is told the terms of a stream, and the client's route by its request", async (t) => {
  const { client, worker } = await cast(t);
  const { reservationId, candidates } = await reserved(client, { maxPromptBytes: 321, maxCompletionTokens: 12 });
  client.send({ type: "open", id: "mine", reservationId, workerId: worker.workerId, sessionId: SESSION, streamId: 7 });
  assert.equal((await client.next("route")).id, "mine");
  const route = await worker.next("route");
  assert.deepEqual(route, {
    type: "route",
    kind: "stream",
    routeId: 1,
    reservationId,
    sessionId: SESSION,
    streamId: 7,
    manifestRoot: ROOT,
    offerHash: offerHashOf(candidates[0]?.offer ?? new Uint8Array()),
    maxPromptBytes: 321,
    maxCompletionTokens: 12,
  });
});

const NOT_FRAMES: readonly (readonly [string, Uint8Array])[] = [
  ["too short", new Uint8Array(3)],
  ["of a length no frame has", new Uint8Array(100)],
  ["of a type that is none", Object.assign(sealedFrame(DATA), { 4: 3 })],
  ["whose length field lies", Object.assign(sealedFrame(DATA), { 3: 82 })],
];

for (const [what, bytes] of NOT_FRAMES) {
  test(`a client's message ${what} closes that stream with bad_frame, on both sides`, async (t) => {
    const { client, worker } = await cast(t);
    const stream = await openStream(client, worker);
    const other = await openStream(client, worker, { id: "other" });
    await ask(stream, sealedFrame(DATA, 200));
    client.frame(stream.clientRoute, bytes);
    assert.deepEqual(await client.next("close"), { type: "close", routeId: stream.clientRoute, code: "bad_frame" });
    assert.equal((await worker.next("close")).routeId, stream.workerRoute);
    await ask(other, sealedFrame(FIN));
  });

  test(`a worker's message ${what} ends that stream with bad_frame, and nothing is charged`, async (t) => {
    const { client, worker, stage } = await cast(t);
    const stream = await openStream(client, worker);
    await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
    await answer(stream, sealedFrame(DATA, 200));
    worker.frame(stream.workerRoute, bytes);
    assert.equal((await client.next("close")).code, "bad_frame");
    sendReceipt(stream);
    assert.equal((await worker.next("error")).code, "reservation_unknown");
    assert.equal(stage.gateway.ledgerTotals().charges, 0n);
  });
}

test("a request after its FIN is data_after_fin", async (t) => {
  const { client, worker } = await cast(t);
  const stream = await openStream(client, worker);
  await ask(stream, sealedFrame(FIN));
  client.frame(stream.clientRoute, sealedFrame(DATA));
  assert.equal((await client.next("close")).code, "data_after_fin");
});

test("a request longer than was reserved is stopped at the byte", async (t) => {
  const { client, worker } = await cast(t);
  const exact = await openStream(client, worker, { id: "exact", maxPromptBytes: 400 });
  await ask(exact, sealedFrame(DATA, 400), sealedFrame(FIN));
  assert.equal(
    exact.request.reduce((sum, { length }) => sum + length, 0),
    sealedBytes(400),
  );
  const over = await openStream(client, worker, { id: "over", maxPromptBytes: 400 });
  await ask(over, sealedFrame(DATA, 400));
  client.frame(over.clientRoute, sealedFrame(DATA, 400));
  assert.equal((await client.next("close")).code, "reservation_exceeded");
});

test("a client that vanishes is charged for what it was sent: the worker stops, signs and earns", async (t) => {
  const { client, worker, stage } = await cast(t);
  const stream = await openStream(client, worker);
  await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  await answer(stream, sealedFrame(DATA, 200));
  client.close();
  assert.deepEqual(await worker.next("close"), { type: "close", routeId: stream.workerRoute, code: "cancelled" });
  const fin = sealedFrame(FIN);
  worker.frame(stream.workerRoute, fin);
  stream.response.push(fin);
  sendReceipt(stream, { finish: "cancelled" });
  const again = await stage.again(client);
  const { receipts } = await again.next("charge");
  assert.equal(receipts[0]?.reservationId, stream.reservationId);
});

test("a client that cancels still gets what is under way, since it pays for it", async (t) => {
  const { client, worker } = await cast(t);
  const stream = await openStream(client, worker);
  await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  client.send({ type: "close", routeId: stream.clientRoute, code: "cancelled" });
  await worker.next("close");
  await answer(stream, sealedFrame(DATA, 100), sealedFrame(FIN));
  sendReceipt(stream, { finish: "cancelled" });
  await client.next("charge");
});

test("a worker told to stop may sign without a last frame", async (t) => {
  const { client, worker } = await cast(t);
  const stream = await openStream(client, worker);
  await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  await answer(stream, sealedFrame(DATA, 200));
  client.send({ type: "close", routeId: stream.clientRoute, code: "cancelled" });
  await worker.next("close");
  sendReceipt(stream, { finish: "cancelled" });
  await client.next("charge");
});

test("a client that reads too slowly is cut off at 256 KiB, and its other streams are told nothing", async (t) => {
  const { client, worker, stage } = await cast(t);
  const stream = await openStream(client, worker, { maxCompletionTokens: 4000 });
  await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  client.ws.pause();
  const frame = sealedFrame(DATA, 60_000);
  // The kernel's own buffers take some megabytes first.
  for (let i = 0; i < 400; i++) worker.frame(stream.workerRoute, frame);
  assert.equal((await worker.next("close")).code, "client_too_slow");
  client.ws.resume();
  assert.equal((await client.next("close")).code, "client_too_slow");
  assert.equal(stage.gateway.status().reservations, 1);
});

test("a worker that is lost mid-stream is worker_crashed to its client at once, and nothing is charged", async (t) => {
  const { client, worker, stage } = await cast(t);
  const stream = await openStream(client, worker);
  await ask(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  await answer(stream, sealedFrame(DATA, 200));
  worker.close();
  assert.deepEqual(await client.next("close"), { type: "close", routeId: stream.clientRoute, code: "worker_crashed" });
  assert.equal(stage.gateway.status().reservations, 0);
  assert.equal(stage.gateway.ledgerTotals().charges, 0n);
});

test("before the first token the same reservation may be opened once more, at the next candidate", async (t) => {
  const { client, worker, stage } = await cast(t);
  const other = await stage.worker();
  const { reservationId } = await reserved(client, { candidates: 2 });
  client.send({ type: "open", id: "1", reservationId, workerId: worker.workerId, sessionId: SESSION, streamId: 1 });
  await client.next("route");
  worker.close();
  await client.next("close");
  client.send({ type: "open", id: "2", reservationId, workerId: other.workerId, sessionId: SESSION, streamId: 1 });
  await client.next("route");
  other.close();
  await client.next("close");
  client.send({ type: "open", id: "3", reservationId, workerId: other.workerId, sessionId: SESSION, streamId: 1 });
  assert.equal((await client.next("error")).code, "reservation_unknown");
});

test("a worker that aborts and gives its reason ends the reservation's stream at once, uncharged", async (t) => {
  const { client, worker, stage } = await cast(t);
  const stream = await openStream(client, worker);
  await ask(stream, sealedFrame(FIN));
  await answer(stream, sealedFrame(ABORT, 20));
  worker.send({ type: "close", routeId: stream.workerRoute, code: "context_overflow" });
  client.send({ type: "release", reservationId: stream.reservationId });
  await refused(client, { manifestRoot: "00".repeat(32) }); // what was sent before is done
  assert.equal(stage.gateway.status().reservations, 0);
});

test("a stream has ten minutes", async (t) => {
  const { client, worker, stage } = await cast(t);
  const stream = await openStream(client, worker);
  await ask(stream, sealedFrame(FIN));
  for (let minute = 0; minute < 30; minute++) {
    stage.clock.advance(20_000);
    await beat(client, worker);
  }
  assert.equal((await client.next("close")).code, "truncated");
  assert.equal((await worker.next("close")).routeId, stream.workerRoute);
});

test("a stream is opened within 30 seconds, then its hold is free", async (t) => {
  const { client, worker, stage } = await cast(t);
  const { reservationId } = await reserved(client);
  assert.equal(stage.gateway.status().reservations, 1);
  for (let i = 0; i < 2; i++) {
    stage.clock.advance(15_000);
    await beat(client, worker);
  }
  client.send({ type: "open", id: "o", reservationId, workerId: worker.workerId, sessionId: SESSION, streamId: 1 });
  assert.equal((await client.next("error")).code, "reservation_unknown");
  assert.equal(stage.gateway.status().reservations, 0);
});

test("nobody opens another client's reservation, nor at a worker that was no candidate", async (t) => {
  const { client, worker, stage } = await cast(t);
  const stranger = await stage.client();
  const late = await stage.worker();
  const { reservationId, candidates } = await reserved(client);
  const chosen = candidates[0]?.workerId ?? "";
  const other = chosen === worker.workerId ? late.workerId : worker.workerId;
  const opening = { type: "open", reservationId, sessionId: SESSION, streamId: 1 } as const;
  stranger.send({ ...opening, id: "s", workerId: chosen });
  assert.equal((await stranger.next("error")).code, "reservation_unknown");
  stranger.send({ type: "release", reservationId });
  assert.equal((await stranger.next("error")).code, "reservation_unknown");
  client.send({ ...opening, id: "o", workerId: other });
  assert.deepEqual(await client.next("error"), { type: "error", code: "unknown_worker", id: "o" });
});

test("more streams than slots are told busy at once", async (t) => {
  const stage = await scene(t);
  const worker = await stage.worker({ slots: 2 });
  const client = await stage.client();
  const terms = await Promise.all(
    ["a", "b", "c"].map(async (id) => {
      reserve(client, { id });
      return client.next("reserved", (one) => one.id === id);
    }),
  );
  for (const { reservationId } of terms) {
    client.send({
      type: "open",
      id: reservationId,
      reservationId,
      workerId: worker.workerId,
      sessionId: SESSION,
      streamId: 1,
    });
  }
  await client.next("route");
  await client.next("route");
  assert.equal((await client.next("error")).code, "busy");
  assert.equal((await refused(client)).code, "busy");
});

test("a slot is free again after its answer", async (t) => {
  const stage = await scene(t);
  const worker = await stage.worker({ slots: 1 });
  const client = await stage.client();
  for (let i = 0; i < 3; i++) {
    await serve(client, worker, { id: `r${i}` });
    countersign(client, chargeVoucher(client, await client.next("charge")));
  }
});

test("three clients that a worker failed open its circuit, and it is told why nothing comes", async (t) => {
  const { worker, stage } = await cast(t);
  for (let i = 0; i < 3; i++) {
    const client = await stage.client();
    const stream = await openStream(client, worker);
    await ask(stream, sealedFrame(FIN));
    await answer(stream, sealedFrame(DATA, 100));
    worker.send({ type: "close", routeId: stream.workerRoute, code: "internal" });
    await client.next("close");
  }
  const client = await stage.client();
  assert.equal((await refused(client)).code, "no_worker");
  for (let i = 0; i < 3; i++) {
    stage.clock.advance(20_000);
    await beat(worker);
  }
  assert.deepEqual((await worker.next("reasons")).counts, { reason_circuit_open: 1 });
});

test("a worker nobody asked is told that there was no demand", async (t) => {
  const stage = await scene(t);
  const worker = await stage.worker();
  for (let i = 0; i < 4; i++) {
    stage.clock.advance(16_000);
    await beat(worker);
  }
  assert.deepEqual((await worker.next("reasons")).counts, { reason_no_demand: 1 });
});

test("a receipt of a lost, foreign or unknown reservation is reservation_unknown and charges nothing", async (t) => {
  const { client, worker, stage } = await cast(t);
  const thief = await stage.worker({ root: "99".repeat(32) });
  const stream = await openStream(client, worker);
  await ask(stream, sealedFrame(FIN));
  await answer(stream, sealedFrame(DATA, 100), sealedFrame(FIN));
  sendReceipt({ ...stream, worker: thief });
  assert.equal((await thief.next("error")).code, "reservation_unknown");
  assert.equal(stage.gateway.ledgerTotals().charges, 0n);
});

const BAD_RECEIPTS: readonly (readonly [string, Parameters<typeof sendReceipt>[1]])[] = [
  ["about another request", { requestHash: new Uint8Array(32) }],
  ["about another model", { manifestRoot: "99".repeat(32) }],
  ["about another offer", { offerHash: "99".repeat(32) }],
  ["about another stream", { streamId: 2 }],
  ["with an end that was not", { finish: "failed" }],
];

for (const [what, overrides] of BAD_RECEIPTS) {
  test(`a receipt ${what} is bad_receipt and charges nothing`, async (t) => {
    const { client, worker, stage } = await cast(t);
    await serve(client, worker, overrides);
    assert.equal((await worker.next("error")).code, "bad_receipt");
    await stage.gateway.flushed();
    assert.equal(stage.gateway.ledgerTotals().charges, 0n);
    assert.equal(stage.gateway.status().reservations, 0);
  });
}

test("a receipt that another key signed is bad_receipt", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker, { signer: (await stage.idleWorker()).signer });
  assert.equal((await worker.next("error")).code, "bad_receipt");
});

test("a worker that claims more tokens than the bytes allow is charged what they allow", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker, { usage: { ...USAGE, completionTokens: 100_000 }, maxCompletionTokens: 5000 });
  await client.next("charge");
  // One DATA frame of 256 bytes of plaintext: (252 − 37 + 1) / 2 ids, and the end token.
  const allowed = chargeFor({ ...USAGE, completionTokens: 109 }, PRICE, 500);
  assert.equal(stage.gateway.ledgerTotals().charges, allowed.charge);
});

test("a worker that claims more than was reserved is charged the reservation", async (t) => {
  const { client, worker, stage } = await cast(t);
  await serve(client, worker, { usage: { ...USAGE, completionTokens: 100 }, maxCompletionTokens: 7 });
  await client.next("charge");
  assert.equal(stage.gateway.ledgerTotals().charges, chargeFor({ ...USAGE, completionTokens: 7 }, PRICE, 500).charge);
});

test("an owner's earnings of two workers add up in one promise", async (t) => {
  const { client, worker, stage } = await cast(t);
  const other = await stage.worker({ root: "99".repeat(32) });
  await serve(client, worker, { id: "a" });
  await client.next("charge");
  const stream = await openStream(client, other, { id: "b", manifestRoot: "99".repeat(32) });
  await ask(stream, sealedFrame(FIN));
  await answer(stream, sealedFrame(DATA, 200), sealedFrame(FIN));
  sendReceipt(stream, {
    manifestRoot: "99".repeat(32),
    usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 1 },
  });
  stage.clock.advance(20_000);
  await beat(worker, other, client);
  stage.clock.advance(10_001);
  await worker.next("voucher");
  await other.next("voucher");
  assert.ok(stage.gateway.ownerTotal(OWNER) > 0n);
});
