import type { FailureCode } from "../failure.ts";

/** What a person reads when something failed: what happened, then what to do next. */
export const FAILURE_TEXT: Readonly<Record<FailureCode, string>> = {
  bad_login:
    "The gateway did not accept this key. Check that no other program uses the same identity, then start again.",
  bad_hello: "The session could not be opened: a greeting was malformed. Update both sides to the same version.",
  bad_hello_sig: "The worker that answered is not the one that was verified. Nothing was sent; try again.",
  unknown_worker: "The gateway reached another worker than the one that was verified. Nothing was sent; try again.",
  evidence_stale: "The worker has renewed its evidence. Nothing was sent; try again.",
  model_unavailable: "The worker no longer serves this model. Try again or choose another model.",
  clock_skew: "This computer's clock is more than two minutes off. Set it to automatic time, then try again.",
  replay: "A message arrived a second time and was refused. Try again.",
  session_expired: "The session ended. Try again: a new one is opened.",
  session_unknown: "The worker has forgotten the session. Try again: a new one is opened.",
  decrypt_failed: "Sealed bytes did not open: they were changed on the way. Nothing of them was used; try again.",
  bad_frame: "Sealed bytes had a wrong shape: they were changed on the way. Nothing of them was used; try again.",
  bad_padding: "Sealed bytes had a wrong shape: they were changed on the way. Nothing of them was used; try again.",
  bad_message: "A message was not as the protocol has it. Update both sides to the same version.",
  frame_limit: "The request is too long for one stream. Shorten it.",
  data_after_fin:
    "Bytes arrived after the end of the answer and were refused. The answer is complete; report it if it repeats.",
  truncated: "The answer broke off before its end. What arrived is not complete; try again.",
  unsupported_field:
    "The request has a field that is not supported here. Remove the field that is named and try again.",
  context_overflow: "The prompt and the answer together are longer than the model's context. Shorten one of them.",
  worker_crashed: "The worker failed while it answered. Try again: another worker is chosen.",
  client_too_slow:
    "The answer was not read fast enough and was stopped. Delivered tokens are charged; read faster, or ask for a shorter answer.",
  cancelled: "The request was cancelled. Delivered tokens are charged; send it again for a whole answer.",
  no_worker: "No worker serves this model right now. Try again later or choose another model.",
  busy: "All workers for this model are busy. Try again in a moment.",
  rate_limited: "Too many requests in a short time. Wait a moment, then try again.",
  internal: "Something failed that should not have. Try again; if it stays, report it with the log.",
  reservation_unknown: "The reservation ended before it was used. Try again.",
  reservation_exceeded:
    "The request is larger than what was reserved for it. Nothing was generated or charged; shorten it.",
  reservation_mismatch:
    "The worker was given another request than the one that was sealed. Nothing was generated or charged; try again.",
  payment_required:
    "The deposit or the credit limit does not cover what this request could cost. Top up the channel, raise the credit limit or lower the token limit.",
  trial_exhausted: "The trial is used up. Open a channel with a deposit to go on.",
  price_too_low: "No worker asks as little as the highest price allows. Raise the highest price or try later.",
  tier_too_low:
    "No worker of the tier you ask for is on offer. Wait for one, or accept a lower tier and what it means.",
  bad_offer: "The worker's offer was not valid for this gateway, model or time. Nothing was sent; try again.",
  bad_receipt:
    "The worker's receipt does not match what was sent. The charge is disputed; check the log for both counts.",
  evidence_format: "The worker's evidence could not be read. Nothing was sent; try again: another worker is chosen.",
  evidence_binding:
    "The worker's evidence belongs to something else. Nothing was sent; try again: another worker is chosen.",
  evidence_expired: "The worker's evidence has expired. Nothing was sent; check this computer's clock if it repeats.",
  evidence_sig:
    "The worker's evidence is not signed by its key. Nothing was sent; try again: another worker is chosen.",
  beacon_stale: "The worker's evidence does not prove that it is fresh. Nothing was sent; try again in a few minutes.",
  release_unchecked:
    "The worker's software release could not be checked here, and the policy asks for it. Nothing was sent; use a client that can check releases, or accept unchecked ones in the policy.",
  sigstore_bundle:
    "The proof of the worker's release is not valid. Nothing was sent; try again: another worker is chosen.",
  sigstore_signer:
    "The worker's release was signed by somebody else. Nothing was sent; check the signer in your policy if it repeats.",
  sigstore_subject:
    "The worker runs something else than its release names. Nothing was sent; try again: another worker is chosen.",
  policy_denied:
    "The worker is not allowed by your policy. Nothing was sent; wait for another worker, or change the policy.",
  policy_format: "The policy file has a mistake in the key that is named. Correct it and start again.",
  tpm_proof:
    "The worker's PC did not prove that it is the one in its evidence. Nothing was sent; try again: another worker is chosen.",
  chain_unreachable:
    "The blockchain node does not answer. Nothing is lost: promises stay valid without it; the app keeps trying.",
  chain_rate_limited:
    "The blockchain node refuses more questions for now. Wait a minute, or add an API key of your own in the settings.",
  chain_malformed:
    "The blockchain node answered with something that is not the chain's data. Check its address in the settings.",
  chain_lagging:
    "The blockchain node is behind the chain, so its numbers are old. Wait until it has caught up, or choose another one.",
  chain_disagrees:
    "Two blockchain nodes say different things. Nothing is shown as paid until they agree; check both addresses if it stays.",
  chain_other_network:
    "The blockchain node belongs to another network than the one chosen. Correct its address or the network in the settings.",
  chain_refused:
    "The contract did not accept the message; no coins were moved. Update the numbers on the page, then try again.",
  spending_cap:
    "This could cost more than the cap you set. Nothing was sent; raise the cap, lower the token limit, or wait until the day is over.",
  deposit_too_small:
    "The deposit is less than the network takes. Nothing was sent; choose at least the amount that is named.",
  channel_missing: "There is no channel with a deposit here. Open one first.",
  channel_locked:
    "The channel holds a deposit, so its key cannot change nor its credit limit fall. Add to it as it is, or close it first.",
  channel_closing:
    "The channel is closing, and coins sent to it now would come back. Wait until it is closed, then open it again.",
  channel_pending:
    "A message to the channel is under way and not seen on the chain yet. Wait a few minutes, then look again; do not confirm it twice.",
  gateway_contract:
    "The gateway's contract is not one that this version knows, or belongs to another key. Nothing was sent; check the gateway's key, or choose another gateway.",
  gateway_unlisted:
    "The network's registry does not list this gateway with this key. Nothing was sent; choose a gateway that is listed.",
  gateway_terms:
    "The gateway does not keep to the network's delays or its highest fee. Nothing was sent; choose another gateway.",
  gateway_stake:
    "The gateway's stake is less than the network asks for. Nothing was sent; wait until it has added some, or choose another gateway.",
  gateway_closing: "The gateway is closing for good. Nothing was sent; choose another gateway.",
  wallet_balance:
    "The wallet does not hold the amount and the fees. Nothing was sent; add coins to it, or choose a smaller amount.",
  wallet_missing: "No wallet is connected. Open the wallet page, scan the code with your wallet app, then try again.",
  wallet_declined: "You declined it in your wallet. Nothing was sent; try again when you want to.",
  wallet_silent:
    "The wallet did not answer in time. Nothing can be sent any more by that request; open the wallet app, then try again.",
  wallet_unreachable: "The wallet's bridge does not answer. Nothing was sent; check the connection, then try again.",
  wallet_refused:
    "The wallet app cannot do what was asked. Nothing was sent; update the wallet app, or choose another one.",
  wallet_manifest:
    "The wallet could not look up what this app is. Check the phone's connection, then try again; report it if it stays.",
  wallet_network:
    "The wallet is on another network than the one chosen. Choose the same network in the wallet or in the settings.",
  wallet_address:
    "The wallet is on another account than the one that was asked. Choose that account in the wallet, then try again; a worker can also take the other one as its new owner.",
  wallet_proof:
    "The wallet did not prove that the address is its own, so it was not accepted. Try again, or choose another wallet app.",
  wallet_session:
    "The kept connection to the wallet app cannot be used. Nothing earned is lost; open the wallet page and connect again.",
  wallet_busy: "The wallet is asked already. Open the wallet app and answer there, or wait until the request is over.",
  nothing_to_withdraw: "Nothing can be withdrawn now. Wait until a gateway has signed a newer voucher.",
  promise_fell:
    "The gateway promises less than it did. Nothing new is done for it; what it promised before stays yours. Wait until it shows the old promise again, or choose another gateway.",
  voucher_format:
    "This is not a file of exported vouchers, or it was changed by hand. Nothing was imported; choose the file as it was exported.",
  voucher_mismatch:
    "The file says something else than the voucher in it. It was changed after it was exported; nothing was imported; choose the file as it was.",
  voucher_signature:
    "A voucher is not signed by the gateway it names. No contract would pay it, so nothing was imported; choose the file as it was exported.",
  voucher_channel:
    "A voucher is for another channel than its owner has at that gateway. It would pay somebody else, so nothing was imported; choose the file as it was exported.",
  model_invalid: "The model file cannot be used. Download it again, or choose a model this version can run.",
  out_of_memory: "The model does not fit into memory. Choose a smaller model or a shorter context.",
  port_taken: "Another program already listens on this port. Stop it, or choose another port.",
  disk_full: "The disk is full. Free some space; nothing that was promised is lost.",
  storage_failed: "The data folder cannot be read or written. Check its permissions and the disk.",
  gateway_unreachable: "The gateway does not answer. Check the connection; the app keeps trying.",
  bad_configuration: "A setting is not valid. Correct the one that is named and start again.",
};
