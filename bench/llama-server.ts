import { spawn } from "node:child_process";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { createServer } from "node:net";
import type { Completion, Prompted, Server } from "./engine-load.ts";

/** llama-server as a peer: the same model, slots and threads, spoken to over loopback HTTP. */
export async function startLlamaServer(
  binary: string,
  { model, slots, contextTokens, threads }: { model: string; slots: number; contextTokens: number; threads: number },
): Promise<Server> {
  const port = await freePort();
  const flags: Readonly<Record<string, string | number>> = {
    "--model": model,
    "--host": "127.0.0.1",
    "--port": port,
    "--parallel": slots,
    "--ctx-size": slots * contextTokens,
    "--threads": threads,
    "--threads-batch": threads,
    "--batch-size": 512,
    "--ubatch-size": 512,
    "--cache-ram": 0,
  };
  const server = spawn(binary, Object.entries(flags).flat().map(String), { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data: Buffer) => (log = (log + data.toString()).slice(-2000)));
  const exited = once(server, "exit");
  const url = `http://127.0.0.1:${port}`;
  while (!(await isHealthy(url))) {
    if (server.exitCode !== null) throw new Error(`llama-server ended:\n${log}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    complete: (prompted) => complete(url, prompted),
    stop: async () => {
      server.kill();
      await exited;
    },
  };
}

async function complete(url: string, { prompt, tokens }: Prompted): Promise<Completion> {
  const begin = performance.now();
  const response = await post(`${url}/completion`, {
    prompt,
    n_predict: tokens,
    temperature: 0,
    stream: true,
    cache_prompt: false,
    return_tokens: true,
  });
  if (response.statusCode !== 200) throw new Error(`llama-server answered ${String(response.statusCode)}`);
  let ttftMs: number | undefined;
  let count = 0;
  let pending = "";
  response.setEncoding("utf8");
  for await (const chunk of response as AsyncIterable<string>) {
    ttftMs ??= performance.now() - begin;
    pending += chunk;
    const events = pending.split("\n\n");
    pending = events.pop() ?? "";
    for (const event of events) count += tokensIn(event);
  }
  return { ttftMs: ttftMs ?? NaN, tokens: count };
}

/** A connection a request: llama-server closes idle ones, sometimes under the next request. */
async function post(url: string, body: object): Promise<IncomingMessage> {
  const outgoing = request(url, { method: "POST", agent: false, headers: { "content-type": "application/json" } });
  outgoing.end(JSON.stringify(body));
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  return response;
}

/** Ids in one event; the last event repeats none. */
function tokensIn(event: string): number {
  const { tokens } = JSON.parse(event.slice("data: ".length)) as { readonly tokens?: readonly number[] };
  return tokens?.length ?? 0;
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`)).ok;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
