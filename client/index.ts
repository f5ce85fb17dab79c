import { assembleClient, type Client, type ClientOptions } from "./client.ts";
import { memoryJournal, type Journal } from "./journal.ts";
import { nodeSignatures } from "./node-signing.ts";
import { openNodeSocket } from "./node-socket.ts";
import { openStateFolder } from "./state-folder.ts";

export type { AccountSummary } from "./account.ts";
export type { AnswerParts, ToolCall } from "./answer.ts";
export { parseCatalogue, type Catalogue, type CatalogueModel } from "./catalogue.ts";
export { ClientFailure, explain, type FailureFacts } from "./client-failure.ts";
export type { Client, ClientOptions, RequestOptions } from "./client.ts";
export type { ClientEvent, Completion } from "./events.ts";
export { memoryJournal, type Journal };
export { serveOpenAi, type OpenAiEndpoint, type OpenAiEndpointOptions } from "./openai-endpoint.ts";
export type { ChannelId } from "./receipts.ts";
export type { ModelRequest } from "./sealed-body.ts";
export type { AnswerEnd, AnsweringWorker, AnswerListener, RequestTerms } from "./session.ts";
export { openStateFolder } from "./state-folder.ts";

export interface NodeClientOptions extends ClientOptions {
  /** Keeps what was signed, across restarts; one client at a time. Required with a channel, unless `journal` is given. */
  readonly stateFolder?: string;
  /** A keeper of one's own instead of a folder. */
  readonly journal?: Journal;
}

/**
 * A client on Node. It dials at once and goes on dialling until {@link Client.close}.
 *
 * @throws {Failure} `bad_configuration`, `storage_failed` (also when another client uses the folder), `disk_full`.
 */
export function createClient(options: NodeClientOptions): Client {
  const { stateFolder, journal } = options;
  const kept = journal ?? (stateFolder === undefined ? memoryJournal() : openStateFolder(stateFolder));
  try {
    return assembleClient(options, { openSocket: openNodeSocket, journal: kept, signatures: nodeSignatures() });
  } catch (error) {
    kept.close();
    throw error;
  }
}
