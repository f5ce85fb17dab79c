import { DEMO_POLICY, formatTon, TIER_BADGES, type Nanoton, type Tier, type TokenUsage } from "../protocol/index.ts";

/** What the demo tells, to a person or to a program. */
export interface DemoVoice {
  ready(facts: DemoReady): void;
  question(text: string): void;
  text(piece: string): void;
  answered(facts: DemoAnswer): void;
  /** After the first answer, when the network keeps running. */
  waiting(facts: DemoReady): void;
}

export interface DemoReady {
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly model: string;
  readonly gatewayUrl: string;
}

export interface DemoAnswer {
  readonly answer: string;
  readonly model: string;
  readonly tier: Tier;
  readonly usage: TokenUsage;
  readonly ttftMs: number;
  readonly tokensPerSecond: number;
  /** From the client's own countersignature. */
  readonly chargedNanoton: Nanoton;
  /** From the worker's voucher. */
  readonly earnedNanoton: Nanoton;
  /** From the gateway's ledger. */
  readonly feeNanoton: Nanoton;
}

/** JSON lines and nothing else. */
export function jsonVoice(write: (text: string) => void): DemoVoice {
  const line = (value: object): void => write(`${JSON.stringify(value, digits)}\n`);
  return {
    ready: (facts) => line({ ready: true, ...facts }),
    question: () => undefined,
    text: () => undefined,
    answered: line,
    waiting: () => undefined,
  };
}

/** Plain sentences. */
export function plainVoice(write: (text: string) => void): DemoVoice {
  return {
    ready() {
      write("The network runs on this computer: a gateway, a worker with a model, and a client.\n\n");
      write(`Policy: ${JSON.stringify({ minTier: DEMO_POLICY.minTier, software: DEMO_POLICY.software })}\n`);
      write(`It accepts a worker on any PC. ${TIER_BADGES.software}.\n`);
      write("Without this demo policy a client asks for hardware isolation and refuses such a worker.\n\n");
    },
    question: (text) => write(`You:    ${text}\nWorker: `),
    text: write,
    answered(facts) {
      const { promptTokens, cachedTokens, completionTokens } = facts.usage;
      write("\n\n");
      write(`Model     ${facts.model}, tier ${facts.tier}\n`);
      write(`Tokens    ${promptTokens} prompt (${cachedTokens} cached), ${completionTokens} completion\n`);
      write(`Speed     first token after ${facts.ttftMs} ms, then ${facts.tokensPerSecond} tokens/s\n`);
      write(`Charged   ${amount(facts.chargedNanoton)}   the client's countersigned total\n`);
      write(`Earned    ${amount(facts.earnedNanoton)}   the worker's signed voucher\n`);
      write(`Fee       ${amount(facts.feeNanoton)}   the gateway's ledger\n`);
      write("These are devnet coins, worth nothing.\n");
    },
    waiting(facts) {
      write("\nPoint any OpenAI client at it:\n");
      write(`  base URL  ${facts.baseUrl}\n  API key   ${facts.apiKey}\n  model     ${facts.model}\n\n`);
      write(`  curl ${facts.baseUrl}/chat/completions -H "Authorization: Bearer ${facts.apiKey}" \\\n`);
      write(`    -H "Content-Type: application/json" \\\n`);
      write(`    -d '{"model":"${facts.model}","stream":true,"messages":[{"role":"user","content":"Hello"}]}'\n\n`);
      write("Press Ctrl-C to stop.\n");
    },
  };
}

function amount(value: Nanoton): string {
  return `${value} nanoton (${formatTon(value)} TON)`.padEnd(44);
}

function digits(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
