import { Address, beginCell, storeMessage, type Cell, type Message, type Transaction, type TupleItem } from "@ton/core";
import { readPlaced, type PlacedTransaction } from "./state.ts";

/** Answers as toncenter's API v2 has them; what the field names mean is its documentation's. */
export type Json = string | number | boolean | null | undefined | readonly Json[] | { readonly [key: string]: Json };

export function base64(cell: Cell): string {
  return cell.toBoc().toString("base64");
}

/** @param hash in base64. */
export function transactionId({ lt, hash }: { readonly lt: bigint; readonly hash: string }): Json {
  return { "@type": "internal.transactionId", lt: lt.toString(), hash };
}

export function transactionJson(placed: PlacedTransaction): Json {
  const { address, lt, hash, boc } = placed;
  const transaction = readPlaced(placed);
  const storage = storageFee(transaction);
  const total = transaction.totalFees.coins;
  return {
    "@type": "raw.transaction",
    address: { "@type": "accountAddress", account_address: Address.parseRaw(address).toString() },
    utime: transaction.now,
    data: boc,
    transaction_id: transactionId({ lt, hash }),
    fee: total.toString(),
    storage_fee: storage.toString(),
    other_fee: (total - storage).toString(),
    in_msg: transaction.inMessage ? messageJson(transaction.inMessage) : undefined,
    out_msgs: transaction.outMessages.values().map(messageJson),
  };
}

function storageFee({ description }: Transaction): bigint {
  const phase = "storagePhase" in description ? description.storagePhase : undefined;
  return phase?.storageFeesCollected ?? 0n;
}

function messageJson(message: Message): Json {
  const { info, body } = message;
  const isInternal = info.type === "internal";
  return {
    "@type": "raw.message",
    hash: beginCell().store(storeMessage(message)).endCell().hash().toString("base64"),
    source: info.type === "external-in" ? "" : info.src.toString(),
    destination: info.type === "external-out" ? "" : info.dest.toString(),
    value: isInternal ? info.value.coins.toString() : "0",
    extra_currencies: [],
    fwd_fee: isInternal ? info.forwardFee.toString() : "0",
    ihr_fee: isInternal ? info.ihrFee.toString() : "0",
    created_lt: "createdLt" in info ? info.createdLt.toString() : "0",
    body_hash: body.hash().toString("base64"),
    msg_data: { "@type": "msg.dataRaw", body: base64(body), init_state: "" },
    message: "",
  };
}

/** A value at the top of a get method's stack: slices and builders come as cells, null as an empty list. */
export function stackEntry(item: TupleItem): Json {
  switch (item.type) {
    case "int":
      return ["num", item.value < 0n ? `-0x${(-item.value).toString(16)}` : `0x${item.value.toString(16)}`];
    case "nan":
      return ["num", "0x0"];
    case "cell":
    case "slice":
    case "builder":
      return ["cell", { bytes: base64(item.cell) }];
    case "null":
    case "tuple": {
      const list = listOf(item);
      return list === undefined ? ["tuple", elements("tuple", itemsOf(item))] : ["list", elements("list", list)];
    }
  }
}

/** A value inside a tuple, which toncenter writes in another way. */
function nestedEntry(item: TupleItem): Json {
  switch (item.type) {
    case "int":
      return number(item.value);
    case "nan":
      return number(0n);
    case "cell":
    case "builder":
      return { "@type": "tvm.stackEntryCell", cell: { "@type": "tvm.cell", bytes: base64(item.cell) } };
    case "slice":
      return { "@type": "tvm.stackEntrySlice", slice: { "@type": "tvm.slice", bytes: base64(item.cell) } };
    case "null":
    case "tuple": {
      const list = listOf(item);
      return list === undefined
        ? { "@type": "tvm.stackEntryTuple", tuple: elements("tuple", itemsOf(item)) }
        : { "@type": "tvm.stackEntryList", list: elements("list", list) };
    }
  }
}

function number(value: bigint): Json {
  const number = { "@type": "tvm.numberDecimal", number: value.toString() };
  return { "@type": "tvm.stackEntryNumber", number };
}

function elements(type: "list" | "tuple", items: readonly TupleItem[]): Json {
  return { "@type": `tvm.${type}`, elements: items.map(nestedEntry) };
}

function itemsOf(item: TupleItem): readonly TupleItem[] {
  return item.type === "tuple" ? item.items : [];
}

/** TVM has no lists: what is null, or a pair of something and a list, is taken for one. */
function listOf(item: TupleItem): readonly TupleItem[] | undefined {
  const list: TupleItem[] = [];
  let rest = item;
  while (rest.type === "tuple") {
    const [head, tail, ...more] = rest.items;
    if (head === undefined || tail === undefined || more.length > 0) return undefined;
    list.push(head);
    rest = tail;
  }
  return rest.type === "null" ? list : undefined;
}
