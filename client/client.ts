import {
  chatRequestBody,
  completionRequestBody,
  DEFAULT_POLICY,
  Failure,
  parseStrict,
  type Beacon,
  type ChatRequestBody,
  type CompletionRequestBody,
  type HardwareVerifiers,
  type Policy,
  type PriceSheet,
  type ReleaseVerifier,
} from "../protocol/index.ts";
import { createAccount, type AccountSummary, type PaidChannel } from "./account.ts";
import type { Catalogue } from "./catalogue.ts";
import { createConversations } from "./conversations.ts";
import { collect, eventsOf, type ClientEvent, type Completion, type StartRequest } from "./events.ts";
import { createEvidenceDesk } from "./evidence.ts";
import { gatewayUrls } from "./gateway-url.ts";
import type { Journal } from "./journal.ts";
import { openLink } from "./link.ts";
import type { ModelRequest } from "./sealed-body.ts";
import { runRequest, type AnswerListener, type RequestTerms } from "./session.ts";
import { createSessions } from "./sessions.ts";
import type { Signatures } from "./signing.ts";
import type { OpenSocket } from "./socket.ts";
import type { SpendingCap } from "./spending.ts";
import { DEFAULT_MAX_FEE_BPS } from "./trust.ts";

/** A program that asks: verifies workers, seals prompts, pays by countersignature. */
export interface Client {
  /**
   * One chat answer as it comes. Leaving the loop early cancels the request.
   *
   * @throws {Failure} while iterating; what was yielded before is not a whole answer.
   */
  chat(body: ChatRequestBody, options?: RequestOptions): AsyncIterable<ClientEvent>;
  /** The same for a raw prompt without a chat template. */
  continueText(body: CompletionRequestBody, options?: RequestOptions): AsyncIterable<ClientEvent>;
  /** A whole chat answer. @throws {Failure} */
  complete(body: ChatRequestBody, options?: RequestOptions): Promise<Completion>;
  /** The same without an iterator between: the listener is called as frames are opened. Returns the cancel. */
  request(request: ModelRequest, terms: RequestTerms, listener: AnswerListener): () => void;
  models(): Catalogue;
  /** What was countersigned so far. */
  account(): AccountSummary;
  /** Resolves once the gateway has let this client in. @throws {Failure} `gateway_unreachable`, `bad_login`, `clock_skew`. */
  ready(): Promise<void>;
  /** Ends the link; running requests fail with `cancelled`. Once is enough, twice does no harm. */
  close(): Promise<void>;
}

export interface RequestOptions extends RequestTerms {
  readonly signal?: AbortSignal;
}

export interface ClientOptions {
  readonly gateway: {
    /** `https://…`, or `http://…` on loopback. */
    readonly url: string;
    /** 32 bytes: another key at that address is refused. */
    readonly key: Uint8Array;
  };
  /** Which workers may see a prompt. Default: hardware-isolated ones only. */
  readonly policy?: Policy;
  /** 32 secret bytes: the key this client pays with. */
  readonly paymentSeed: Uint8Array;
  /** The payment channel; without one the gateway's trial is used, and nothing is signed. */
  readonly channel?: PaidChannel;
  /** Refuses a request before it leaves when its worst case would pass this. Default: the deposit is the cap. */
  readonly cap?: SpendingCap;
  /** Models by name. A manifest root of 64 hex digits needs no entry. */
  readonly catalogue?: Catalogue;
  /** Highest price in nanoton per million tokens, the gateway's fee included. */
  readonly maxPrice?: PriceSheet;
  /** The registry's highest fee in hundredths of a percent; default 1000. */
  readonly maxFeeBps?: number;
  /** The masterchain block of a seqno, from a chain reader of the client's own. */
  readonly lookUpBlock?: (seqno: number) => Promise<Beacon | undefined>;
  readonly releaseVerifier?: ReleaseVerifier;
  readonly hardwareVerifiers?: HardwareVerifiers;
  /** Unix ms; default the computer's clock. */
  readonly now?: () => number;
  readonly random?: (length: number) => Uint8Array;
  readonly fetch?: typeof fetch;
  /** One line for a person about links and money; never a word of a prompt. */
  readonly log?: (line: string) => void;
}

