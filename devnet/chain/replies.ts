import type { ServerResponse } from "node:http";
import type { FaultType } from "./faults.ts";
import type { Json } from "./toncenter-format.ts";

export function sendJson(response: ServerResponse, status: number, value: Json): void {
  send(response, status, JSON.stringify(value));
}

export function send(response: ServerResponse, status: number, text: string, type = "application/json"): void {
  if (response.headersSent || response.destroyed) return;
  const body = Buffer.from(text);
  response.writeHead(status, {
    "content-type": type,
    "content-length": body.length,
    // As toncenter: what is on a chain is public, and a wallet may be a page.
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "*",
    ...(status >= 400 ? { connection: "close" } : {}),
  });
  response.end(body);
}

const HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";

/** Answers as a node with this fault does. */
export function spoil(response: ServerResponse, fault: FaultType): void {
  switch (fault) {
    case "rate-limited":
      return sendJson(response, 429, { ok: false, result: "Ratelimit exceed", code: 429 });
    case "failing":
      return sendJson(response, 500, { ok: false, error: "LITE_SERVER_NETWORK: adnl query timeout", code: 500 });
    case "silent":
      return undefined;
    case "cut":
      return void response.socket?.destroy();
    case "html":
      return send(response, 200, HTML, "text/html");
    case "truncated":
      response.writeHead(200, { "content-type": "application/json", "content-length": 1_000 });
      response.write('{"ok":true,"result":{"@type":', () => response.socket?.destroy());
      return undefined;
    case "wrong-types":
      return sendJson(response, 200, { ok: true, result: { "@type": 7, last: [], stack: "none", balance: {} } });
    case "redirect":
      response.writeHead(307, { location: "http://127.0.0.1:9/" }).end();
      return undefined;
    case "loses-message":
      return undefined;
  }
}
