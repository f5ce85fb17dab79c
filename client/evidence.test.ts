import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_POLICY, DEMO_POLICY, keyPairFromSeed, type Policy, type Tier } from "../protocol/index.ts";
import { createEvidenceDesk, type EvidenceDesk, type EvidencePorts } from "./evidence.ts";
import { fakeWorker, type FakeWorker } from "./gateway.fake.ts";

const GATEWAY_KEY = keyPairFromSeed(new Uint8Array(32)).publicKey;
const BLOCK = { chain: "-1", seqno: 7, rootHash: "33".repeat(32) };

interface Desk {
  readonly desk: EvidenceDesk;
  readonly fetched: string[];
}

/** A desk whose gateway has these documents; the answer to each fetch may be given instead. */
function deskFor(
  workers: readonly FakeWorker[],
  {
    policy = DEMO_POLICY,
    respond,
    ...ports
  }: { policy?: Policy; respond?: () => Response } & Partial<EvidencePorts> = {},
): Desk {
  const fetched: string[] = [];
  const serve = async (asked: string | URL | Request): Promise<Response> => {
    const { url } = new Request(asked);
    fetched.push(url);
    const worker = workers.find(({ evidenceHash }) => url.endsWith(evidenceHash));
    return (
      respond?.() ??
      new Response(worker === undefined ? null : new Uint8Array(worker.evidence), {
        status: worker === undefined ? 404 : 200,
      })
    );
  };
  return { desk: createEvidenceDesk("http://gateway", policy, { fetch: serve, now: Date.now, ...ports }), fetched };
}

test("evidence is fetched once while it is valid, however many ask", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  const { desk, fetched } = deskFor([worker]);
  await Promise.all([desk.verify(worker.candidate, "software"), desk.verify(worker.candidate, "software")]);
  assert.equal((await desk.verify(worker.candidate, "software")).tier, "software");
  assert.deepEqual(fetched, [`http://gateway/v1/evidence/${worker.evidenceHash}`]);
});

test("evidence that has expired since is looked at again, and refused", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  let time = Date.now();
  const { desk } = deskFor([worker], { now: () => time });
  await desk.verify(worker.candidate, "software");
  time += 2 * 3_600_000;
  await assert.rejects(desk.verify(worker.candidate, "software"), { code: "evidence_expired" });
});

test("a verdict for one tier is none for a higher", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  const { desk } = deskFor([worker]);
  await desk.verify(worker.candidate, "software");
  for (const tier of ["tpm", "tee"] satisfies Tier[]) {
    await assert.rejects(desk.verify(worker.candidate, tier), { code: "tier_too_low" });
  }
});

test("a refusal is not kept: the next time may be better", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  let isThere = false;
  const { desk } = deskFor([worker], {
    respond: () => (isThere ? new Response(new Uint8Array(worker.evidence)) : new Response("", { status: 404 })),
  });
  await assert.rejects(desk.verify(worker.candidate, "software"), { code: "evidence_format" });
  isThere = true;
  assert.equal((await desk.verify(worker.candidate, "software")).workerId, worker.workerId);
});

test("evidence for another worker, with unknown keys, changed or not JSON is refused", async () => {
  const worker = fakeWorker({}, GATEWAY_KEY);
  const other = fakeWorker({}, GATEWAY_KEY);
  const text = new TextDecoder().decode(worker.evidence);
  const cases: readonly (readonly [body: string, code: string])[] = [
    [new TextDecoder().decode(other.evidence), "evidence_binding"],
    [text.replace("{", '{"extra":1,'), "evidence_format"],
    [text.replace(/"sig":"./, '"sig":"!'), "evidence_format"],
    [text.replace(/"sig":"(.)/, (_, first: string) => `"sig":"${first === "A" ? "B" : "A"}`), "evidence_sig"],
    ["<html>", "evidence_format"],
    ["", "evidence_format"],
  ];
  for (const [body, code] of cases) {
    const { desk } = deskFor([], { respond: () => new Response(body) });
    await assert.rejects(desk.verify(worker.candidate, "software"), { code }, body.slice(0, 40));
  }
});

test("a document without end is not read to its end", async () => {
  const endless = (): Response => {
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void =>
      controller.enqueue(new Uint8Array(65_536));
    return new Response(new ReadableStream({ pull }));
  };
  const { desk } = deskFor([], { respond: endless });
  const { candidate } = fakeWorker({}, GATEWAY_KEY);
  await assert.rejects(desk.verify(candidate, "software"), { code: "evidence_format", message: /too long/ });
});

test("a gateway that does not answer is unreachable", async () => {
  const { candidate } = fakeWorker({}, GATEWAY_KEY);
  const { desk } = deskFor([], {
    respond: () => {
      throw new TypeError("fetch failed");
    },
  });
  await assert.rejects(desk.verify(candidate, "software"), { code: "gateway_unreachable" });
});

test("a beacon is looked up by this client itself and must be the block it says", async () => {
  const worker = fakeWorker({ claims: { beacon: BLOCK } }, GATEWAY_KEY);
  const generatedAt = Math.floor(Date.now() / 1000);
  const asked: number[] = [];
  const lookUp = (rootHash: string) => async (seqno: number) => {
    asked.push(seqno);
    return { rootHash, generatedAt };
  };
  const right = deskFor([worker], { lookUpBlock: lookUp(BLOCK.rootHash) });
  assert.deepEqual((await right.desk.verify(worker.candidate, "software")).warnings, ["release_unchecked"]);
  assert.deepEqual(asked, [7]);
  const wrong = deskFor([worker], { lookUpBlock: lookUp("44".repeat(32)) });
  await assert.rejects(wrong.desk.verify(worker.candidate, "software"), { code: "beacon_stale" });
  const absent = deskFor([worker], { policy: { ...DEFAULT_POLICY, minTier: "software" } });
  await assert.rejects(absent.desk.verify(worker.candidate, "software"), { code: "beacon_stale" });
});