/** What differs between Node and a browser. */
export interface Platform {
  readonly openSocket: OpenSocket;
  readonly journal: Journal;
  readonly signatures: Signatures;
}

const SEED_BYTES = 32;
const KEY_BYTES = 32;

/** Joins the parts; what is a rule is theirs. @throws {Failure} `bad_configuration`, `storage_failed`. */
export function assembleClient(options: ClientOptions, platform: Platform): Client {
  checkLengths(options);
  const {
    gateway,
    policy = DEFAULT_POLICY,
    channel,
    cap = {},
    catalogue = [],
    maxPrice,
    maxFeeBps = DEFAULT_MAX_FEE_BPS,
  } = options;
  const { now = Date.now, random = randomBytes, log = () => undefined } = options;
  const urls = gatewayUrls(gateway.url);
  const { journal, openSocket, signatures } = platform;
  const key = signatures.paymentKey(options.paymentSeed);
  const elapsed = (): number => performance.now();
  const { verify } = signatures;
  const account = createAccount({ key, verify, gatewayKey: gateway.key, channel, cap, journal, now, elapsed, log });
  const link = openLink({
    url: urls.socket,
    gatewayKey: gateway.key,
    networkId: channel?.networkId,
    key,
    address: channel?.address ?? "",
    openSocket,
    now,
    random,
    countersigned: () => account.countersigned(),
    onWelcome: (welcome) => account.welcome(welcome),
    onCharge: (charge) => {
      void account.answer(charge).then((answers) => {
        for (const answer of answers) link.send(answer);
      });
    },
    log,
  });
  const { lookUpBlock, releaseVerifier, hardwareVerifiers } = options;
  const desk = createEvidenceDesk(urls.http, policy, {
    fetch: options.fetch ?? fetch,
    now,
    ...(lookUpBlock === undefined ? {} : { lookUpBlock }),
    ...(releaseVerifier === undefined ? {} : { releaseVerifier }),
    ...(hardwareVerifiers === undefined ? {} : { hardwareVerifiers }),
  });
  const ports = {
    link,
    desk,
    sessions: createSessions({ link, now, random, verify }),
    account,
    conversations: createConversations(random(16)),
    offers: new Map(),
    contexts: new Map(),
    catalogue,
    policy,
    gatewayKey: gateway.key,
    maxPrice,
    maxFeeBps,
    now,
    elapsed,
  };
  const running = new Set<() => void>();

  const request: Client["request"] = (asked, terms, listener) => {
    const cancel = runRequest(ports, asked, terms, {
      worker: listener.worker,
      event: listener.event,
      end(end) {
        running.delete(cancel);
        listener.end(end);
      },
      failed(failure) {
        running.delete(cancel);
        listener.failed(failure);
      },
    });
    running.add(cancel);
    return cancel;
  };
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    for (const cancel of [...running]) cancel();
    await account.settle();
    link.close();
    account.close();
  };
  const start =
    (asked: ModelRequest, terms: RequestTerms): StartRequest =>
    (listener) =>
      request(asked, terms, listener);

  return {
    chat: (body, chosen = {}) => eventsOf(start(chatRequest(body), chosen), chosen.signal),
    continueText: (body, chosen = {}) => eventsOf(start(textRequest(body), chosen), chosen.signal),
    complete: async (body, chosen = {}) => collect(start(chatRequest(body), chosen), chosen.signal),
    request,
    models: () => catalogue,
    account: () => account.summary(),
    ready: () => link.ready(),
    close: () => (closing ??= close()),
  };
}

function checkLengths({ paymentSeed, gateway }: ClientOptions): void {
  if (paymentSeed.length !== SEED_BYTES) throw new Failure("bad_configuration", "paymentSeed: not 32 bytes");
  if (gateway.key.length !== KEY_BYTES) throw new Failure("bad_configuration", "gateway.key: not 32 bytes");
}

/** @throws {Failure} `unsupported_field`, naming it. */
function chatRequest(body: ChatRequestBody): ModelRequest {
  return { path: "/v1/chat/completions", body: parseStrict(chatRequestBody, body, "unsupported_field") };
}

function textRequest(body: CompletionRequestBody): ModelRequest {
  return { path: "/v1/completions", body: parseStrict(completionRequestBody, body, "unsupported_field") };
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}
