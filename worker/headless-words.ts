import {
  FAILURE_TEXT,
  formatTon,
  COIN_NAME,
  TIER_BADGES,
  type Nanoton,
  type PriceSheet,
  type Tier,
} from "../protocol/index.ts";
import type { EngineState } from "./serving/engine.ts";
import type { GatewayStatus, ModelStatus, ServingStatus, Totals } from "./serving/status.ts";

/** What the headless command says, in sentences for the person who started it. */

/** What has happened between two states, a sentence each; nothing when nothing is worth saying. */
export function newsBetween(before: ServingStatus | undefined, after: ServingStatus): readonly string[] {
  return [
    ...after.models.flatMap((model, at) => engineNews(before?.models[at]?.engine, model)),
    ...after.gateways.flatMap((gateway, at) => gatewayNews(before?.gateways[at], gateway, after.models)),
  ];
}

/** How it is going, said now and then while answers are given; undefined when nothing was answered since. */
export function progress(before: Totals, status: ServingStatus): string | undefined {
  const { totals } = status;
  if (totals.answered + totals.cancelled + totals.failed === before.answered + before.cancelled + before.failed) {
    return undefined;
  }
  const tokens = totals.completionTokens - before.completionTokens;
  const requests = totals.answered - before.answered;
  return `Answered ${requests} ${plural(requests, "request")} with ${tokens} ${plural(tokens, "token")}. ${earnings(status)}`;
}

/** What was earned, and how much of it is only owed. Nothing here is "paid": only the chain says that. */
export function earnings(status: ServingStatus): string {
  const promised = sum(status.gateways.map(({ vouchers }) => vouchers.voucheredTotal));
  const behind = sum(status.gateways.map(({ vouchers }) => vouchers.behind));
  const earned = `Earned since the start: ${coins(status.totals.earned)}`;
  const signed = promised > 0n ? `; promised to you by signed vouchers: ${coins(promised)}` : "";
  const owed = behind > 0n ? `; owed by the gateway, no promise yet: ${coins(behind)}` : "";
  return `${earned}${signed}${owed}.`;
}

export function tierWords(tier: Tier): string {
  const owner =
    tier === "tee"
      ? ""
      : " Whoever runs this computer could read what clients send; the clients know, and chose to accept it.";
  return `Tier ${tier}. Clients are told: "${TIER_BADGES[tier]}".${owner}`;
}

export function priceWords(price: PriceSheet): string {
  const per = (amount: Nanoton): string => formatTon(amount);
  return `${per(price.prompt)} for prompt, ${per(price.cached)} for cached and ${per(price.completion)} for completion tokens (${COIN_NAME} per million)`;
}

function engineNews(before: EngineState | undefined, { id, engine, price }: ModelStatus): readonly string[] {
  if (before?.phase === engine.phase) return [];
  switch (engine.phase) {
    case "starting":
      return [before === undefined ? `Loading ${id}…` : `Loading ${id} again…`];
    case "up": {
      const { backend, slots, contextTokens } = engine.capabilities;
      return [
        `${id} is loaded on ${backend === "cpu" ? "the processor" : backend}: ${slots} ${plural(slots, "request")} at once, ${contextTokens} tokens each, at ${priceWords(price)}.`,
      ];
    }
    case "down":
      return [`${id} is not running: ${engine.message}. ${FAILURE_TEXT[engine.code]}`];
  }
}

function gatewayNews(
  before: GatewayStatus | undefined,
  after: GatewayStatus,
  models: readonly ModelStatus[],
): readonly string[] {
  const news: string[] = [];
  const { url, link } = after;
  if (link.phase === "ready" && before?.link.phase !== "ready") news.push(`Linked to the gateway at ${url}.`);
  if (link.phase === "waiting" && waitingWords(before) !== link.message) {
    news.push(`No link to the gateway at ${url}: ${link.message}. ${FAILURE_TEXT[link.code]}`);
  }
  for (const root of after.offered.filter((offered) => before?.offered.includes(offered) !== true)) {
    const model = models.find(({ manifestRoot }) => manifestRoot === root);
    news.push(`${model?.id ?? root} is on offer at ${url}. Waiting for requests.`);
  }
  if (after.problem !== undefined && after.problem.message !== before?.problem?.message) {
    news.push(`The gateway at ${url}: ${after.problem.message}.`);
  }
  if (clockWarning(after) !== undefined && clockWarning(after) !== clockWarning(before)) {
    news.push(clockWarning(after) ?? "");
  }
  return news;
}

function waitingWords(gateway: GatewayStatus | undefined): string | undefined {
  return gateway?.link.phase === "waiting" ? gateway.link.message : undefined;
}

/** Greetings are refused beyond two minutes; a minute is time to act. */
const CLOCK_WARNING_MS = 60_000;

function clockWarning(gateway: GatewayStatus | undefined): string | undefined {
  const aheadMs = gateway?.clockAheadMs ?? 0;
  if (Math.abs(aheadMs) < CLOCK_WARNING_MS) return undefined;
  const minutes = Math.round(Math.abs(aheadMs) / 60_000);
  return `This computer's clock is about ${minutes} ${plural(minutes, "minute")} ${aheadMs > 0 ? "ahead" : "behind"}; set it to automatic time.`;
}

function coins(amount: Nanoton): string {
  return `${formatTon(amount)} ${COIN_NAME}`;
}

function sum(amounts: readonly Nanoton[]): Nanoton {
  return amounts.reduce((total, amount) => total + amount, 0n);
}

function plural(count: number, noun: string): string {
  return count === 1 ? noun : `${noun}s`;
}
