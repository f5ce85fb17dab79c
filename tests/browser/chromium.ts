import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { chromium, type Page } from "playwright-core";
import { build, type Rolldown } from "vite";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** What a careful page allows: its own script, and sockets to this machine. No code from strings. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*";

export interface OpenedPage extends AsyncDisposable {
  readonly page: Page;
  /** Errors and warnings of the console, uncaught ones, and what the content policy forbade. */
  readonly complaints: readonly string[];
  /** The bundled script. */
  readonly code: string;
}

/** A page on loopback that runs one module of ours, bundled in memory as an app would bundle it. */
export async function openPage(entry: URL): Promise<OpenedPage> {
  if (!existsSync(EXECUTABLE)) {
    throw new Error(
      `No Chromium at ${EXECUTABLE}. Install it (apt-get install chromium) or set CHROMIUM to another one.`,
    );
  }
  const code = await bundle(entry);
  const server = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.setHeader("content-security-policy", CONTENT_SECURITY_POLICY);
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html; charset=utf-8");
    response.end(isScript ? code : '<!doctype html><title>test</title><script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = await chromium.launch({ executablePath: EXECUTABLE, headless: true, args: FLAGS });
  const close = async (): Promise<void> => {
    await browser.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  try {
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    await page.exposeFunction("violated", (what: string) => complaints.push(what));
    await page.addInitScript(
      'addEventListener("securitypolicyviolation", (event) => violated(`${event.violatedDirective} ${event.blockedURI}`))',
    );
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    return { page, complaints, code, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function bundle(entry: URL): Promise<string> {
  const output = (await build({
    configFile: false,
    logLevel: "error",
    root: import.meta.dirname,
    build: { write: false, target: "es2022", lib: { entry: entry.pathname, formats: ["es"], fileName: "page" } },
  })) as Rolldown.RolldownOutput | Rolldown.RolldownOutput[];
  const [first] = Array.isArray(output) ? output : [output];
  const chunk = first?.output[0];
  if (chunk?.type !== "chunk") throw new Error("nothing was bundled");
  return chunk.code;
}
