import { Address, external, type Transaction } from "@ton/core";
import { readExternal } from "../../contracts/external-message.ts";
import { Failure } from "../../protocol/index.ts";
import { NotAccepted } from "./chain.ts";
import { atHead, type Method, type NodeSide } from "./method.ts";
import { addressOf, cellOf, optionalCell, type Parameters } from "./parameters.ts";
import { Refusal } from "./refusal.ts";
import type { Json } from "./toncenter-format.ts";

/** Messages from outside: sent, or only weighed. */
export const MESSAGE_METHODS: Readonly<Record<string, Method>> = {
  sendBoc: async (node, parameters) => {
    await send(node, parameters);
    return { "@type": "ok" };
  },

  sendBocReturnHash: async (node, parameters) => {
    const hash = await send(node, parameters);
    return { "@type": "raw.extMessageInfo", hash };
  },

  estimateFee: atHead(async ({ chain }, parameters) => {
    const to = Address.parseRaw(addressOf(parameters, "address"));
    const [code, data] = [optionalCell(parameters, "init_code"), optionalCell(parameters, "init_data")];
    const init = code && data ? { code, data } : undefined;
    const message = external({ to, body: cellOf(parameters, "body"), ...(init === undefined ? {} : { init }) });
    const tried = await chain.tryOut(message, parameters.ignore_chksig !== false);
    if (tried.type === "refused") throw notAccepted(tried.exitCode);
    return { "@type": "query.fees", source_fees: feesOf(tried.transaction), destination_fees: [] };
  }),
};

async function send({ chain }: NodeSide, parameters: Parameters): Promise<string> {
  const cell = cellOf(parameters, "boc");
  try {
    await chain.accept(readExternal(cell.toBoc()));
  } catch (error) {
    if (error instanceof NotAccepted) throw notAccepted(error.exitCode);
    if (error instanceof Failure) throw new Refusal(500, `${CANNOT_APPLY} : ${error.message}`, { cause: error });
    throw error;
  }
  return cell.hash().toString("base64");
}

const CANNOT_APPLY = "LITE_SERVER_UNKNOWN: cannot apply external message to current state";

function notAccepted(exitCode: number | undefined): Refusal {
  const why = exitCode === undefined ? "before smart-contract execution" : `exitcode=${exitCode}, steps=0, gas_used=0`;
  return new Refusal(
    500,
    `${CANNOT_APPLY} : External message was not accepted\nCannot run message on account: inbound external message rejected: ${why}`,
  );
}

function feesOf({ description, totalFees }: Transaction): Json {
  if (description.type !== "generic") throw new Error("a message runs a generic transaction");
  const { computePhase: compute, actionPhase: action, storagePhase } = description;
  const gas = compute.type === "vm" ? compute.gasFees : 0n;
  const storage = storagePhase?.storageFeesCollected ?? 0n;
  const inbound = totalFees.coins - gas - storage - (action?.totalActionFees ?? 0n);
  return {
    "@type": "fees",
    in_fwd_fee: Number(inbound),
    storage_fee: Number(storage),
    gas_fee: Number(gas),
    fwd_fee: Number(action?.totalFwdFees ?? 0n),
  };
}
