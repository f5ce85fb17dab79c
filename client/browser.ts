import { browserSignatures } from "./browser-signing.ts";
import { openBrowserSocket } from "./browser-socket.ts";
import { assembleClient, type Client, type ClientOptions } from "./client.ts";
import { memoryJournal, type Journal } from "./journal.ts";

// The entry without Node: nothing here or below imports `node:` anything.

export type { AccountSummary } from "./account.ts";
export type { AnswerParts, ToolCall } from "./answer.ts";
export { parseCatalogue, type Catalogue, type CatalogueModel } from "./catalogue.ts";
export { ClientFailure, explain, type FailureFacts } from "./client-failure.ts";
export type { Client, ClientOptions, RequestOptions } from "./client.ts";
export type { ClientEvent, Completion } from "./events.ts";
export { memoryJournal, type Journal } from "./journal.ts";
export type { ChannelId } from "./receipts.ts";
export type { AnswerEnd, AnsweringWorker, RequestTerms } from "./session.ts";

export interface BrowserClientOptions extends ClientOptions {
  /** Keeps what was signed; default: the page's memory, and the gateway's copy after a reload. */
  readonly journal?: Journal;
}

/** A client in a page or a worker. @throws {Failure} `bad_configuration`. */
export function createClient(options: BrowserClientOptions): Client {
  return assembleClient(options, {
    openSocket: openBrowserSocket,
    journal: options.journal ?? memoryJournal(),
    signatures: browserSignatures(),
  });
}
