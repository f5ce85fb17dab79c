// The door for those who put coins into a channel and take them out. It alone of the client needs a TON library, so it is
// not part of `index.ts`: who only asks loads none.

export { SYSTEM_CHAIN_CLOCK, type ChainClock } from "../../contracts/chain-clock.ts";
export type { ChainReader } from "../../contracts/chain-reader.ts";
export { channelRecords, type ChannelRecord, type ChannelRecords } from "./channel-record.ts";
export type { ChannelPhase } from "./channel-state.ts";
export { verifyGateway, type ChosenGateway, type VerifiedGateway } from "./gateway-check.ts";
export { moneyOf, type ChannelMoney } from "./money.ts";
export {
  createPaymentChannel,
  type ChannelOpening,
  type ChannelView,
  type CloseAgreement,
  type Closed,
  type Closing,
  type PaymentChannel,
  type PaymentChannelOptions,
} from "./payment-channel.ts";
export { paymentLink, type Wallet, type WalletMessage, type WalletTransaction } from "./wallet.ts";
