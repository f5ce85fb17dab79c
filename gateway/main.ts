/** `npm run gateway -- [flags]`: one gateway in the foreground, until SIGTERM or Ctrl-C. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { APP_DOMAINS, verifyOwnerProof } from "../contracts/owner-proof.ts";
import { Failure, toBase64url } from "../protocol/index.ts";
import { localChannels } from "./channels.ts";
import { startGateway, type Gateway } from "./gateway.ts";

const USAGE = `Usage: npm run gateway -- [--port N] [--host ADDRESS] [--data DIR] [--network-id N] [--fee-bps N]
                          [--tls-key FILE --tls-cert FILE] [--grace SECONDS] [--json]

  --port        port to listen on (4410; 0 picks a free one)
  --host        address to listen on (127.0.0.1)
  --data        folder of the ledger and the voucher key ($COCOON_GATEWAY_DATA, else ./gateway-data)
  --network-id  TON network id (-777: a network of its own, without a chain: trial clients only)
  --fee-bps     the gateway's share in 1/10 000, on top of the ask (500)
  --tls-key     PEM files; without them sockets are plain, which is right on loopback and behind a TLS terminator
  --grace       how long running answers may go on at the end (30)
  --json        say the address as one line of JSON
`;

const EXIT = { usage: 64, failure: 1 } as const;

/** What an operator can do about it. */
const ADVICE: Partial<Record<Failure["code"], string>> = {
  port_taken: "another program listens there: choose another with --port",
  bad_configuration: "check the flags, and that the folder of --data can be written",
  storage_failed: "the ledger cannot be read; another gateway may be using the same --data folder",
};

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      port: { type: "string", default: "4410" },
      host: { type: "string", default: "127.0.0.1" },
      data: { type: "string", default: process.env.COCOON_GATEWAY_DATA ?? "gateway-data" },
      "network-id": { type: "string", default: "-777" },
      "fee-bps": { type: "string", default: "500" },
      "tls-key": { type: "string" },
      "tls-cert": { type: "string" },
      grace: { type: "string", default: "30" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const graceMs = 1000 * numberOf(values.grace, "--grace", 0, 3600);
  const gateway = await startGateway({
    dataDir: values.data,
    host: values.host,
    port: numberOf(values.port, "--port", 0, 65_535),
    networkId: numberOf(values["network-id"], "--network-id", -0x8000_0000, 0x7fff_ffff),
    feeBps: numberOf(values["fee-bps"], "--fee-bps", 0, 1000),
    channels: localChannels(),
    verifyOwnerProof: (proof, expected) => verifyOwnerProof(proof, { ...expected, domains: APP_DOMAINS }),
    log: (line) => process.stderr.write(`${line}\n`),
    ...tlsOf(values["tls-key"], values["tls-cert"]),
  });
  announce(gateway, values.json);
  await ended();
  process.stderr.write("ending: nothing new is taken\n");
  await gateway.close(graceMs);
  return 0;
}

function announce(gateway: Gateway, asJson: boolean): void {
  const gatewayKey = toBase64url(gateway.gatewayKey);
  const line = asJson
    ? JSON.stringify({ ready: true, url: gateway.url, httpUrl: gateway.httpUrl, gatewayKey })
    : `gateway ${gateway.url}, key ${gatewayKey}`;
  process.stdout.write(`${line}\n`);
}

/** The first signal ends politely; a second one is the system's own. */
function ended(): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
}

function numberOf(text: string, flag: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || value < least || value > most) {
    throw new Failure("bad_configuration", `${flag} takes a whole number from ${least} to ${most}`);
  }
  return value;
}

function tlsOf(key: string | undefined, cert: string | undefined): { tls?: { key: string; cert: string } } {
  if (key === undefined && cert === undefined) return {};
  if (key === undefined || cert === undefined) throw new Failure("bad_configuration", "--tls-key goes with --tls-cert");
  try {
    return { tls: { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") } };
  } catch (cause) {
    throw new Failure("bad_configuration", "a TLS file cannot be read", { cause });
  }
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  if (!(error instanceof Failure)) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return EXIT.usage;
  }
  const advice = ADVICE[error.code];
  process.stderr.write(`${error.message}${advice === undefined ? "" : `\n${advice}`}\n`);
  return EXIT.failure;
});
