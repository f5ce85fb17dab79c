import { Failure, FAILURE_TEXT, stringify } from "../protocol/index.ts";
import { parseCommandLine, USAGE } from "./command-line.ts";
import { defaultDataFolder } from "./data-place.ts";
import { earnings, newsBetween, progress, tierWords } from "./headless-words.ts";
import { startWorker, type ServingStatus, type Worker } from "./index.ts";
import { NO_TOTALS } from "./serving/status.ts";

/** The headless worker: `npm run worker -- serve …`. The only file of this role that reads the environment. */

const PROGRESS_MS = 10_000;

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = 1;
  process.stderr.write(`${wordsOf(error)}\n`);
  if (error instanceof Failure && error.code === "bad_configuration") process.stderr.write(`\n${USAGE}`);
}

async function main(args: readonly string[]): Promise<void> {
  if (args.length === 0 || args.includes("--help")) {
    process.stdout.write(USAGE);
    return;
  }
  const command = parseCommandLine(args);
  const say = (sentence: string): void => {
    if (!command.isJson) process.stdout.write(`${sentence}\n`);
  };
  // By default a signal ends a process without its exit handlers, and the data folder would stay locked.
  const leave = (): void => process.exit(130);
  process.on("SIGINT", leave);
  process.on("SIGTERM", leave);
  say("Reading the model file; the first time this takes as long as reading all of it.");
  const worker = await startWorker({
    dataFolder: command.dataFolder ?? defaultDataFolder(process.env, process.platform),
    gateways: command.gateways,
    models: command.plans.map((plan) => ({ plan, price: command.price })),
    networkId: command.networkId,
    ...(command.owner === undefined ? {} : { owner: { address: command.owner } }),
  });
  introduce(worker, say);
  const stopTelling = command.isJson ? tellJson(worker) : tellSentences(worker, say);
  stopOnSignals(worker, say, stopTelling);
  process.off("SIGINT", leave);
  process.off("SIGTERM", leave);
  await worker.untilOffered().catch(async (error: unknown) => {
    stopTelling();
    await worker.stop(0);
    throw error;
  });
}

function introduce(worker: Worker, say: (sentence: string) => void): void {
  const { tier, owner } = worker.status();
  say(`This worker is ${worker.workerId.slice(0, 16)}.`);
  say(tierWords(tier));
  say(
    owner === undefined
      ? "No wallet is named: the gateway will owe you what you earn, without a signed promise. Name one with --owner."
      : `It earns for ${owner}. The gateway signs vouchers once the wallet has confirmed that this worker is yours.`,
  );
}

function tellJson(worker: Worker): () => void {
  const tell = (status: ServingStatus): void => void process.stdout.write(`${stringify({ status })}\n`);
  tell(worker.status());
  return worker.onStatus(tell);
}

function tellSentences(worker: Worker, say: (sentence: string) => void): () => void {
  let told: ServingStatus | undefined;
  let totals = NO_TOTALS;
  const tell = (status: ServingStatus): void => {
    for (const sentence of newsBetween(told, status)) say(sentence);
    told = status;
  };
  tell(worker.status());
  const stopNews = worker.onStatus(tell);
  const timer = setInterval(() => {
    const status = worker.status();
    const sentence = progress(totals, status);
    totals = status.totals;
    if (sentence !== undefined) say(sentence);
  }, PROGRESS_MS);
  return () => {
    clearInterval(timer);
    stopNews();
  };
}

function stopOnSignals(worker: Worker, say: (sentence: string) => void, stopTelling: () => void): void {
  let isStopping = false;
  const stop = (): void => {
    if (isStopping) process.exit(130);
    isStopping = true;
    say("Stopping: running answers may end, nothing new is taken. Press Ctrl-C again to stop at once.");
    stopTelling();
    worker.stop().then(
      () => {
        say(earnings(worker.status()));
        process.exit(0);
      },
      (error: unknown) => {
        process.stderr.write(`${wordsOf(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
}

function wordsOf(error: unknown): string {
  if (error instanceof Failure) return `${error.message}\n${FAILURE_TEXT[error.code]}`;
  return `Something failed that should not have: ${error instanceof Error ? (error.stack ?? error.message) : "unknown"}`;
}
