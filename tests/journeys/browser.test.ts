import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex, type PriceSheet } from "../../protocol/index.ts";
import { openPage } from "../browser/chromium.ts";
import type { ClientPage } from "../browser/client-page.ts";
import { echoEngine } from "./echo-engine.ts";
import { devnetFor } from "./house.ts";

declare global {
  // Set by the page's own script.
  var clientPage: ClientPage;
}

/** A question costs less than a trial key may spend. */
const PRICE: PriceSheet = { prompt: 1_000_000n, cached: 1_000_000n, completion: 10_000_000n };

test("a page without Node verifies a worker, seals a question to it and reads the answer", async (context) => {
  const devnet = await devnetFor(context, { model: { id: "echo", engine: () => echoEngine() }, price: PRICE });
  await using opened = await openPage(new URL("../browser/client-page.ts", import.meta.url));
  await opened.page.waitForFunction(() => "clientPage" in globalThis);
  const question = "Olá from a page: ÿ 漢字 🥥";

  const answer = await opened.page.evaluate(([url, key, model, text]) => clientPage.answer(url, key, model, text), [
    devnet.gateway.httpUrl,
    toHex(devnet.gateway.gatewayKey),
    devnet.model.manifestRoot,
    question,
  ] as const);

  assert.equal(answer, question);
  assert.deepEqual(opened.complaints, []);
  assert.ok(devnet.gateway.ledgerTotals().charges === 0n, "a trial is the gateway's expense");
});
