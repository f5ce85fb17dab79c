import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { DEMO_POLICY } from "../protocol/index.ts";
import {
  FAKE_CHANNEL,
  FAKE_NETWORK_ID,
  FAKE_ROOT,
  startFakeGateway,
  type FakeGateway,
  type FakeGatewayOptions,
} from "./gateway.fake.ts";
import { createClient, type Client, type ClientEvent, type NodeClientOptions } from "./index.ts";

const BODY = { model: "practice", messages: [{ role: "user" as const, content: "Say hello." }] };

async function network(
  t: TestContext,
  options: FakeGatewayOptions = {},
  chosen: Partial<NodeClientOptions> = {},
): Promise<{ gateway: FakeGateway; client: Client }> {
  const gateway = await startFakeGateway(options);
  const client = createClient({
    gateway: { url: gateway.url, key: gateway.key },
    policy: DEMO_POLICY,
    paymentSeed: randomBytes(32),
    catalogue: [{ id: "practice", manifestRoot: FAKE_ROOT }],
    channel: { address: FAKE_CHANNEL, networkId: FAKE_NETWORK_ID },
    ...chosen,
  });
  t.after(async () => {
    await client.close();
    await gateway.close();
  });
  return { gateway, client };
}

test("an answer comes as events, is charged by the client's own count and countersigned", async (t) => {
  const { gateway, client } = await network(t);
  const events: ClientEvent[] = [];
  for await (const event of client.chat(BODY)) events.push(event);
  assert.deepEqual(
    events.map(({ type }) => type),
    ["worker", "delta", "delta", "end"],
  );
  const signed = await gateway.next("countersign");
  const end = events.at(-1);
  assert.equal(end?.type === "end" && end.chargedNanoton, signed.total);
  assert.equal(client.account().total, signed.total);
});
