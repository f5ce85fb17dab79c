export type { LedgerSums, PaidReason } from "./books.ts";
export { localChannels, type Channels, type ClientChannelView, type LocalChannels } from "./channels.ts";
export type { Clock } from "./clock.ts";
export { startGateway, type Gateway, type GatewayOptions, type GatewayStatus } from "./gateway.ts";
export { LIMITS, type Limits } from "./limits.ts";
export type { Store } from "./store.ts";
export type { OwnerProofVerifier } from "./workers.ts";
