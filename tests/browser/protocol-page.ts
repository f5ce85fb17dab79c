import {
  FIN,
  FrameOpener,
  FrameSealer,
  fromHex,
  fromUtf8,
  keyPairFromSeed,
  openSession,
  parsePolicy,
  payloadHash,
  toHex,
  utf8,
  verifyEvidence,
  encodeClientHello,
  type Session,
} from "../../protocol/index.ts";

/** A client in a page: what Node's side of the test calls, in hex and text, since only those cross. */
export interface ProtocolPage {
  readonly hasNode: boolean;
  hello(facts: HelloFacts): string;
  /** Verifies the evidence, opens the session, and answers with `enc`. */
  open(facts: HelloFacts, document: string, hello: string, answer: string): Promise<string>;
  seal(streamId: number, prompt: string): Promise<readonly string[]>;
  read(streamId: number, frames: readonly string[]): Promise<string>;
  countersign(seed: string, voucher: VoucherFacts): string;
}

export interface HelloFacts {
  readonly now: number;
  readonly workerId: string;
  readonly evidenceHash: string;
  readonly manifestRoot: string;
}

export interface VoucherFacts {
  readonly networkId: number;
  readonly channel: string;
  readonly total: string;
  readonly receipt: string;
}

let session: Session | undefined;

const page: ProtocolPage = {
  hasNode: "Buffer" in globalThis || "process" in globalThis,
  hello({ now, ...facts }) {
    const clientNonce = crypto.getRandomValues(new Uint8Array(32));
    return toHex(encodeClientHello({ ...facts, clientNonce, time: now, tpmChallenge: new Uint8Array() }));
  },
  async open({ now, ...expected }, document, hello, answer) {
    const software = { requireSigstoreRelease: false };
    const policy = parsePolicy({ v: "acn1-policy", minTier: "software", beacon: "ifAvailable", software });
    const worker = await verifyEvidence(fromHex(document), policy, { now, expected, beacon: null });
    const opened = await openSession(worker, fromHex(hello), fromHex(answer), now);
    session = opened.session;
    return toHex(opened.enc);
  },
  async seal(streamId, prompt) {
    const sealer = new FrameSealer(await openedSession().streamKeys(0, streamId));
    return [sealer.seal(utf8(prompt)), sealer.seal(new Uint8Array(), FIN)].map(toHex);
  },
  async read(streamId, frames) {
    const opener = new FrameOpener(await openedSession().streamKeys(1, streamId));
    const texts = frames.map((frame) => fromUtf8(opener.open(fromHex(frame)).data));
    opener.end();
    return texts.join("");
  },
  countersign(seed, { networkId, channel, total, receipt }) {
    const { sign } = keyPairFromSeed(fromHex(seed));
    const payload = { type: "charge", networkId, channel, total: BigInt(total), receipt: fromHex(receipt) } as const;
    return toHex(sign(payloadHash(payload)));
  },
};

Object.assign(globalThis, { protocolPage: page });

function openedSession(): Session {
  if (session === undefined) throw new Error("no session yet");
  return session;
}
