import type { FailureCode, Nanoton, RawAddress } from "../../protocol/index.ts";

/** The wallet app that belongs to the owner, as a screen shows it. Plain: nothing secret is in it but the link. */
export type WalletState =
  | { readonly phase: "disconnected" }
  | ConnectingWallet
  | ConnectedWallet
  /** The last attempt to connect, or the kept connection, failed. */
  | { readonly phase: "failing"; readonly code: FailureCode; readonly message: string };

export interface ConnectingWallet {
  readonly phase: "connecting";
  /** What the code on the screen says. Whoever opens it first can answer: show it to the owner alone. */
  readonly link: string;
  /** The app it is for; undefined: any. */
  readonly walletName: string | undefined;
  /** Unix ms: nobody can answer after. */
  readonly until: number;
  readonly isReachable: boolean;
  /** What stays as it is when nothing comes of it. */
  readonly former: ConnectedWallet | undefined;
}

export interface ConnectedWallet {
  readonly phase: "connected";
  readonly address: RawAddress;
  readonly walletName: string;
  readonly networkId: number;
  /** Whether the wallet's bridge answers. */
  readonly isReachable: boolean;
  /** Whether the connection is kept for the next start of the program. */
  readonly isKept: boolean;
  /** The last thing the wallet was asked for. */
  readonly request: WalletRequest;
}

export type WalletRequest =
  | { readonly phase: "none" }
  /** The owner has to confirm in the wallet app. */
  | {
      readonly phase: "asking";
      readonly nanoton: Nanoton;
      readonly channels: readonly RawAddress[];
      readonly until: number;
    }
  /** The wallet says that it has signed and sent; whether coins arrive, the chain alone says. */
  | {
      readonly phase: "accepted";
      readonly nanoton: Nanoton;
      readonly channels: readonly RawAddress[];
      /** Unix ms. */
      readonly at: number;
      /** Lowercase hex: by what the message is found among the owner's transactions. */
      readonly messageHash: string;
    }
  | { readonly phase: "failed"; readonly code: FailureCode; readonly message: string; readonly at: number };

export type WalletEvent =
  | {
      readonly type: "asked-to-connect";
      readonly link: string;
      readonly walletName: string | undefined;
      readonly until: number;
    }
  | {
      readonly type: "connected";
      readonly address: RawAddress;
      readonly walletName: string;
      readonly networkId: number;
      readonly isKept: boolean;
    }
  | { readonly type: "failed"; readonly code: FailureCode; readonly message: string; readonly at: number }
  | { readonly type: "given-up" }
  | { readonly type: "ended" }
  | { readonly type: "reachable"; readonly isReachable: boolean }
  | { readonly type: "kept"; readonly isKept: boolean }
  | {
      readonly type: "asked";
      readonly nanoton: Nanoton;
      readonly channels: readonly RawAddress[];
      readonly until: number;
    }
  | { readonly type: "accepted"; readonly at: number; readonly messageHash: string }
  | { readonly type: "not-accepted"; readonly code: FailureCode; readonly message: string; readonly at: number };

/** The next state. Pure; an event that does not belong to the state changes nothing. */
export function nextWallet(state: WalletState, event: WalletEvent): WalletState {
  switch (event.type) {
    case "asked-to-connect": {
      const { link, walletName, until } = event;
      return { phase: "connecting", link, walletName, until, isReachable: true, former: formerOf(state) };
    }
    case "connected": {
      const { address, walletName, networkId, isKept } = event;
      const isReachable = state.phase === "connecting" ? state.isReachable : true;
      return { phase: "connected", address, walletName, networkId, isReachable, isKept, request: { phase: "none" } };
    }
    case "failed":
      return afterFailure(state, event);
    case "given-up":
      return state.phase === "connecting" ? (state.former ?? { phase: "disconnected" }) : state;
    case "ended":
      return afterEnd(state);
    case "reachable":
      return state.phase === "connecting" || state.phase === "connected"
        ? { ...state, isReachable: event.isReachable }
        : state;
    case "kept":
      return state.phase === "connected" ? { ...state, isKept: event.isKept } : state;
    case "asked":
    case "accepted":
    case "not-accepted":
      return state.phase === "connected" ? { ...state, request: nextRequest(state.request, event) } : state;
  }
}

function formerOf(state: WalletState): ConnectedWallet | undefined {
  if (state.phase === "connecting") return state.former;
  return state.phase === "connected" ? state : undefined;
}

function afterFailure(
  state: WalletState,
  { code, message, at }: Extract<WalletEvent, { type: "failed" }>,
): WalletState {
  const former = formerOf(state);
  if (former === undefined) return { phase: "failing", code, message };
  return { ...former, request: { phase: "failed", code, message, at } };
}

/** The session ended that was agreed on; one that is being asked for is another. */
function afterEnd(state: WalletState): WalletState {
  return state.phase === "connecting" ? { ...state, former: undefined } : { phase: "disconnected" };
}

function nextRequest(
  request: WalletRequest,
  event: Extract<WalletEvent, { type: "asked" | "accepted" | "not-accepted" }>,
): WalletRequest {
  if (event.type === "asked") {
    const { nanoton, channels, until } = event;
    return { phase: "asking", nanoton, channels, until };
  }
  if (event.type === "not-accepted") {
    const { code, message, at } = event;
    return { phase: "failed", code, message, at };
  }
  if (request.phase !== "asking") return request;
  const { nanoton, channels } = request;
  return { phase: "accepted", nanoton, channels, at: event.at, messageHash: event.messageHash };
}
