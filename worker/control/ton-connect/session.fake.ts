import type {
  ConnectRequest,
  OpenWalletSession,
  SessionEntries,
  TransactionRequest,
  WalletSession,
  WalletSessionEvents,
} from "./session.ts";

/** A session whose wallet app is played by the test. */
export interface FakeSession extends WalletSession {
  readonly events: WalletSessionEvents;
  readonly entries: SessionEntries;
  readonly connects: readonly ConnectRequest[];
  readonly sends: readonly TransactionRequest[];
  /** In order: `restore`, `cancel`, `disconnect`, `end`. */
  readonly heard: readonly string[];
  answerSend(boc: Uint8Array): void;
  refuseSend(error: Error): void;
}

/** Sessions as they are opened, the newest last. */
export function fakeSessions(): { readonly open: OpenWalletSession; readonly sessions: FakeSession[] } {
  const sessions: FakeSession[] = [];
  return {
    sessions,
    open(options, events) {
      const session = fakeSession(options.entries, events, `tc://?number=${sessions.length}`);
      sessions.push(session);
      return session;
    },
  };
}

function fakeSession(entries: SessionEntries, events: WalletSessionEvents, link: string): FakeSession {
  const connects: ConnectRequest[] = [];
  const sends: TransactionRequest[] = [];
  const heard: string[] = [];
  let sending = Promise.withResolvers<Uint8Array>();
  return {
    events,
    entries,
    connects,
    sends,
    heard,
    async connect(request) {
      connects.push(request);
      return link;
    },
    async restore() {
      heard.push("restore");
    },
    send(request) {
      sends.push(request);
      sending = Promise.withResolvers();
      return sending.promise;
    },
    cancelSending: () => void heard.push("cancel"),
    async disconnect() {
      heard.push("disconnect");
    },
    async end() {
      heard.push("end");
    },
    answerSend: (boc) => sending.resolve(boc),
    refuseSend: (error) => sending.reject(error),
  };
}
