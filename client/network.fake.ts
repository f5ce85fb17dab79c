import { randomBytes } from "node:crypto";
import type { TestContext } from "node:test";
import { DEMO_POLICY } from "../protocol/index.ts";
import {
  FAKE_CHANNEL,
  FAKE_NETWORK_ID,
  FAKE_ROOT,
  startFakeGateway,
  type FakeGateway,
  type FakeGatewayOptions,
} from "./gateway.fake.ts";
import {
  createClient,
  serveOpenAi,
  type Client,
  type NodeClientOptions,
  type OpenAiEndpoint,
  type OpenAiEndpointOptions,
} from "./index.ts";

export const BODY = { model: "practice", messages: [{ role: "user" as const, content: "Say hello." }] };
export const API_KEY = "sk-test";

/** A client of a fake gateway; both end with the test. */
export async function fakeNetwork(
  t: TestContext,
  options: FakeGatewayOptions = {},
  chosen: Partial<NodeClientOptions> = {},
): Promise<{ gateway: FakeGateway; client: Client }> {
  const gateway = await startFakeGateway(options);
  t.after(() => gateway.close());
  const { isTrial = false } = options;
  return { gateway, client: fakeClient(t, gateway, { ...(isTrial ? {} : { channel: CHANNEL }), ...chosen }) };
}

export const CHANNEL = { address: FAKE_CHANNEL, networkId: FAKE_NETWORK_ID };

export function fakeClient(t: TestContext, gateway: FakeGateway, chosen: Partial<NodeClientOptions> = {}): Client {
  const client = createClient({
    gateway: { url: gateway.url, key: gateway.key },
    policy: DEMO_POLICY,
    paymentSeed: randomBytes(32),
    catalogue: [{ id: "practice", manifestRoot: FAKE_ROOT }],
    ...chosen,
  });
  t.after(() => client.close());
  return client;
}

/** The same with an endpoint in front. */
export async function fakeEndpoint(
  t: TestContext,
  options: FakeGatewayOptions = {},
  chosen: Partial<NodeClientOptions> & { readonly endpoint?: Partial<OpenAiEndpointOptions> } = {},
): Promise<{ gateway: FakeGateway; client: Client; endpoint: OpenAiEndpoint }> {
  const { endpoint: changes = {}, ...clientOptions } = chosen;
  const { gateway, client } = await fakeNetwork(t, options, clientOptions);
  const { minTier } = clientOptions.policy ?? DEMO_POLICY;
  const endpoint = await serveOpenAi({ client, apiKey: API_KEY, minTier, ...changes });
  t.after(() => endpoint.close());
  return { gateway, client, endpoint };
}
