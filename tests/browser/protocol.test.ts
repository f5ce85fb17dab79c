import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test, { after, before } from "node:test";
import {
  answerHello,
  createEvidence,
  evidenceHashOf,
  FIN,
  FrameOpener,
  FrameSealer,
  fromHex,
  fromUtf8,
  keyPairFromSeed,
  parseEvidence,
  payloadHash,
  toHex,
  utf8,
  verifySignature,
  workerIdOf,
  type Session,
} from "../../protocol/index.ts";
import { openPage, type OpenedPage } from "./chromium.ts";
import type { HelloFacts, ProtocolPage } from "./protocol-page.ts";

declare global {
  // Set by the page's own script.
  var protocolPage: ProtocolPage;
}

const NOW = 1_750_000_000;
const worker = keyPairFromSeed(new Uint8Array(32).fill(1));
const manifestRoot = "6a".repeat(32);
const document = createEvidence(
  {
    v: "acn1",
    ik: worker.publicKey,
    tier: "software",
    notBefore: NOW - 60,
    notAfter: NOW + 600,
    beacon: null,
    challenge: null,
    release: null,
    models: [{ id: "practice", manifestRoot, quant: "F16", bytes: 1 }],
    engine: { name: "node-llama-cpp", version: "1", backend: "cpu" },
    gpuCc: null,
  },
  { type: "none" },
  worker.sign,
);
const facts: HelloFacts = {
  now: NOW,
  workerId: workerIdOf(worker.publicKey),
  evidenceHash: evidenceHashOf(parseEvidence(document).claimsBytes),
  manifestRoot,
};

let opened: OpenedPage;
before(async () => {
  opened = await openPage(new URL("protocol-page.ts", import.meta.url));
  await opened.page.waitForFunction(() => "protocolPage" in globalThis);
});
after(() => opened[Symbol.asyncDispose]());

/** The page verifies Node's worker and opens a session to it. */
async function sessionWithPage(): Promise<Session> {
  const hello = await opened.page.evaluate((given) => protocolPage.hello(given), facts);
  const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length));
  const pending = await answerHello(fromHex(hello), { sign: worker.sign, now: NOW, random });
  const enc = await opened.page.evaluate(
    ([given, evidence, sent, answer]) => protocolPage.open(given, evidence, sent, answer),
    [facts, toHex(document), hello, toHex(pending.message)] as const,
  );
  return pending.complete(fromHex(enc));
}

test("the protocol needs nothing of Node in a browser", async () => {
  assert.equal(await opened.page.evaluate(() => protocolPage.hasNode), false);
  assert.doesNotMatch(opened.code, /\bfrom\s*"node:|require\("node:|\bBuffer\.(from|alloc)/);
});

test("a page verifies a worker, seals a prompt to it, and reads its answer", async () => {
  const session = await sessionWithPage();
  const frames = await opened.page.evaluate(() => protocolPage.seal(1, "Расскажи сказку 🐈"));
  const opener = new FrameOpener(await session.streamKeys(0, 1));
  const [prompt = "", end = ""] = frames.map((frame) => fromUtf8(opener.open(fromHex(frame)).data));
  assert.deepEqual([prompt, end, opener.end()], ["Расскажи сказку 🐈", "", FIN]);

  const sealer = new FrameSealer(await session.streamKeys(1, 1));
  const pieces = ["Жила-была", " кошка", "x".repeat(60_000)].map((piece) => sealer.seal(utf8(piece)));
  const answer = [...pieces, sealer.seal(new Uint8Array(), FIN)].map(toHex);
  const read = await opened.page.evaluate((given) => protocolPage.read(1, given), answer);
  assert.equal(read, `Жила-была кошка${"x".repeat(60_000)}`);
});

test("a page refuses a cut or changed answer with the same codes as Node", async () => {
  const session = await sessionWithPage();
  const sealer = new FrameSealer(await session.streamKeys(1, 2));
  const frame = sealer.seal(utf8("one"));
  const flipped = frame.slice();
  flipped[30] = (flipped[30] ?? 0) ^ 1;
  for (const [frames, code] of [
    [[frame], "truncated"],
    [[flipped], "decrypt_failed"],
    [[frame.subarray(1)], "bad_frame"],
  ] as const) {
    const reading = opened.page.evaluate((given) => protocolPage.read(2, given), frames.map(toHex));
    await assert.rejects(reading, new RegExp(code));
  }
});

test("a page refuses a worker that is another than the one it verified", async () => {
  const other = keyPairFromSeed(new Uint8Array(32).fill(2));
  const hello = await opened.page.evaluate((given) => protocolPage.hello(given), facts);
  const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length));
  const pending = await answerHello(fromHex(hello), { sign: other.sign, now: NOW, random });
  const opening = opened.page.evaluate(
    ([given, evidence, sent, answer]) => protocolPage.open(given, evidence, sent, answer),
    [facts, toHex(document), hello, toHex(pending.message)] as const,
  );
  await assert.rejects(opening, /bad_hello_sig/);
});

test("a page countersigns a voucher as Node and the chain have it", async () => {
  const payer = keyPairFromSeed(new Uint8Array(32).fill(9));
  const channel = `0:${"ab".repeat(32)}`;
  const receipt = "cd".repeat(32);
  const signature = await opened.page.evaluate(([seed, voucher]) => protocolPage.countersign(seed, voucher), [
    "09".repeat(32),
    { networkId: -239, channel, total: "123456789012345678901", receipt },
  ] as const);
  const total = 123_456_789_012_345_678_901n;
  const signed = payloadHash({ type: "charge", networkId: -239, channel, total, receipt: fromHex(receipt) });
  assert.ok(verifySignature(fromHex(signature), signed, payer.publicKey));
});

test("a page that forbids code from strings hears no complaint", () => {
  assert.deepEqual(opened.complaints, []);
});
