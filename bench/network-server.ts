import { Agent, request, type IncomingMessage } from "node:http";
import type { Completion, Prompted, Server } from "./engine-load.ts";
import type { LoadTarget } from "./sse-load.ts";

/** An engine at the far end of the network, asked as an OpenAI client asks. */
export function networkServer(target: LoadTarget): Server {
  const agent = new Agent({ keepAlive: true });
  return {
    complete: (prompted) => complete(target, agent, prompted),
    stop: async () => agent.destroy(),
  };
}

async function complete(target: LoadTarget, agent: Agent, { prompt, tokens }: Prompted): Promise<Completion> {
  const begin = performance.now();
  const response = await post(target, agent, {
    model: target.model,
    prompt,
    max_tokens: tokens,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  });
  let ttftMs: number | undefined;
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response as AsyncIterable<string>) {
    ttftMs ??= performance.now() - begin;
    text += chunk;
  }
  const used = /"completion_tokens":(\d+)/.exec(text)?.[1];
  if (response.statusCode !== 200 || used === undefined) throw new Error(`the endpoint answered: ${text.slice(-300)}`);
  return { ttftMs: ttftMs ?? NaN, tokens: Number(used) };
}

async function post({ host, port, apiKey }: LoadTarget, agent: Agent, body: object): Promise<IncomingMessage> {
  const outgoing = request({
    host,
    port,
    agent,
    method: "POST",
    path: "/v1/completions",
    headers: { "content-type": "application/json", authorization: `Bearer ${apiKey}` },
  });
  const answered = Promise.withResolvers<IncomingMessage>();
  outgoing.on("response", answered.resolve);
  outgoing.on("error", answered.reject);
  outgoing.end(JSON.stringify(body));
  return await answered.promise;
}
